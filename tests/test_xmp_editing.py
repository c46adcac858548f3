"""Keywords put into XMP sidecars and taken out again, as text: no byte that others have written is lost."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rclip.photo.metadata_parser import parse_sidecar
from rclip.photo.xmp_editing import EMPTY, NotUnderstood, with_keyword, without_keyword
from tests.support.sidecars import ACDSEE, DARKTABLE, DIGIKAM, LIGHTROOM, bag, xmp

OTHER_PREFIXES = (
    DARKTABLE.replace(b"dc:", b"d:").replace(b":dc=", b":d=").replace(b"rdf:", b"R:").replace(b":rdf=", b":R=")
)
INDENTED = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>\r
<x:xmpmeta xmlns:x="adobe:ns:meta/">\r
\t<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\r
\t\t<rdf:Description rdf:about='' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="a > b">\r
\t\t\t<!-- <dc:subject> --><dc:subject xmlns:dc="http://purl.org/dc/elements/1.1/">\r
\t\t\t\t<rdf:Bag>\r
\t\t\t\t\t<rdf:li>one &amp; two</rdf:li>\r
\t\t\t\t\t<rdf:li>three</rdf:li >\r
\t\t\t\t</rdf:Bag>\r
\t\t\t</dc:subject>\r
\t\t</rdf:Description >\r
\t</rdf:RDF>\r
</x:xmpmeta>\r
<?xpacket end="w"?>"""
BARE = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description/></rdf:RDF>'
EMPTY_BAG = xmp(elements="<dc:subject><rdf:Bag/></dc:subject>")
SEVERAL = DIGIKAM.replace(b"</rdf:RDF>", b'<rdf:Description rdf:about=""/></rdf:RDF>')

DOCUMENTS = [DARKTABLE, DIGIKAM, LIGHTROOM, ACDSEE, OTHER_PREFIXES, INDENTED, BARE, EMPTY_BAG, SEVERAL, EMPTY]
REVERSIBLE = [each for each in DOCUMENTS if each not in (BARE, EMPTY_BAG)]
"""The others have an empty tag, which comes back as one with an end."""


def is_part_of(before: bytes, after: bytes) -> bool:
    """Whether one is the other with something put in."""
    rest = iter(after)
    return all(byte in rest for byte in before)


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("word", ["trip", "R&D <2019>", "Zürich 東京", "]]>"])
def test_a_keyword_is_added_once_and_everything_else_stays(document: bytes, word: str) -> None:
    after = with_keyword(document, word)
    before = parse_sidecar(document).over
    assert after.count(b"\n") >= document.count(b"\n")
    assert is_part_of(document.replace(b"/>", b">"), after)
    now = parse_sidecar(after).over
    assert word in now.keywords
    assert set(before.keywords) <= set(now.keywords)
    assert now._replace(keywords=()) == before._replace(keywords=())
    assert with_keyword(after, word) == after


@pytest.mark.parametrize("document", REVERSIBLE)
def test_removing_it_gives_the_bytes_back(document: bytes) -> None:
    assert without_keyword(with_keyword(document, "trip"), "trip") == document
    assert without_keyword(document, "trip") == document
    twice = with_keyword(with_keyword(document, "trip"), "sea")
    assert without_keyword(without_keyword(twice, "trip"), "sea") == document


def test_where_keywords_stand_in_lines_so_does_the_new_one() -> None:
    assert b"\t\t\t\t\t<rdf:li>three</rdf:li >\r\n\t\t\t\t\t<rdf:li>trip</rdf:li>\r\n" in with_keyword(INDENTED, "trip")


def test_one_of_others_is_removed() -> None:
    after = without_keyword(DARKTABLE, "Lisbon")
    assert parse_sidecar(after).over.keywords == ("Places", "Portugal", "Lisbon")  # of the hierarchy
    assert without_keyword(INDENTED, "one & two") == INDENTED.replace(
        b"\r\n\t\t\t\t\t<rdf:li>one &amp; two</rdf:li>", b""
    )


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no XML",
        b"<a/>",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        BARE.replace(b"<rdf:Description/>", b""),
        DARKTABLE[:-20],
        DARKTABLE.decode().encode("utf-16"),
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + BARE,
        b"<a>" * 1000 + b"</a>" * 1000,
        xmp(elements="<dc:subject>trip</dc:subject>"),
        b"<a>" + b"x" * (5 << 20) + b"</a>",
    ],
)
def test_what_is_not_understood_is_refused(document: bytes) -> None:
    with pytest.raises(NotUnderstood):
        with_keyword(document, "trip")


@given(st.binary(max_size=100), st.integers(0, len(DARKTABLE)))
def test_any_damage_is_refused_or_kept(damage: bytes, at: int) -> None:
    document = DARKTABLE[:at] + damage + DARKTABLE[at:]
    try:
        after = with_keyword(document, "trip")
    except NotUnderstood:
        return
    assert is_part_of(document.replace(b"/>", b">"), after)
    assert without_keyword(after, "trip").replace(b" ", b"") in (document.replace(b" ", b""), after) or b"/>" in damage


def test_many_elements_take_linear_time() -> None:
    """Some seconds even on a slow machine; were the time quadratic, it would take hours."""
    lines = xmp(
        elements=bag("dc:subject", *(f"w{n}" for n in range(50_000))) + "<dc:title>" + "\n" * 1_000_000 + "</dc:title>"
    )
    assert b"<rdf:li>trip</rdf:li>" in with_keyword(lines, "trip")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_exiftool_reads_it_back(document: bytes, tmp_path: Path) -> None:
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.skip("there is no exiftool to read it back (apt: libimage-exiftool-perl)")
    path = tmp_path / "a.xmp"
    path.write_bytes(with_keyword(document, "R&D"))
    asked = ["-validate", "-s3", "-sep", "|", "-XMP-dc:Subject", "-XMP-lr:HierarchicalSubject", str(path)]
    done = subprocess.run([exiftool, *asked], capture_output=True, text=True, check=True)
    subjects, hierarchies = done.stdout.splitlines()[-2:]
    assert "R&D" in subjects.split("|")
    assert "R&D" in hierarchies.split("|")
