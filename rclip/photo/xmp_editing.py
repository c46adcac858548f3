"""Puts keywords into XMP sidecars, and takes them out, as text: every byte that others have written stays as it is.

A keyword goes where Lightroom, darktable and digiKam look for it: into `dc:subject`, and into Lightroom's hierarchies
(`lr:hierarchicalSubject`), in which it stands alone. Where a sidecar has neither, they are added at the end of its
first description. What is not understood is not touched.

Source: XMP Specification Part 1 (ISO 16684-1), 7 and C.
"""

import re
import xml.parsers.expat as expat
from collections.abc import Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_LIGHTROOM = "http://ns.adobe.com/lightroom/1.0/"
_PROPERTIES = ((_DC, "dc", "subject"), (_LIGHTROOM, "lr", "hierarchicalSubject"))
_CONTAINERS = frozenset(f"{_RDF} {name}" for name in ("Bag", "Seq", "Alt"))

MOST_BYTES = 4 << 20

EMPTY = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="rclip">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="">
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
"""A sidecar that says nothing."""


class NotUnderstood(ValueError):
    """The sidecar is written in a form that is not known here; the message says what is wrong with it."""


def with_keyword(document: bytes, word: str) -> bytes:
    """The sidecar with the keyword in it. The same bytes where it is there. Raises `NotUnderstood`."""
    for namespace, prefix, name in _PROPERTIES:
        document = _added(document, _Property(namespace, prefix, name), word)
    return document


def without_keyword(document: bytes, word: str) -> bytes:
    """The sidecar without the keyword, and without the properties that only it was in. Raises `NotUnderstood`."""
    for namespace, prefix, name in _PROPERTIES:
        document = _removed(document, _Property(namespace, prefix, name), word)
    return document


class _Property(NamedTuple):
    """A list of keywords."""

    namespace: str
    prefix: str
    """The usual one."""
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.namespace} {self.name}"


# --- adding ----------------------------------------------------------------------------------------------------------


def _added(document: bytes, wanted: _Property, word: str) -> bytes:
    rdf = _rdf_of(document)
    found = [each for description in rdf.all(f"{_RDF} Description") for each in description.all(wanted.full_name)]
    if not found:
        return _with_property(document, rdf, wanted, word)
    container = _container_of(found[0])
    items = container.all(f"{_RDF} li")
    if any(item.text == word for item in items):
        return document
    item = _item(container, word)
    if items:
        return _inserted(document, items[-1].end, _blanks_before(document, items[-1].start) + item)
    return _inserted_at_end(document, container, item)


def _with_property(document: bytes, rdf: "_Element", wanted: _Property, word: str) -> bytes:
    descriptions = rdf.all(f"{_RDF} Description")
    if not descriptions:
        raise NotUnderstood("it has no description")
    parent = descriptions[0]
    prefix = parent.prefix_of(wanted.namespace)
    declared = f' xmlns:{wanted.prefix}="{wanted.namespace}"' if prefix is None else ""
    name = f"{prefix or wanted.prefix}:{wanted.name}"
    bag = f"{parent.prefix_of(_RDF)}:Bag"
    indent = _blanks_before(document, parent.start) + b" "
    if b"\n" not in indent:
        indent = b""
    lines = (f"<{name}{declared}>".encode(), b" " + f"<{bag}>".encode(), b"  " + _item(parent, word))
    closing = (b" " + f"</{bag}>".encode(), f"</{name}>".encode())
    joined = indent.join((b"", *lines, *closing)) if indent else b"".join(map(bytes.strip, (*lines, *closing)))
    if indent and parent.children:
        return _inserted(document, parent.children[-1].end, joined)
    return _inserted_at_end(document, parent, joined)


def _item(parent: "_Element", word: str) -> bytes:
    name = f"{parent.prefix_of(_RDF)}:li"
    return f"<{name}>{escape(word)}</{name}>".encode()


def _inserted_at_end(document: bytes, parent: "_Element", content: bytes) -> bytes:
    """As the last of what is in it."""
    if not parent.is_empty_tag:
        at = parent.children[-1].end if parent.children else parent.tag_end
        return _inserted(document, at, content)
    name = re.match(rb"<([^\s/>]+)", document[parent.start :])
    assert name
    opened = document[parent.start : parent.end].rstrip(b">").rstrip(b"/").rstrip() + b">"
    blanks = _blanks_before(document, parent.start)
    return document[: parent.start] + opened + content + blanks + b"</" + name[1] + b">" + document[parent.end :]


def _inserted(document: bytes, at: int, content: bytes) -> bytes:
    return document[:at] + content + document[at:]


# --- removing --------------------------------------------------------------------------------------------------------


def _removed(document: bytes, wanted: _Property, word: str) -> bytes:
    rdf = _rdf_of(document)
    for description in rdf.all(f"{_RDF} Description"):
        for each in description.all(wanted.full_name):
            items = _container_of(each).all(f"{_RDF} li")
            gone = [item for item in items if item.text == word]
            if gone:
                cut = [each] if len(gone) == len(items) else gone
                return _without(document, cut)
    return document


def _without(document: bytes, elements: "list[_Element]") -> bytes:
    """Also without the blanks before them."""
    for element in reversed(elements):
        start = element.start - len(_blanks_before(document, element.start))
        document = document[:start] + document[element.end :]
    return document


# --- the elements ----------------------------------------------------------------------------------------------------


class _Element:
    """An element, and where it lies in the document."""

    def __init__(self, name: str, parent: "_Element | None", prefixes: dict[str, str], start: int, tag_end: int):
        self.name = name
        self.parent = parent
        self.prefixes = prefixes
        """Namespaces to prefixes, of those declared in its tag."""
        self.start = start
        self.tag_end = tag_end
        """Where its first tag ends."""
        self.end = tag_end
        self.is_empty_tag = False
        self.texts: list[str] = []
        self.children: list[_Element] = []

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, name: str) -> "list[_Element]":
        return [child for child in self.children if child.name == name]

    def prefix_of(self, namespace: str) -> str | None:
        element: _Element | None = self
        taken: set[str] = set()  # nearer declarations hide those of the same prefix further out
        while element:
            prefix = element.prefixes.get(namespace)
            if prefix and prefix not in taken:
                return prefix
            taken |= set(element.prefixes.values())
            element = element.parent
        return None


def _container_of(keywords: _Element) -> _Element:
    if len(keywords.children) != 1 or keywords.children[0].name not in _CONTAINERS:
        raise NotUnderstood("its keywords are not a list")
    return keywords.children[0]


def _rdf_of(document: bytes) -> _Element:
    root = _Parser(document).root
    found = next((each for each in _outermost(root) if each.name == f"{_RDF} RDF"), None)
    if found is None or found.prefix_of(_RDF) is None:
        raise NotUnderstood("it is no XMP")
    return found


def _outermost(root: _Element) -> Iterator[_Element]:
    yield root
    yield from root.children


_TAG = re.compile(rb"""<(?:[^"'<>]|"[^"]*"|'[^']*')*>""")
_BLANKS = re.compile(rb"[ \t\r\n]*\Z")
_MOST_BLANKS = 200
_MOST_DEPTH = 100


def _blanks_before(document: bytes, at: int) -> bytes:
    found = _BLANKS.search(document[max(0, at - _MOST_BLANKS) : at])
    return found[0] if found else b""


class _Parser:
    """Notes where the elements of a document lie. Raises `NotUnderstood`."""

    def __init__(self, document: bytes):
        self._document = document
        self._open: list[_Element] = []
        self._prefixes: dict[str, str] = {}
        self._root: _Element | None = None
        self._parse()

    @property
    def root(self) -> _Element:
        if self._root is None:
            raise NotUnderstood("it is empty")
        return self._root

    def _parse(self) -> None:
        if len(self._document) > MOST_BYTES:
            raise NotUnderstood("it is too large")
        try:
            self._document.decode("utf-8")
            self._parser = parser = expat.ParserCreate("utf-8", namespace_separator=" ")
            parser.StartElementHandler = self._start
            parser.EndElementHandler = self._end
            parser.CharacterDataHandler = self._text
            parser.StartNamespaceDeclHandler = self._declare
            parser.StartDoctypeDeclHandler = self._refuse_doctype
            parser.Parse(self._document, True)
        except (expat.ExpatError, UnicodeDecodeError) as error:
            raise NotUnderstood("it is damaged, or not in UTF-8") from error

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        if prefix and uri:
            self._prefixes[uri] = prefix

    def _start(self, name: str, _: dict[str, str]) -> None:
        if len(self._open) >= _MOST_DEPTH:
            raise NotUnderstood("it is nested too deeply")
        at = self._parser.CurrentByteIndex
        tag = _TAG.match(self._document, at)
        if not tag:
            raise NotUnderstood("it is damaged")
        element = _Element(name, self._open[-1] if self._open else None, self._prefixes, at, tag.end())
        self._prefixes = {}
        element.is_empty_tag = tag[0].endswith(b"/>")
        if self._open:
            self._open[-1].children.append(element)
        self._root = self._root or element
        self._open.append(element)

    def _text(self, text: str) -> None:
        self._open[-1].texts.append(text)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if not element.is_empty_tag:
            element.end = self._document.index(b">", self._parser.CurrentByteIndex) + 1

    def _refuse_doctype(self, *_: object) -> None:
        raise NotUnderstood("it has a document type")
