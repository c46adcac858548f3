"""Which files and folders rclip passes over: by default, by the user's settings, and by `.rclipignore` files.

Ignore files have `.gitignore`'s syntax and meaning, in any folder; the user's own patterns count before them. What lies
in folders may be anybody's: patterns are matched in linear time, and none leads a walk into an index.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from rclip.files import INDEX_FOLDER, SEPARATOR

if TYPE_CHECKING:
    from rclip.ignore_patterns import Patterns, Verdict

IGNORE_FILE = b".rclipignore"
CACHE_TAG = b"CACHEDIR.TAG"
"""The file with which programs mark a folder as their cache, if it begins with `CACHE_SIGNATURE`."""
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""By the Cache Directory Tagging Specification, https://bford.info/cachedir/."""

HOUSEKEEPING = frozenset({
    b"node_modules",
    b".git",
    b"__macosx",  # what macOS adds to archives
    # Windows: what is deleted, restore points
    b"$recycle.bin",
    b"recycler",
    b"recycled",
    b"system volume information",
    # network drives by Synology, QNAP, NetApp and others: thumbnails, what is deleted, snapshots
    b"@eadir",
    b"@tmp",
    b"@__thumb",
    b"#recycle",
    b"@recycle",
    b"@recently-snapshot",
    b"#snapshot",
    b"~snapshot",
    # macOS on drives of others
    b"network trash folder",
    b"temporary items",
    # Unix
    b"lost+found",
    b"__pycache__",
})  # fmt: skip
"""Folders that systems and programs keep for themselves, in lower case: thumbnails, recycle bins, snapshots, packages.

Those that start with a dot are hidden anyway, such as `.Trash-1000`, `.zfs` and `.snapshots`.
"""

DERIVED = {
    # Lightroom: previews, and smaller copies of all photos
    b".lrdata": {b""},
    # Apple Photos: smaller copies of all photos, faces cut out; `originals` and edited photos, in `renders`, stay
    b".photoslibrary": {
        *(b"resources/derivatives", b"resources/proxies", b"resources/modelresources", b"resources/media"),
        *(b"thumbnails", b"previews", b"database", b"scopes", b"private"),
    },
    # Aperture and iPhoto: `Masters`, `Originals` and, of iPhoto's edited photos, `Modified` stay
    b".aplibrary": {b"thumbnails", b"previews", b"database"},
    b".photolibrary": {b"thumbnails", b"previews", b"database", b"data", b"data.noindex", b"contents"},
    b".migratedaplibrary": {b"thumbnails", b"previews", b"database"},
    b".migratedphotolibrary": {b"thumbnails", b"previews", b"database", b"data", b"data.noindex", b"contents"},
}
"""Folders of smaller copies that other programs make, in lower case: by the ending of the program's own folder.

Those of digiKam and darktable are no pictures, or lie in hidden folders.
"""

NOT_HIDDEN = frozenset({b".picasaoriginals"})
"""Hidden folders that are not passed over: Picasa keeps there the only copy of each photo as it was before its edit."""

_LAST_NAMES = frozenset(path.rpartition(b"/")[2] for paths in DERIVED.values() for path in paths)


def is_housekeeping(folder: bytes, name: bytes) -> bool:
    """Whether a folder of this name, in the one whose path is `folder`, is none of the user's, or is hidden."""
    if name[:1] == b".":
        return name not in NOT_HIDDEN
    lower = name.lower()
    if lower in HOUSEKEEPING or lower[-7:] == b".lrdata":
        return True
    return lower in _LAST_NAMES and _is_derived((folder + name).lower())


def _is_derived(path: bytes) -> bool:
    """Of a path in lower case."""
    names = path.split(SEPARATOR)
    return any(
        SEPARATOR.join(names[place + 1 :]) in paths
        for ending, paths in DERIVED.items()
        for place in (-2, -3)
        if len(names) >= -place and names[place].endswith(ending)
    )


class IgnoreRules(NamedTuple):
    """What the user has asked for; where indexes lie no walk ever goes."""

    exclude_dirs: frozenset[bytes] = frozenset()
    """Names of folders."""
    include_hidden: bool = False
    """Whether to go also where nothing of the user's own is expected."""
    exclude: tuple[str, ...] = ()
    """Lines as of an ignore file, of which the last that matches counts. One that starts with `/` is a whole path."""


DEFAULT_RULES = IgnoreRules()


def count_wildcards(content: bytes) -> int:
    """How many an ignore file has, or may have, each of which takes its time."""
    lines = (line for line in content.split(b"\n") if line[:1] != b"#")
    return sum(sum(map(line.count, (b"*", b"?", b"[", b"\\"))) for line in lines)


# --- folders ---------------------------------------------------------------------------------------------------------

_Chain = tuple[tuple[int, "Patterns"], ...]
"""Patterns that count in a folder, the strongest first, each with the length of the path that they do not see."""


class FolderRules:
    """What is passed over directly in one folder."""

    def __init__(self, folder: bytes, rules: IgnoreRules, chain: _Chain):
        self._folder = folder
        self._exclude_dirs, self._include_hidden, _ = rules
        self._chain = chain
        self._starts: list[tuple[str, Patterns]] = []
        """The patterns, each with what comes before names in the paths that it sees."""
        self.has_patterns = bool(chain)

    def ignores_folder(self, name: bytes) -> bool:
        if name in self._exclude_dirs or name == INDEX_FOLDER:
            return True
        verdict = self._verdict(name, is_folder=True) if self._chain else None
        if verdict == "ignored":
            return True
        return not self._include_hidden and verdict != "named" and is_housekeeping(self._folder, name)

    def ignores_file(self, name: bytes) -> bool:
        is_hidden = name[:1] == b"." and not self._include_hidden
        if not self._chain:
            return is_hidden
        verdict = self._verdict(name, is_folder=False)
        return verdict == "ignored" or (is_hidden and verdict != "named")

    def _verdict(self, name: bytes, is_folder: bool) -> "Verdict | None":
        import os

        from rclip.globs import composed

        if not self._starts:
            self._starts = [(composed(os.fsdecode(self._folder[start:])), patterns) for start, patterns in self._chain]
        text = composed(os.fsdecode(name))
        for start, patterns in self._starts:
            verdict = patterns.verdict(start + text, text, is_folder)
            if verdict is not None:
                return verdict
        return None


class TreeRules:
    """What is passed over in and below one folder that the user has named.

    That folder itself never is, whatever lies above it, nor is a cache that is named.
    """

    def __init__(self, root: bytes, rules: IgnoreRules, ignore_file: Callable[[bytes], bytes | None] | None = None):
        """`root` ends in a slash, as does the folder of which `ignore_file` returns the ignore file's content, if any.

        It is also asked for the folders above the root.
        """
        self._root = root
        self._rules = rules
        self._ignore_file = ignore_file
        self._own: _Chain = ()
        if rules.exclude:
            from rclip import ignore_patterns  # most have none

            own = ignore_patterns.of_user(rules.exclude, root)
            self._own = ((1, own),) if own else ()
        self._last: tuple[bytes | None, FolderRules | None] = (None, None)
        self._patterns: dict[bytes, Patterns | None] = {}
        """By the content of ignore files."""

    def at(self, folder: bytes) -> FolderRules:
        """What counts in this folder, which is the root or lies below it."""
        return FolderRules(folder, self._rules, self._own + self._inherited(folder))

    def ignores_path(self, relative: bytes) -> bool:
        """Whether a walk would not come to the file of this path, relative to the root."""
        folder, _, name = relative.rpartition(SEPARATOR)
        known, rules = self._last
        if folder != known:  # a million in a row may be asked for
            reached = self._reached(folder.split(SEPARATOR) if folder else ())
            rules = None if reached is None or self.is_cache(reached) else self.at(reached)
            self._last = folder, rules
        return rules is None or rules.ignores_file(name)

    def ignores_folder(self, relative: bytes) -> bool:
        """Whether it would not come into the folder of this path, which ends in a slash."""
        return self._reached(relative.split(SEPARATOR)[:-1]) is None

    def _reached(self, names: Iterable[bytes]) -> bytes | None:
        """The folder to which these names lead from the root; None where one of them is passed over."""
        folder = self._root
        for name in names:
            if self.is_cache(folder) or self.at(folder).ignores_folder(name):
                return None
            folder += name + SEPARATOR
        return folder

    def is_cache(self, folder: bytes) -> bool:
        """Whether another program has marked it as its cache, and the user has not named it."""
        if self._ignore_file is None or self._rules.include_hidden or folder == self._root:
            return False
        content = self._ignore_file(folder)
        return content is not None and content.startswith(CACHE_SIGNATURE)

    def _inherited(self, folder: bytes) -> _Chain:
        """Of ignore files in the folder and above it."""
        if self._ignore_file is None:
            return ()
        chain = []
        end = len(folder)
        while end > 0:
            content = self._ignore_file(folder[:end])
            if content and (patterns := self._patterns_of(content)):
                chain.append((end, patterns))
            end = folder.rfind(SEPARATOR, 0, end - 1) + 1
        return tuple(chain)

    def _patterns_of(self, content: bytes) -> "Patterns | None":
        if content not in self._patterns:
            from rclip import ignore_patterns  # most have none

            self._patterns[content] = ignore_patterns.of_file(content)
        return self._patterns[content]
