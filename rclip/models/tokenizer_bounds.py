"""What a `tokenizer.json` may ask for: nothing that has one short query take hours, or gigabytes.

Such a file holds regular expressions, which the package `tokenizers` matches by trying all ways, and replacements, of
which each may multiply a text. Those of published models stay far below these bounds.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_MOST_TOKEN_LETTERS = 1024  # GPT-2's longest is one of 128 blanks
_MOST_ADDED = 16_384  # Gemma 3 has 6,242
_MOST_STEPS = 100
_MOST_GROWTH = 64.0
"""Letters that all replacements together may make of one."""
_MOST_ENDLESS, _MOST_WAYS = 2, 256
"""Of a pattern: repeats without an end that follow each other, and ways to choose among all else."""
_MOST_PATTERN_LETTERS = 4096


def check(whole: Mapping[str, Any], longest_token: int) -> None:
    """Raises ValueError, with a few words, for a file that is beyond the bounds."""
    if longest_token > _MOST_TOKEN_LETTERS:
        raise ValueError(f"a token has {longest_token:,} letters")
    if len(whole["added_tokens"]) > _MOST_ADDED:
        raise ValueError(f"it adds {len(whole['added_tokens']):,} tokens")
    steps = [*_steps(whole.get("normalizer")), *_steps(whole.get("pre_tokenizer"))]
    if len(steps) > _MOST_STEPS:
        raise ValueError(f"it takes {len(steps):,} steps")
    growth = 1.0
    for step in steps:
        growth *= _growth(step)
        pattern = step.get("pattern")
        if isinstance(pattern, Mapping) and "Regex" in pattern and not is_quick(str(pattern["Regex"])):
            raise ValueError("its pattern may take for ever")
    if growth > _MOST_GROWTH:
        raise ValueError("it makes too much of a text")


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """A normalizer or pre-tokenizer, and those that it consists of."""
    waiting = [part]
    while waiting:
        step = waiting.pop()
        if isinstance(step, Mapping):
            yield step
            waiting += [inner for value in step.values() if isinstance(value, list) for inner in value]


def _growth(step: Mapping[str, Any]) -> float:
    """How many letters the step makes of one at most."""
    match step.get("type"):
        case "Replace":
            pattern = step["pattern"]
            replaced = len(pattern["String"]) if isinstance(pattern, Mapping) and pattern.get("String") else 0
            content = len(step["content"])
            return max(1.0, content / replaced) if replaced else 1.0 + content  # a regex may match nothing, everywhere
        case "Prepend":
            return 1.0 + len(step["prepend"])
        case "Precompiled":
            return _growth_of_map(base64.b64decode(step["precompiled_charsmap"] or ""))
    return 1.0


def _growth_of_map(content: bytes) -> float:
    """Of SentencePiece's: the length of a trie, the trie, and the replacements that it leads to, ended by NULs.

    That of Unicode (NFKC) makes 18 letters of one.
    """
    longest = max(map(len, content[4 + int.from_bytes(content[:4], "little") :].split(b"\0")))
    return 1.0 if longest <= _MOST_GROWTH else float(longest)


# --- regular expressions ---------------------------------------------------------------------------------------------

_ATOM = re.compile(
    r"""\\[pP]\{[^}]*\} | \\x\{[^}]*\} | \\[^1-9gkKR]  # of which the last lead back, or to other parts
    | (?P<open>\((?:\?(?:[imsx-]*:|=|!|<=|<!|>)|(?!\?))) | (?P<close>\)) | (?P<choice>\|)
    | (?P<repeat>[*+?]|\{\d*(?:,\d*)?\})[?+]? | (?P<class>\[) | [^\\()\[?*+{]""",
    re.VERBOSE | re.DOTALL,
)
_FEW = 16


class _Ways(NamedTuple):
    """In how many ways a part of a pattern may match a text."""

    endless: int = 0
    """Repeats, each of which has as many ways as the text has letters."""
    others: int = 1

    def __add__(self, after: "_Ways") -> "_Ways":  # type: ignore[override]
        """Of this part and one after it."""
        return _Ways(self.endless + after.endless, self.others * after.others)

    def __or__(self, other: "_Ways") -> "_Ways":
        """Of one of both."""
        return _Ways(max(self.endless, other.endless), self.others + other.others)


_ONE_WAY = _Ways()


def is_quick(pattern: str) -> bool:
    """Whether no text is tried in more ways than the square of its length, and that is plain to see.

    So no group is repeated that may itself match in several ways.
    """
    try:
        return len(pattern) <= _MOST_PATTERN_LETTERS and _is_few(_ways_of(pattern))
    except ValueError:
        return False


def _is_few(ways: _Ways) -> bool:
    return ways.endless <= _MOST_ENDLESS and ways.others <= _MOST_WAYS


def _ways_of(pattern: str) -> _Ways:
    """Raises ValueError for what is not plain."""
    open_groups: list[tuple[_Ways | None, _Ways]] = []  # earlier branches, and the present one up to the group
    branches: _Ways | None = None
    branch, last = _ONE_WAY, _ONE_WAY  # the last part is not in the branch yet, as a repeat may follow it
    is_group, is_repeated = False, False
    at = 0
    while at < len(pattern):
        found = _ATOM.match(pattern, at)
        if not found:
            raise ValueError
        at = _after_class(pattern, found.end()) if found["class"] else found.end()
        if found["repeat"]:
            if is_repeated:
                raise ValueError
            last, is_repeated = _repeated(last, is_group, found["repeat"]), True
            continue
        branch, last, is_group, is_repeated = branch + last, _ONE_WAY, False, False
        if found["open"]:
            open_groups.append((branches, branch))
            branches, branch = None, _ONE_WAY
        elif found["choice"]:
            branches, branch = branches | branch if branches else branch, _ONE_WAY
        elif found["close"]:
            if not open_groups:
                raise ValueError
            last, is_group = branches | branch if branches else branch, True
            branches, branch = open_groups.pop()
    if open_groups:
        raise ValueError
    return (branches or _Ways(0, 0)) | (branch + last)


def _repeated(ways: _Ways, is_group: bool, repeat: str) -> _Ways:
    """Raises ValueError for a group that may match in several ways, unless it is only optional."""
    if repeat == "?":
        return _Ways(ways.endless, 2 * ways.others)
    if is_group and ways != _ONE_WAY:
        raise ValueError
    if repeat in "*+":
        return _Ways(ways.endless + 1, ways.others)
    least, comma, most = repeat[1:-1].partition(",")
    if max(int(least or 0), int(most or 0)) > _MOST_PATTERN_LETTERS:
        raise ValueError
    if not comma:
        return ways
    count = int(most) - int(least or 0) + 1 if most else _FEW + 1
    return _Ways(ways.endless, ways.others * count) if count <= _FEW else _Ways(ways.endless + 1, ways.others)


def _after_class(pattern: str, at: int) -> int:
    """Where a class of characters ends, which may hold others. Raises ValueError where it does not."""
    at += pattern[at : at + 1] == "^"
    at += pattern[at : at + 1] == "]"
    depth = 1
    while depth:
        letter = pattern[at : at + 1]
        if not letter:
            raise ValueError
        depth += (letter == "[") - (letter == "]")
        at += 2 if letter == "\\" else 1
    return at
