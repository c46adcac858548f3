"""Token ids against `clip.tokenize`, on thousands of strings."""

import random
import warnings

import pytest

from rclip.models.tokenizer import Tokenizer, clip_merges, merge_table
from tests.support.tiers import few

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import clip

WORDS = (  # noqa: SIM905 - a list would be a page
    "a photo of two Parrots on branches isn't cat's don't I'll we've it'S 12345 3.5 e-mail@x.org C++ #tag "
    "<|endoftext|> <|startoftext|> &amp; &lt;b&gt; &amp;amp; __init__ --- !!! antidisestablishmentarianism "
    "café naïve straße ﬁne “quoted” ‘s ’s Ã© ½ Ⅷ ſ İstanbul 東京 写真 사진 مرحبا नमस्ते ไทย Ελλάδα Ж "
    "🐈 👩‍👩‍👧‍👦 🇯🇵 \u00a0 \u200b \u3000 \u0301 \ufeff \x1c \x85 \t \n \x00 \x7f \x1b[31m"
).split(" ")
RANGES = [(32, 127), (32, 127), (1, 0x300), (0x2000, 0x2100), (0x3040, 0x3100), (0x4E00, 0x4F00), (0x1F300, 0x1F600)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(*merge_table(clip_merges(), 49408), 49408, 77)


def assert_same(tokenizer: Tokenizer, texts: list[str]) -> None:
    expected = clip.tokenize(texts, truncate=True).tolist()
    for text, ids in zip(texts, expected, strict=True):
        ours, _ = tokenizer(text)
        assert ours + [0] * (77 - len(ours)) == ids, repr(text)


@pytest.mark.parametrize("count", few([400, 2500]))
def test_sentences_of_all_kinds(tokenizer: Tokenizer, count: int) -> None:
    rng = random.Random(1)
    texts = [
        "".join(rng.choice(["", " ", " ", "  ", "\t"]) + rng.choice(WORDS) for _ in range(rng.randrange(30)))
        for _ in range(count)
    ]
    assert_same(tokenizer, texts)


@pytest.mark.parametrize("count", few([400, 2500]))
def test_random_characters(tokenizer: Tokenizer, count: int) -> None:
    rng = random.Random(2)
    texts = ["".join(chr(rng.randrange(*rng.choice(RANGES))) for _ in range(rng.randrange(50))) for _ in range(count)]
    assert_same(tokenizer, texts)


def test_every_character_of_the_first_planes_alone(tokenizer: Tokenizer) -> None:
    assert_same(tokenizer, [chr(code) for code in range(0x500)])


@pytest.mark.parametrize(("words", "was_cut"), [(75, False), (76, True), (10_000, True)])
def test_long_texts_are_cut_to_77_tokens(tokenizer: Tokenizer, words: int, was_cut: bool) -> None:
    text = "cat " * words
    ids, cut = tokenizer(text)
    assert (len(ids), cut) == (77, was_cut)
    assert_same(tokenizer, [text])
