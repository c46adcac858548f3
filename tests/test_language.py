"""`--language`: queries by a text model for many languages, on the index of a model that knows one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rclip.models import Model
from tests.support import families
from tests.support.command import Command, imported_by, one_line
from tests.support.models import cosine

TEXTS = ["a photo of dogs", "снег кот 東京", "a", "a " * 200]


@pytest.mark.parametrize(("kind", "has_bias"), [("distilbert", False), ("bert", True), ("xlm-roberta", False)])
def test_vectors_are_those_of_transformers(tiny_checkpoint: Path, tmp_path: Path, kind: str, has_bias: bool) -> None:
    transformer, dense, tokenizer = families.text_model_folder(tmp_path / "text", 64, kind, has_bias)
    model = Model(str(tiny_checkpoint), str(tmp_path / "data"), lambda line: None, str(tmp_path / "text"))
    tokenizer.enable_truncation(128)
    expected = []
    with torch.inference_mode():
        for text in TEXTS:
            output = transformer(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
            expected.append(dense(output.mean(dim=1))[0].numpy())
    vectors, cut = model.encode_texts(TEXTS)
    assert cosine(vectors, np.stack(expected)) >= 0.99999
    assert cut == [False, False, False, True]
    assert cosine(vectors[:1], vectors[1:2]) < 0.99


def test_it_searches_the_index_that_is_there(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    families.text_model_folder(tmp_path / "text", 64)
    assert rclip("--index").code == 0
    plain = rclip("a red star")
    indexes = list(rclip.data_dir.glob("*.db"))
    found = rclip("--language", tmp_path / "text", "красная звезда")
    assert found.code == 0
    assert len(found.lines) == 10
    assert "new photo" not in found.err
    assert "English" not in found.err
    assert list(rclip.data_dir.glob("*.db")) == indexes
    assert rclip("a red star").out == plain.out  # neither is taken for the other
    assert rclip("--language", tmp_path / "text", "a red star").out != plain.out
    found_modules = imported_by(rclip, "-n", "--language", str(tmp_path / "text"), "a green star")
    assert not found_modules & {"torch", "open_clip", "transformers", "huggingface_hub", "clip", "PIL", "tqdm"}


@pytest.mark.parametrize(
    ("query", "is_told"),
    [
        ("красная звезда", True),
        ("赤い星", True),
        ("نجمة حمراء", True),
        ("ein grüner Stern", False),
        ("étoile 赤", False),
        ("🐈", False),
        ("12 %", False),
    ],
)
def test_letters_that_an_english_model_does_not_read_are_told(
    rclip: Command, gallery: Path, query: str, is_told: bool
) -> None:
    assert ("--language any" in rclip(query).err) == is_told


def test_a_text_model_of_another_space_is_one_line(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    families.text_model_folder(tmp_path / "text", 32)
    rclip("--index")
    done = rclip("-n", "--language", tmp_path / "text", "a red star")
    assert (done.code, done.out) == (2, "")
    assert "leave out --language" in done.err.splitlines()[-1]


def test_any_language_is_for_models_of_that_space(rclip: Command, gallery: Path) -> None:
    done = rclip("--language", "any", "a red star", model="ViT-L/14")
    assert done.code == 2
    assert "is for ViT-B/32; leave out --language" in one_line(done.err)
    done = rclip("--language", "french", "a red star")
    assert done.code == 2
    assert "must be any, or the folder of a text model" in one_line(done.err)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("modules.json", "{}"),
        ("modules.json", "[1]"),
        ("modules.json", "[" * 100_000),
        ("modules.json", '[{"path": "../..", "type": "x.Transformer"}]'),
        ("modules.json", '[{"path": "0", "type": "x.Transformer"}]'),
        ("modules.json", '[{"path": "0", "type": "somebody.Code"}]'),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": true}'),
        ("2_Dense/config.json", '{"out_features": 64}'),
        ("2_Dense/config.json", '{"out_features": 64, "activation_function": "somebody.Identity2"}'),
        ("0_Transformer/config.json", '{"model_type": "gpt2"}'),
        ("0_Transformer/config.json", json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "a.B"}})),
        ("0_Transformer/tokenizer.json", "{}"),
        ("2_Dense/model.safetensors", "no weights"),
    ],
)
def test_a_bad_text_model_is_one_line(
    rclip: Command, gallery: Path, tmp_path: Path, file: str, content: str, request: Any
) -> None:
    families.text_model_folder(tmp_path / "text", 64)
    (tmp_path / "text" / file).write_text(content)
    done = rclip("-n", "--language", tmp_path / "text", "a red star")
    assert (done.code, done.out) == (1, "") if "no photo is indexed" in done.err else (2, "")
    rclip("--index")
    done = rclip("-n", "--language", tmp_path / "text", "a red star")
    assert (done.code, done.out) == (2, "")
    one_line(done.err)
