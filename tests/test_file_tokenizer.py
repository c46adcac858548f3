"""Token ids of a `tokenizer.json`, one by one as `tokenizers` gives them with the whole vocabulary."""

import json
from pathlib import Path
from typing import Any

import pytest

from rclip.errors import ModelError
from rclip.models import safetensors
from rclip.models.config import TextConfig
from rclip.models.file_tokenizer import FileTokenizer, has_merges_of_clip, prepare
from rclip.models.safetensors import Tensors
from tests.support import families
from tests.support.tiers import few

LENGTH = 24
KINDS: dict[str, Any] = {
    "gemma": families.gemma_tokenizer,
    "xlm-roberta": families.xlm_roberta_tokenizer,
    "bert": families.bert_tokenizer,
    "bert in lower case": lambda: families.bert_tokenizer(lowercase=True),
    "bytes": families.byte_tokenizer,
}


def made(path: Path, cleaning: str = "", lowercases: bool = False) -> FileTokenizer:
    """By way of a file of weights, as a query gets it."""
    stored = path.with_name("stored.safetensors")
    safetensors.write(str(stored), prepare(str(path), lowercases), {})
    text = TextConfig(LENGTH, 1000, 8, 1, 1, tokenizer="file", cleaning=cleaning)
    return FileTokenizer(Tensors(str(stored)), text)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    tokenizer = KINDS[request.param]()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return tokenizer, path


@pytest.mark.parametrize("count", few([150, 1500]))
def test_tokens_are_those_of_the_whole_vocabulary(kind: tuple[Any, Path], count: int) -> None:
    theirs, path = kind
    texts = list(families.awkward_texts(count))
    ours = made(path)
    theirs.enable_truncation(LENGTH)
    together = list(ours.encode_all(texts))
    for text, (ids, was_cut) in zip(texts, together, strict=True):
        expected = theirs.encode(text)
        assert ids == expected.ids, repr(text)
        assert was_cut == bool(expected.overflowing)
    for text in texts[:: max(1, count // 40)]:
        ((ids, _),) = ours.encode_all([text])
        assert ids == theirs.encode(text).ids, repr(text)
    assert any(was_cut for _, was_cut in together)


def test_a_text_in_lower_case_is_what_the_normalizer_makes_of_it(tmp_path: Path) -> None:
    from tokenizers import normalizers

    tokenizer, path = families.gemma_tokenizer(), tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), tokenizer.normalizer])
    tokenizer.enable_truncation(LENGTH)
    texts = ["A Photo of DOGS", "ΣΑΣ İSTANBUL ſtraße", "<B> <eos> A"]
    assert [ids for ids, _ in made(path, lowercases=True).encode_all(texts)] == [tokenizer.encode(t).ids for t in texts]


@pytest.mark.parametrize("clean", ["whitespace", "canonicalize"])
def test_texts_are_cleaned_as_open_clip_cleans_them(clean: str, tmp_path: Path) -> None:
    """With its own class, which loads the same file through transformers."""
    from open_clip.tokenizer import HFTokenizer

    tokenizer = families.gemma_tokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "<eos>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<unk>"}))
    theirs = HFTokenizer(str(tmp_path), context_length=LENGTH, clean=clean)
    texts = list(families.awkward_texts(150))
    for text, (ids, _) in zip(texts, made(tmp_path / "tokenizer.json", clean).encode_all(texts), strict=True):
        assert ids + [0] * (LENGTH - len(ids)) == theirs([text])[0].tolist(), repr(text)


def test_siglips_own_cleaning_is_its_tokenizers() -> None:
    from transformers import SiglipTokenizer

    from rclip.models.text_cleaning import CLEANINGS

    for text in families.awkward_texts(200):
        theirs = SiglipTokenizer.__new__(SiglipTokenizer)
        theirs.do_lower_case = True
        assert CLEANINGS["siglip"](text) == theirs.canonicalize_text(text)  # type: ignore[no-untyped-call]


def test_clips_own_tokenizer_is_known_by_its_merges(tmp_path: Path) -> None:
    from rclip.models.tokenizer import clip_merges

    merges = clip_merges()[:48894]
    model = {"type": "BPE", "vocab": {}, "merges": merges, "end_of_word_suffix": "</w>"}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": model}))
    assert has_merges_of_clip(str(path), 49408)
    path.write_text(json.dumps({"model": model | {"merges": [merge.split() for merge in merges]}}))
    assert has_merges_of_clip(str(path), 49408)
    path.write_text(json.dumps({"model": model | {"merges": merges[::-1]}}))
    assert not has_merges_of_clip(str(path), 49408)
    assert not has_merges_of_clip(str(path), 600)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"model": {"type": "WordLevel", "vocab": {"a": 0}}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}',
        b'{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
        b'{"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.5}}',
        b'{"model": {"type": "Unigram", "vocab": [], "unk_id": 0}}',
        b'{"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 7}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": {"type": "Unheard"}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": {"a": 1}}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_tokenizer_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        prepare(str(path), lowercases=False)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        prepare(str(tmp_path / "tokenizer.json"), lowercases=False)
