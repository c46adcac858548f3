"""A model's folder by a stranger: none of its code is run, it asks nobody, and it takes no more than its files do."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rclip.models import tokenizer_bounds
from tests.support import families
from tests.support.command import Command, one_line, start
from tests.support.hub import Hub, serving

TOKENIZED = {"vocab_size": 900, "hf_tokenizer_name": "somebody/words", "pool_type": "eos", "eos_id": 1}


def put_model(folder: Path, changes: dict[str, Any] | None = None, tokenizer: Any = None) -> Path:
    """A sound model, whose configuration is changed after its weights were made."""
    text = families.OPEN_CLIP_TEXT | (TOKENIZED if tokenizer else {})
    config = {"embed_dim": 40, "vision_cfg": families.OPEN_CLIP_IMAGE, "text_cfg": text}
    families.open_clip_folder(folder, config, tokenizer=tokenizer)
    for part, change in (changes or {}).items():
        config[part] = {**config[part], **change} if isinstance(change, dict) else change  # type: ignore[dict-item]
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return folder


def put_code(folder: Path, mark: Path, name: str = "AutoTokenizer") -> None:
    """What transformers runs for a tokenizer, or a configuration, that has code of its own."""
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    settings = {"tokenizer_class": "Evil", "model_type": "evil", "auto_map": {name: "evil.Evil"}}
    if name == "AutoTokenizer":
        settings["auto_map"] = {name: ["evil.Evil", None]}
    for file in ("tokenizer_config.json", "config.json"):
        (folder / file).write_text(json.dumps(settings))


def asked_and_told_yes(rclip: Command, folder: Path) -> str:
    """What the command says that is run with somebody at the keyboard who agrees to everything."""
    rclip.model = folder
    process = start(rclip, "dogs", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    out, told = process.communicate(b"y\n" * 10, timeout=120)
    assert process.returncode == 2, told
    assert not out
    return told.decode().splitlines()[-1]


# --- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"trust_remote_code": True}, {"strip_sep_token": True, "trust_remote_code": True}, {"cache_dir": "here"}],
)
def test_options_of_a_tokenizer_that_do_more_than_clean_are_refused(
    rclip: Command, gallery: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    text = {"text_cfg": {"tokenizer_kwargs": options}}
    folder = put_model(tmp_path / "model", text, families.gemma_tokenizer())
    put_code(folder, tmp_path / "was run")
    told = asked_and_told_yes(rclip, folder)
    assert "tokenizer_kwargs" in told
    assert "which rclip does not support" in told
    assert not (tmp_path / "was run").exists()


def test_nobody_is_asked_whether_to_run_a_tokenizers_code(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    """open_clip's own way to it would ask."""
    text = {"text_cfg": {"tokenizer_kwargs": {"strip_sep_token": True}}}
    folder = put_model(tmp_path / "model", text, families.gemma_tokenizer())
    put_code(folder, tmp_path / "was run")
    told = asked_and_told_yes(rclip, folder)
    assert "[y/N]" not in told
    assert "cannot read the model" in told
    assert not (tmp_path / "was run").exists()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    with serving(tmp_path / "hub") as hub:
        yield hub


@pytest.mark.parametrize("place", ["beside the photos", "on the hub"])
def test_nor_that_of_a_text_model_that_is_named(
    rclip: Command, gallery: Path, hub: Hub, tmp_path: Path, place: str
) -> None:
    """Whether it lies where the user stands, or on the hub, of which a folder on this machine asks nothing anyway."""
    other = gallery / "somebody/text" if place == "beside the photos" else hub.root / "somebody/text"
    other.mkdir(parents=True)
    put_code(other, tmp_path / "was run", "AutoConfig")
    folder = put_model(tmp_path / "model", {"text_cfg": {"hf_model_name": "somebody/text"}})
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    done = rclip("dogs", model=folder, env=env)
    assert done.code == 2
    assert not done.out
    assert "[y/N]" not in done.err
    assert not hub.requests
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("name", ["ViT-Z/99", "ViT-B/31", "vit-huge/14", "RN51/1", "RN50x4/2"])
def test_a_mistyped_name_asks_nobody(rclip: Command, gallery: Path, hub: Hub, name: str) -> None:
    done = rclip("dogs", model=name, env={"HF_ENDPOINT": hub.endpoint})
    assert done.code == 2
    assert f"{name}" in one_line(done.err)
    assert "ViT-B/32" in done.err
    assert not hub.requests


# --- room and time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("text_cfg", {"ls_init_value": 0.1, "width": 1024, "layers": 8}, "too few bytes for"),
        ("vision_cfg", {"timm_model_name": "vit_large_patch16_224"}, "too few bytes for"),
        ("text_cfg", {"ls_init_value": 0.1, "layers": 10**9}, "'layers'"),
        ("vision_cfg", {"ls_init_value": 0.1, "layers": [1, 1, 1, 10**9]}, "layers"),
        ("text_cfg", {"context_length": 1 << 20}, "context length"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "dirty"}}, "clean 'dirty'"),
    ],
)
def test_a_configuration_larger_than_its_weights_is_not_built(
    rclip: Command, gallery: Path, tmp_path: Path, part: str, change: dict[str, Any], reason: str
) -> None:
    done = rclip("dogs", model=put_model(tmp_path / "model", {part: change}))
    assert done.code == 2
    assert reason.strip("'") in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert "fault of rclip" not in done.err


def _regex(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split]}}


def _replace(pattern: dict[str, str], content: str, times: int = 1) -> dict[str, Any]:
    one = {"type": "Replace", "pattern": pattern, "content": content}
    return {"normalizer": {"type": "Sequence", "normalizers": [one] * times}}


def _long_token(whole: dict[str, Any]) -> None:
    whole["model"]["vocab"]["a" * 5_000_000] = 899


ENDLESS: dict[str, dict[str, Any] | Callable[[dict[str, Any]], None]] = {
    "an exponential pattern": _regex(r"(.+)+\x00"),
    "the same in a replacement": _replace({"Regex": r"(?:a|a)*\x00"}, ""),
    "a pattern that leads back": _regex(r"(a*)\1\x00"),
    "many optional letters": _regex("a?" * 40 + "a" * 40),
    "letters that become many": _replace({"String": "a"}, "aaaaaaaaaa", 12),
    "many between all letters": _replace({"Regex": ""}, "b" * 100_000),
    "a token of megabytes": _long_token,
    "more tokens added than any model has": lambda whole: whole["added_tokens"].extend(
        {"id": 900 + number, "content": f"<{number}>", "special": True} for number in range(20_000)
    ),
    "too many steps": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 1000}},
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_a_tokenizer_without_bounds_is_one_line(rclip: Command, gallery: Path, tmp_path: Path, name: str) -> None:
    folder = put_model(tmp_path / "model", {}, families.gemma_tokenizer())
    whole = json.loads((folder / "tokenizer.json").read_text())
    change = ENDLESS[name]
    if isinstance(change, dict):
        whole |= change
    else:
        change(whole)
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    done = rclip("a" * 60, model=folder)
    assert (done.code, done.out) == (2, "")
    assert "cannot use the tokenizer" in one_line(done.err)


def test_the_same_model_without_that_is_searched(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    folder = put_model(tmp_path / "model", {}, families.gemma_tokenizer())
    assert rclip("a" * 60, "-t", "3", model=folder).code == 0


_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PUBLISHED = [
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+",
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{M}}]*[\p{{Ll}}\p{{M}}]+{_CONTRACTIONS}?|\p{{N}}{{1,3}}|\s+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" {2,}",
    r"(?:\r\n)+",
    "▁",
    "",
]
"""Of CLIP, GPT-2, GPT-4 and Llama 3, GPT-4o, BLOOM, DeepSeek and SentencePiece: they are all kept."""

SLOW = [
    *(r"(a+)+$", r"(.*)*x", r"(a|a)*b", r"(?:a*)*", r".*.*.*x", r"(?<n>a)\g<n>*", r"(?:(?:a+){2}){30}"),
    *(r"(a+){30}b", r"((a*)b*)c*d*", r"a*?a*?a*?b", r"(?:a|b*)c*d*", r"(?=(a+))+", r"(?(1)a|b)", "a{1,9}" * 20),
    *("(a|b|ab)" * 20, "(?:a?b?c?){2}", "a**", "a{9999999}", "[a", "(a", "a)", "a" * 10_000),
]


def test_patterns_that_published_models_have_are_known_to_be_quick() -> None:
    assert [pattern for pattern in PUBLISHED if not tokenizer_bounds.is_quick(pattern)] == []


def test_patterns_that_may_take_for_ever_are_not() -> None:
    assert [pattern for pattern in SLOW if tokenizer_bounds.is_quick(pattern)] == []
