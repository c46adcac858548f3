"""Words as people look for them: without case and accents, and without what stands between them."""

import re
import unicodedata
from typing import NamedTuple

_WORD = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r'"([^"]*)"?|([^"\s]+)')
_MOST_CHARACTERS = 10_000


def words_of(text: str) -> list[str]:
    """`Été_2019, Straße!` -> `ete`, `2019`, `strasse`. Takes linear time."""
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.category(letter).startswith("M")).casefold()


class Wanted(NamedTuple):
    """Some words, all of which a text must have, in any order."""

    phrases: tuple[tuple[str, ...], ...]
    """Of each the words must follow one another, and the last one may be the start of a longer word."""

    @property
    def starts(self) -> list[str]:
        """Starts of words, all of which a text must have at least."""
        return [word for phrase in self.phrases for word in phrase]

    def are_in(self, *texts: str) -> bool:
        """Whether each phrase is in one of the texts."""
        found = [words_of(text) for text in texts if text]
        return all(any(_has(words, phrase) for words in found) for phrase in self.phrases)


def wanted(text: str) -> Wanted:
    """What somebody has typed: words, and between quotation marks phrases. Nothing in it is an operator."""
    parts = (words_of(quoted or word) for quoted, word in _QUOTED.findall(text[:_MOST_CHARACTERS]))
    return Wanted(tuple(tuple(part) for part in parts if part))


def _has(words: list[str], phrase: tuple[str, ...]) -> bool:
    *first, last = phrase
    count = len(first)
    return any(
        words[at + count].startswith(last) and words[at : at + count] == first for at in range(len(words) - count)
    )
