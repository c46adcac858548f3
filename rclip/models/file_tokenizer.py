"""Text to token ids as a model's `tokenizer.json` says, by the `tokenizers` package, without loading all of it.

Vocabularies of other models have 32,000 to 900,000 tokens, and `tokenizers` takes a second to read one. But no text
needs more than the tokens that it contains: whatever byte-pair encoding, a unigram model or WordPiece makes of a text
are pieces of that text, and so is all that they merge on the way. So the vocabulary is kept in arrays, mapped and
sorted by a hash of the tokens; the pieces of the text that are tokens are looked up, some hundreds; and `tokenizers` is
given a model with only these, in the same order and with the same scores. What it answers is what the whole model
answers. Normalizing, splitting and special tokens are its own anyway.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rclip.errors import MissingModelPackage, UnusableTokenizer, plain_reason
from rclip.models import tokenizer_bounds
from rclip.models.config import TextConfig
from rclip.models.text_cleaning import CLEANINGS
from rclip.models.tokenizer import clip_merges

if TYPE_CHECKING:
    import tokenizers

_PREFIX = "tokenizer."
_MAX_FILE_BYTES = 64 << 20  # the largest known has 34
_SEPARATOR = 0x110000  # no character
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that hashes keep all their bits
_TEXTS_TOGETHER = 256
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
"""The tokens of single bytes, for characters that no token has."""


# --- preparing -------------------------------------------------------------------------------------------------------


def prepare(path: str, lowercases: bool) -> dict[str, np.ndarray]:
    """The arrays that `FileTokenizer` reads, from a `tokenizer.json`. Raises `ModelError`."""
    whole = _read(path)
    try:
        model = whole["model"]
        kind = _kind(model)
        tokens, ids, scores = _vocabulary(model, kind)
        tokenizer_bounds.check(whole, max(map(len, tokens)))
        merges = _merges(model, tokens) if kind == "BPE" else np.zeros((0, 4), np.uint32)
        skeleton = _skeleton(whole, lowercases)
        options = {name: value for name, value in model.items() if name not in ("vocab", "merges", "type")} | {
            "kind": kind,
            "longest": max(map(len, tokens)),
            "always": _always(model, kind, tokens, scores, whole["added_tokens"]),
        }
        hashes = _hashes(tokens)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnusableTokenizer(path=path, reason=plain_reason(error)) from error
    _require_readable(skeleton, path)
    order = np.argsort(hashes).astype(np.uint32)
    encoded = [token.encode("utf-8", "surrogatepass") for token in tokens]
    offsets = np.cumsum([0, *map(len, encoded)])
    return {  # arrays of larger items come first
        _PREFIX + "hashes": hashes[order],
        _PREFIX + "scores": scores,
        _PREFIX + "order": order,
        _PREFIX + "ids": ids,
        _PREFIX + "offsets": offsets.astype(np.uint32),
        _PREFIX + "merges": merges,
        _PREFIX + "tokens": np.frombuffer(b"".join(encoded), np.uint8),
        _PREFIX + "skeleton": np.frombuffer(skeleton.encode(), np.uint8),
        _PREFIX + "options": np.frombuffer(json.dumps(options).encode(), np.uint8),
    }


def _require_readable(skeleton: str, path: str) -> None:
    """Raises `UnusableTokenizer`, or `MissingModelPackage`."""
    library = _package()
    try:
        library.Tokenizer.from_str(skeleton)
    except Exception as error:  # the package raises nothing more special
        raise UnusableTokenizer(path=path, reason=plain_reason(error)) from error


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        whole = json.loads(content) if len(content) <= _MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise UnusableTokenizer(path=path, reason=plain_reason(error)) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("model"), dict):
        raise UnusableTokenizer(path=path, reason="it is no tokenizer of the package tokenizers")
    if not isinstance(whole.setdefault("added_tokens", []), list):
        raise UnusableTokenizer(path=path, reason="its added tokens are no list")
    return whole


def _kind(model: Mapping[str, Any]) -> str:
    kind = model.get("type") or ("BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece")
    if kind not in ("BPE", "Unigram", "WordPiece"):
        raise ValueError(f"its kind is {kind}")
    if model.get("dropout"):
        raise ValueError("it draws its tokens by chance")
    if kind == "BPE" and model.get("continuing_subword_prefix"):
        raise ValueError("its tokens have a prefix within words")
    return str(kind)


def _vocabulary(model: Mapping[str, Any], kind: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The tokens, their ids, and a unigram model's scores."""
    vocab = model["vocab"]
    if kind == "Unigram":
        tokens = [str(token) for token, _ in vocab]
        return tokens, np.arange(len(tokens), dtype=np.uint32), np.array([score for _, score in vocab], np.float64)
    return list(vocab), np.fromiter(vocab.values(), np.uint32, len(vocab)), np.zeros(0, np.float64)


def _merges(model: Mapping[str, Any], tokens: Sequence[str]) -> np.ndarray:
    """(M, 4) of result, left, right and rank, sorted: tokens by their numbers."""
    number = {token: place for place, token in enumerate(tokens)}
    rows = np.empty((len(model["merges"]), 4), np.uint32)
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        rows[rank] = number[left + right], number[left], number[right], rank
    return rows[np.lexsort((rows[:, 3], rows[:, 0]))]


def _skeleton(whole: Mapping[str, Any], lowercases: bool) -> str:
    """The tokenizer without its vocabulary."""
    normalizer = whole.get("normalizer")
    if lowercases:
        lower = {"type": "Lowercase"}
        normalizer = {"type": "Sequence", "normalizers": [lower, normalizer]} if normalizer else lower
    model = {"type": "BPE", "vocab": {}, "merges": []}
    changes = {"model": model, "normalizer": normalizer, "truncation": None, "padding": None}
    return json.dumps({**whole, **changes})


def _always(
    model: Mapping[str, Any], kind: str, tokens: Sequence[str], scores: np.ndarray, added: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Tokens that any text may need, and their ids: special ones, those of bytes, and the one for all others."""
    ids = {token: place for place, token in enumerate(tokens)} if kind == "Unigram" else dict(model["vocab"])
    wanted = [str(token["content"]) for token in added]
    if kind == "Unigram":
        wanted.append(tokens[int(scores.argmin())])  # an unknown character's score follows from it
        if model.get("unk_id") is not None:
            wanted.append(tokens[model["unk_id"]])
    elif model.get("unk_token") is not None:
        wanted.append(model["unk_token"])
    if model.get("byte_fallback"):
        wanted += _BYTES
    known = {token: int(ids[token]) for token in wanted if token in ids}
    return {str(token["content"]): int(token["id"]) for token in added} | known


def _hashes(tokens: Sequence[str]) -> np.ndarray:
    """(V,) uint64, of all tokens character by character at once."""
    lengths = np.array([len(token) for token in tokens])
    characters = np.frombuffer("".join(tokens).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    hashes = np.zeros(len(tokens), np.uint64)
    for place in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > place)
        hashes[rows] = _extended(hashes[rows], characters[starts[rows] + place])
    return hashes


def _extended(hashes: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Of texts that are one character longer."""
    with np.errstate(over="ignore"):
        return (hashes + characters + np.uint64(1)) * _FACTOR


def id_of(path: str, token: str) -> int | None:
    """A token's id in a `tokenizer.json`, as far as it is one of those that are listed apart. Raises `ModelError`."""
    for added in _read(path)["added_tokens"]:
        if isinstance(added, dict) and added.get("content") == token and type(added.get("id")) is int:
            return int(added["id"])
    return None


def has_merges_of_clip(path: str, vocabulary_size: int) -> bool:
    """Whether a `tokenizer.json` is CLIP's own. Raises `ModelError`."""
    model = _read(path)["model"]
    merges = model.get("merges")
    if model.get("type", "BPE") != "BPE" or not isinstance(merges, list):
        return False
    spelled = [merge if isinstance(merge, str) else " ".join(map(str, merge)) for merge in merges]
    return spelled == clip_merges()[: vocabulary_size - 514] and model.get("end_of_word_suffix") == "</w>"


# --- running ---------------------------------------------------------------------------------------------------------


def _package() -> Any:
    """Raises `MissingModelPackage`."""
    try:
        import tokenizers
    except ImportError as error:
        raise MissingModelPackage(package="tokenizers") from error
    return tokenizers


class _Merge(NamedTuple):
    rank: int
    left: str
    right: str


class FileTokenizer:
    """Made from the arrays of `prepare`."""

    def __init__(self, weights: Mapping[str, np.ndarray], config: TextConfig):
        """Raises `ModelError` where `tokenizers` is not installed."""
        self._weights = weights
        self._context_length = config.context_length
        self._clean = CLEANINGS[config.cleaning]
        self._library = _package()
        self._skeleton = self._library.Tokenizer.from_str(bytes(weights[_PREFIX + "skeleton"]).decode())
        self._options: dict[str, Any] = json.loads(bytes(weights[_PREFIX + "options"]))
        self._added = list(self._skeleton.get_added_tokens_decoder().values())
        self._contents = {added.content for added in self._added}

    def encode_all(self, texts: Sequence[str]) -> Iterator[tuple[list[int], bool]]:
        """Of each text the ids with those of start and end, at most the context length, and whether it had to be cut
        for that."""
        for start in range(0, len(texts), _TEXTS_TOGETHER):
            cleaned = [self._clean(text) for text in texts[start : start + _TEXTS_TOGETHER]]
            numbers = self._tokens_in(cleaned)
            tokenizer, ids = self._tokenizer(numbers)
            tokenizer.enable_truncation(self._context_length)
            for encoding in tokenizer.encode_batch(cleaned):
                yield [self._id(token, ids) for token in encoding.tokens], bool(encoding.overflowing)

    def _id(self, token: str, ids: Mapping[str, int]) -> int:
        """A special token may come with the blanks around it; a unigram model spells out what it does not know."""
        found = ids.get(token)
        if found is None:
            found = ids.get(token.strip()) if token.strip() in self._contents else self._options["unk_id"]
        assert found is not None
        return found

    # --- the tokens of a text ----------------------------------------------------------------------------------------

    def _tokens_in(self, texts: Iterable[str]) -> list[int]:
        """The numbers of all tokens that are pieces of the texts."""
        pieces = {piece for text in texts for part in self._parts(text) for piece in self._pieces(part)}
        suffix = self._options.get("end_of_word_suffix") or ""
        pieces |= {piece + suffix for piece in pieces}
        joined = "\0".join(pieces)
        characters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
        characters[characters == 0] = _SEPARATOR
        prefix = self._options.get("continuing_subword_prefix") or ""
        return sorted({number for start in {"", prefix} for number in self._found(joined, characters, start)})

    def _parts(self, text: str) -> list[str]:
        """The text, and what lies between special tokens in it: each is normalized by itself."""
        import re

        contents = [re.escape(added.content) for added in self._added if added.content]
        parts = re.split("|".join(sorted(contents, key=len, reverse=True)), text) if contents else []
        return list({text, *parts, *(part.strip() for part in parts)})

    def _pieces(self, part: str) -> list[str]:
        """What the model is given to divide."""
        skeleton = self._skeleton
        normalized = skeleton.normalizer.normalize_str(part) if skeleton.normalizer else part
        if skeleton.pre_tokenizer is None:
            return [normalized]
        return [piece for piece, _ in skeleton.pre_tokenizer.pre_tokenize_str(normalized)]

    def _found(self, joined: str, characters: np.ndarray, start: str) -> Iterator[int]:
        """The numbers of tokens that are `start` and some characters that follow one another."""
        hashes, order = self._weights[_PREFIX + "hashes"], self._weights[_PREFIX + "order"]
        (first,) = _hashes([start])
        state = np.full(len(characters), first)
        for length in range(1, int(self._options["longest"]) - len(start) + 1):
            if length > len(characters):
                return
            state = _extended(state[: len(characters) - length + 1], characters[length - 1 :])
            left, right = np.searchsorted(hashes, state), np.searchsorted(hashes, state, "right")
            for place in np.flatnonzero(left < right):
                wanted = start + joined[place : place + length]
                for number in order[left[place] : right[place]].tolist():
                    if self._token(number) == wanted:
                        yield number

    def _token(self, number: int) -> str:
        offsets = self._weights[_PREFIX + "offsets"]
        return bytes(self._weights[_PREFIX + "tokens"][offsets[number] : offsets[number + 1]]).decode(
            "utf-8", "surrogatepass"
        )

    # --- a tokenizer of these tokens ---------------------------------------------------------------------------------

    def _tokenizer(self, numbers: Sequence[int]) -> tuple["tokenizers.Tokenizer", dict[str, int]]:
        """And the ids of its tokens in the whole vocabulary."""
        all_ids = self._weights[_PREFIX + "ids"]
        tokens = {number: self._token(number) for number in numbers}
        ids: dict[str, int] = {tokens[number]: int(all_ids[number]) for number in numbers} | self._options["always"]
        tokenizer = self._library.Tokenizer(self._model(tokens, ids))
        for part in ("normalizer", "pre_tokenizer", "post_processor"):
            if getattr(self._skeleton, part) is not None:
                setattr(tokenizer, part, getattr(self._skeleton, part))
        for added in self._added:
            (tokenizer.add_special_tokens if added.special else tokenizer.add_tokens)([added])
        return tokenizer, ids

    def _model(self, tokens: Mapping[int, str], ids: Mapping[str, int]) -> "tokenizers.models.Model":
        options, models = self._options, self._library.models
        if options["kind"] == "Unigram":
            return self._unigram(ids)
        if options["kind"] == "WordPiece":
            return models.WordPiece(
                vocab=dict(ids),
                unk_token=options.get("unk_token", "[UNK]"),
                max_input_chars_per_word=options.get("max_input_chars_per_word", 100),
                continuing_subword_prefix=options.get("continuing_subword_prefix", "##"),
            )
        merges = [(merge.left, merge.right) for merge in sorted(self._merges(tokens))]
        names = ("unk_token", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges")
        given = {name: options[name] for name in names if options.get(name) is not None}
        return models.BPE(vocab=dict(ids), merges=merges, **given)

    def _unigram(self, ids: Mapping[str, int]) -> "tokenizers.models.Unigram":
        scores = self._weights[_PREFIX + "scores"]
        known = [
            (token, place) for token, place in sorted(ids.items(), key=lambda item: item[1]) if place < len(scores)
        ]
        unknown = self._options.get("unk_id")
        places = [place for _, place in known]
        return self._library.models.Unigram(
            vocab=[(token, float(scores[place])) for token, place in known],
            unk_id=None if unknown is None else places.index(unknown),
            byte_fallback=bool(self._options.get("byte_fallback")),
        )

    def _merges(self, tokens: Mapping[int, str]) -> Iterator[_Merge]:
        """All that give one of the tokens: what is merged is in the text, too."""
        merges = self._weights[_PREFIX + "merges"]
        results = merges[:, 0]
        numbers = np.array(list(tokens), np.uint32)
        for start, end in zip(
            np.searchsorted(results, numbers), np.searchsorted(results, numbers, "right"), strict=True
        ):
            for _, left, right, rank in merges[start:end].tolist():
                if left in tokens and right in tokens:
                    yield _Merge(rank, tokens[left], tokens[right])
