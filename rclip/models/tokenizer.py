"""Text to token ids, as `clip.tokenize` makes them, from two small arrays instead of a gzipped word list.

In CLIP's vocabulary ids 0…255 are the bytes, 256…511 the same bytes at the end of a word, and 512 + r is the result of
the merge of rank r; the last two are the start and the end of a text. So byte-pair encoding needs no strings: a merge
is a pair of ids, a word a list of ids. V is the vocabulary's size.

Queries in plain ASCII take the standard library's `re`; anything else is cleaned by ftfy and split by `regex`, the
packages clip itself uses, which take longer to import than the query takes to run.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np

_WORD_END = 256  # added to a byte's id where it ends a word
_FIRST_MERGE = 512

# The order in which CLIP numbers bytes: printable Latin-1 first, then the others.
_BYTE_ORDER = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_PRINTABLE = len(_BYTE_ORDER)
_BYTE_ORDER += sorted({*range(256)}.difference(_BYTE_ORDER))
_ID_OF_BYTE = {byte: number for number, byte in enumerate(_BYTE_ORDER)}

_WORDS = r"{start}|{end}|'s|'t|'re|'ve|'m|'ll|'d|{letter}+|{digit}|[^\s{both}]+"
SPECIAL = {"clip": ("<|startoftext|>", "<|endoftext|>"), "open_clip": ("<start_of_text>", "<end_of_text>")}
"""How each package writes the start and the end of a text."""


class Tokenizer:
    """Byte-pair encoding by a table of merges.

    `pair_keys` (M,) uint32, sorted, holds left * V + right for every merge, `pair_ranks` (M,) uint16 its rank.
    """

    def __init__(
        self,
        pair_keys: np.ndarray,
        pair_ranks: np.ndarray,
        vocabulary_size: int,
        context_length: int,
        kind: str = "clip",
    ):
        """`kind` is one of `SPECIAL`, whose tokens may be written in a text."""
        self._keys = pair_keys
        self._ranks = pair_ranks
        self._vocabulary_size = vocabulary_size
        self._context_length = context_length
        self._start, self._end = vocabulary_size - 2, vocabulary_size - 1
        self._kind = kind
        self._special = dict(zip(SPECIAL[kind], (self._start, self._end), strict=True))

    def __call__(self, text: str) -> tuple[list[int], bool]:
        """The ids with start and end token, at most the context length, and whether the text had to be cut for that."""
        ids = [self._start, *(token for word in split(text, self._kind) for token in self._encode(word)), self._end]
        if len(ids) <= self._context_length:
            return ids, False
        return [*ids[: self._context_length - 1], self._end], True

    def encode_all(self, texts: Iterable[str]) -> Iterator[tuple[list[int], bool]]:
        """The same of several texts."""
        return map(self, texts)

    def _encode(self, word: str) -> list[int]:
        if word in self._special:
            return [self._special[word]]
        ids = [_ID_OF_BYTE[byte] for byte in word.encode()]
        ids[-1] += _WORD_END
        while len(ids) > 1 and len(self._keys):
            pairs = np.array(ids[:-1], np.uint32) * np.uint32(self._vocabulary_size) + np.array(ids[1:], np.uint32)
            places = np.searchsorted(self._keys, pairs).clip(max=len(self._keys) - 1)
            ranks = np.where(self._keys[places] == pairs, self._ranks[places], self._vocabulary_size)
            rank = int(ranks.min())
            if rank == self._vocabulary_size:
                break
            left, right = divmod(int(pairs[ranks.argmin()]), self._vocabulary_size)
            ids = _merge(ids, left, right, _FIRST_MERGE + rank)
        return ids


def _merge(ids: list[int], left: int, right: int, merged: int) -> list[int]:
    """Replaces each occurrence of the pair, from the left."""
    result: list[int] = []
    position = 0
    while position < len(ids):
        if ids[position] == left and ids[position + 1 : position + 2] == [right]:
            result.append(merged)
            position += 2
        else:
            result.append(ids[position])
            position += 1
    return result


def split(text: str, kind: str = "clip") -> list[str]:
    """The words that are encoded one by one, in lower case."""
    if text.isascii() and text.isprintable() and "&" not in text:  # nothing in it for ftfy or html to change
        return _ascii_words(kind).findall(text.lower())
    import html

    import ftfy
    import regex

    cleaned = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    lowered = regex.sub(r"\s+", " ", cleaned).strip().lower()
    words = _words(kind, letter=r"[\p{L}]", digit=r"[\p{N}]", both=r"\p{L}\p{N}")
    found: list[str] = regex.findall(words, lowered, regex.IGNORECASE)
    return found


@cache
def _ascii_words(kind: str) -> re.Pattern[str]:
    return re.compile(_words(kind, letter="[a-z]", digit="[0-9]", both="a-z0-9"))


def _words(kind: str, **classes: str) -> str:
    start, end = map(re.escape, SPECIAL[kind])
    return _WORDS.format(start=start, end=end, **classes)


def merge_table(merges: Sequence[str], vocabulary_size: int) -> tuple[np.ndarray, np.ndarray]:
    """`pair_keys` and `pair_ranks` from clip's merges, "left right" each, best first, as many as the vocabulary has.

    There a byte is written as its Latin-1 character where that is printable, else as a stand-in from U+0100 on.
    """
    shown = [chr(byte) for byte in _BYTE_ORDER[:_PRINTABLE]] + [chr(256 + n) for n in range(256 - _PRINTABLE)]
    ids = {character: number for number, character in enumerate(shown)}
    ids |= {character + "</w>": _WORD_END + number for number, character in enumerate(shown)}
    count = vocabulary_size - _FIRST_MERGE - 2
    keys = np.empty(count, np.uint32)
    for rank, merge in enumerate(merges[:count]):
        left, right = merge.split()
        keys[rank] = ids[left] * vocabulary_size + ids[right]
        ids[left + right] = _FIRST_MERGE + rank
    order = np.argsort(keys)
    return keys[order], order.astype(np.uint16)


# --- in a file of weights --------------------------------------------------------------------------------------------

_KEYS, _RANKS = "tokenizer.pair_keys", "tokenizer.pair_ranks"


def arrays(vocabulary_size: int) -> dict[str, np.ndarray]:
    """What `of_weights` reads."""
    keys, ranks = merge_table(clip_merges(), vocabulary_size)
    return {_KEYS: keys, _RANKS: ranks}


def of_weights(weights: Mapping[str, np.ndarray], vocabulary_size: int, context_length: int, kind: str) -> Tokenizer:
    return Tokenizer(weights[_KEYS], weights[_RANKS], vocabulary_size, context_length, kind)


def clip_merges() -> list[str]:
    """The merges of CLIP's byte-pair encoding, best first, from the word list of the `clip` package.

    It has more than any vocabulary uses.
    """
    import gzip
    import importlib.util
    import os

    spec = importlib.util.find_spec("clip")
    assert spec is not None, "clip is a dependency of rclip"
    assert spec.submodule_search_locations
    path = os.path.join(spec.submodule_search_locations[0], "bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    return lines[1:]  # the first line names the file
