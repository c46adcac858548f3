"""Text to token ids, as `clip.tokenize` makes them, from two small arrays instead of a gzipped word list.

In CLIP's vocabulary ids 0…255 are the bytes, 256…511 the same bytes at the end of a word, and 512 + r is what the merge
of rank r makes. So byte-pair encoding needs no strings: a merge is a pair of ids, a word a list of ids.

Queries in plain ASCII take the standard library's `re`; anything else is cleaned by ftfy and split by `regex`, the
packages clip itself uses, which take longer to import than the query takes to run.
"""

import re

import numpy as np

CONTEXT_LENGTH = 77
_START, _END = 49406, 49407
_SPECIAL = {"<|startoftext|>": _START, "<|endoftext|>": _END}
_WORD_END = 256  # added to a byte's id where it ends a word
_FIRST_MERGE = 512
MERGES = _START - _FIRST_MERGE
_VOCABULARY = 49408  # pairs of ids are keyed as left * _VOCABULARY + right, which fits 32 bits

# The order in which CLIP numbers bytes: printable Latin-1 first, then the others.
_BYTE_ORDER = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_PRINTABLE = len(_BYTE_ORDER)
_BYTE_ORDER += [byte for byte in range(256) if byte not in set(_BYTE_ORDER)]
_ID_OF_BYTE = {byte: number for number, byte in enumerate(_BYTE_ORDER)}

_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|{letter}+|{digit}|[^\s{both}]+"
_ASCII_WORDS = re.compile(_WORDS.format(letter="[a-z]", digit="[0-9]", both="a-z0-9"))
_PLAIN = re.compile(r"[ -%'-~]*")  # printable ASCII but for the ampersand: nothing in it for ftfy or html to mend


class Tokenizer:
    """Byte-pair encoding by a table of merges.

    `pair_keys` (M,) uint32, sorted, holds left * 49408 + right for every merge, `pair_ranks` (M,) uint16 its rank.
    """

    def __init__(self, pair_keys: np.ndarray, pair_ranks: np.ndarray):
        self._keys = pair_keys
        self._ranks = pair_ranks

    def __call__(self, text: str) -> tuple[list[int], bool]:
        """The ids with start and end token, at most 77, and whether the text had to be cut for that."""
        ids = [_START, *(token for word in split(text) for token in self._encode(word)), _END]
        if len(ids) <= CONTEXT_LENGTH:
            return ids, False
        return [*ids[: CONTEXT_LENGTH - 1], _END], True

    def _encode(self, word: str) -> list[int]:
        if word in _SPECIAL:
            return [_SPECIAL[word]]
        ids = [_ID_OF_BYTE[byte] for byte in word.encode()]
        ids[-1] += _WORD_END
        while len(ids) > 1:
            pairs = np.array(ids[:-1], np.uint32) * np.uint32(_VOCABULARY) + np.array(ids[1:], np.uint32)
            places = np.searchsorted(self._keys, pairs).clip(max=len(self._keys) - 1)
            ranks = np.where(self._keys[places] == pairs, self._ranks[places], _VOCABULARY)
            rank = int(ranks.min())
            if rank == _VOCABULARY:
                break
            ids = _merge(ids, int(pairs[ranks.argmin()]), _FIRST_MERGE + rank)
        return ids


def _merge(ids: list[int], pair: int, merged: int) -> list[int]:
    """Replaces each occurrence of the pair, from the left."""
    left, right = divmod(pair, _VOCABULARY)
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


def split(text: str) -> list[str]:
    """The words that are encoded one by one, in lower case."""
    if _PLAIN.fullmatch(text):
        return _ASCII_WORDS.findall(text.lower())
    import html

    import ftfy
    import regex

    cleaned = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    lowered = regex.sub(r"\s+", " ", cleaned).strip().lower()
    words = _WORDS.format(letter=r"[\p{L}]", digit=r"[\p{N}]", both=r"\p{L}\p{N}")
    found: list[str] = regex.findall(words, lowered, regex.IGNORECASE)
    return found


def merge_table(merges: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """`pair_keys` and `pair_ranks` from clip's merges, "left right" each, best first.

    There a byte is written as its Latin-1 character where that is printable, else as a stand-in from U+0100 on.
    """
    shown = [chr(byte) for byte in _BYTE_ORDER[:_PRINTABLE]] + [chr(256 + n) for n in range(256 - _PRINTABLE)]
    ids = {character: number for number, character in enumerate(shown)}
    ids |= {character + "</w>": _WORD_END + number for number, character in enumerate(shown)}
    keys = np.empty(len(merges), np.uint32)
    for rank, merge in enumerate(merges):
        left, right = merge.split()
        keys[rank] = ids[left] * _VOCABULARY + ids[right]
        ids[left + right] = _FIRST_MERGE + rank
    order = np.argsort(keys)
    return keys[order], order.astype(np.uint16)
