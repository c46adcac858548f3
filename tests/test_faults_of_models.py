"""Folders that hold no model, or a bad one: one line each, exit status 2, and nothing is indexed."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.command import Command, one_line
from tests.support.models import RunsCode

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIG: dict[str, Any] = {
    "model_type": "clip",
    "projection_dim": 16,
    "text_config": TOWER,
    "vision_config": TOWER | {"image_size": 32, "patch_size": 16},
}
OPEN_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"width": 64, "heads": 1, "layers": 1},
}


def arrays() -> dict[str, np.ndarray]:
    from rclip.models.families import transformers_family
    from rclip.models.families.description import Settings
    from rclip.models.openai_layout import shapes

    described = transformers_family._clip(Settings(CONFIG, "/nowhere/config.json"), "/nowhere", "clip")
    wanted = shapes(described.config)
    found = {}
    for name, origin in described.origins.items():
        fused = name.replace(".q_proj.", ".in_proj_").replace(".k_proj.", ".in_proj_").replace(".v_proj.", ".in_proj_")
        shape = wanted[name] if name in wanted else (wanted[fused][0] // 3, *wanted[fused][1:])
        found[origin.name] = np.zeros(shape[::-1] if "T" in origin.views else shape, np.float32)
    return found


def saved(folder: Path, tensors: dict[str, np.ndarray], config: dict[str, Any] | None = None) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def header(folder: Path, content: object, size: int | None = None) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    data = struct.pack("<Q", len(text) if size is None else size) + text
    (folder / "model.safetensors").write_bytes(data + bytes(64))


def changed(**changes: Any) -> dict[str, Any]:
    return CONFIG | changes


def entry(shape: list[Any], start: Any = 0, end: Any = 64, dtype: str = "F32") -> dict[str, Any]:
    return {"logit_scale": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


Spoil = Callable[[Path], object]

FOLDERS: dict[str, tuple[Spoil, str]] = {
    "an empty folder": (lambda f: list(map(os.unlink, f.iterdir())), "neither open_clip_config.json nor config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "it has no weights"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "cannot read the model"),
    "JSON of another kind": (lambda f: (f / "config.json").write_text("[]"), "no JSON object"),
    "deep JSON": (lambda f: (f / "config.json").write_text("[" * 100_000), "nested"),
    "an unknown family": (lambda f: saved(f, arrays(), changed(model_type="blip")), "'blip', which rclip does not"),
    "no family": (lambda f: saved(f, arrays(), {}), "model_type"),
    "code of its own": (lambda f: saved(f, arrays(), changed(auto_map={"AutoModel": "x.Y"})), "code of its own"),
    "a text for a number": (lambda f: saved(f, arrays(), changed(projection_dim="16")), "projection_dim '16'"),
    "a billion layers": (
        lambda f: saved(f, arrays(), changed(text_config=TOWER | {"num_hidden_layers": 10**9})),
        "layers 1000000000",
    ),
    "a width of another model": (
        lambda f: saved(f, arrays(), changed(text_config=TOWER | {"hidden_size": 64})),
        "do not fit their configuration: token_embedding.weight is 49408×32, and must be 49408×64",
    ),
    "an array too few": (lambda f: saved(f, dict(list(arrays().items())[1:])), "is missing, and must be"),
    "an array too many": (lambda f: saved(f, arrays() | {"x": np.zeros(3, np.float32)}), "x is none of"),
    "an empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), "cannot read the model"),
    "a short header": (lambda f: header(f, b"{", 1000), "cannot read the model"),
    "a huge header": (lambda f: header(f, b"{", 1 << 60), "its header has"),
    "a header that is a list": (lambda f: header(f, []), "cannot read the model"),
    "a deep header": (lambda f: header(f, b"[" * 100_000), "nested too deeply"),
    "a huge shape": (lambda f: header(f, entry([1 << 40, 1 << 40])), "not in the file as its header says"),
    "a negative shape": (lambda f: header(f, entry([-4, -4])), "not in the file as its header says"),
    "an array beyond the file": (lambda f: header(f, entry([16], 1 << 50, (1 << 50) + 64)), "not in the file"),
    "offsets that are texts": (lambda f: header(f, entry([16], "0", "64")), "not in the file"),
    "arrays that share bytes": (lambda f: header(f, entry([16]) | {"x": entry([8], 32)["logit_scale"]}), "share bytes"),
    "an unknown type": (lambda f: header(f, entry([16], dtype="F8_E4M3")), "F8_E4M3"),
    "a link to nothing": (
        lambda f: (f / "model.safetensors").rename(f / "x").with_name("model.safetensors").symlink_to("y"),
        "it has no weights",
    ),
    "parts elsewhere": (
        lambda f: [
            (f / "model.safetensors").rename(f / "other.safetensors"),
            (f / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}})),
        ],
        "names no files of weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bad_folder_is_one_line(rclip: Command, gallery: Path, tmp_path: Path, name: str) -> None:
    spoil, message = FOLDERS[name]
    folder = saved(tmp_path / "model", arrays())
    spoil(folder)
    before = set(rclip.data_dir.rglob("*"))
    done = rclip("a cat", model=folder)
    assert (done.code, done.out) == (2, "")
    assert message in one_line(done.err)
    assert set(rclip.data_dir.rglob("*")) == before


def test_a_sound_folder_is_searched(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    """Else the tests above would show nothing; its vectors are all zero, which is found, too."""
    done = rclip("a cat", model=saved(tmp_path / "model", arrays()))
    assert "gives values that are not numbers" in done.err


@pytest.mark.parametrize("name", ["pytorch_model.bin", "open_clip_pytorch_model.bin"])
def test_a_pickle_is_not_run(rclip: Command, gallery: Path, tmp_path: Path, name: str) -> None:
    folder, mark = tmp_path / "model", tmp_path / "was run"
    folder.mkdir()
    if name.startswith("open_clip"):
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP}))
    else:
        (folder / "config.json").write_text(json.dumps(CONFIG))
    for legacy in (False, True):
        torch.save(RunsCode(mark), folder / name, _use_new_zipfile_serialization=not legacy)
        done = rclip("a cat", model=folder)
        assert done.code == 2
        assert "it is no state dict" in one_line(done.err)
        assert not mark.exists()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("vision_cfg", {"timm_model_name": "hf-hub:somebody/something"}),
        ("vision_cfg", {"timm_model_name": "local-dir:/tmp"}),
        ("text_cfg", {"hf_model_name": "/tmp/elsewhere"}),
        ("text_cfg", {"hf_model_name": "../elsewhere"}),
        ("text_cfg", {"hf_model_name": "a", "hf_tokenizer_name": "/tmp/elsewhere"}),
    ],
)
def test_a_configuration_does_not_lead_elsewhere(
    rclip: Command, gallery: Path, tmp_path: Path, part: str, change: dict[str, Any]
) -> None:
    folder = saved(tmp_path / "model", arrays())
    (folder / "config.json").unlink()
    config = OPEN_CLIP | {part: OPEN_CLIP[part] | change}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    done = rclip("a cat", model=folder)
    assert done.code == 2
    assert "which rclip does not support" in one_line(done.err)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"model_cfg": 5}',
        '{"model_cfg": {"embed_dim": 16}}',
        '{"model_cfg": {"embed_dim": null, "vision_cfg": {}}}',
    ],
)
def test_a_configuration_of_open_clip_that_is_none_is_one_line(
    rclip: Command, gallery: Path, tmp_path: Path, content: str
) -> None:
    folder = saved(tmp_path / "model", arrays())
    (folder / "open_clip_config.json").write_text(content)
    done = rclip("a cat", model=folder)
    assert done.code == 2
    one_line(done.err)


def test_a_file_cut_short_after_it_was_prepared_is_one_line(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", arrays())
    rclip("a cat", model=folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    done = rclip("a cat", model=folder)
    assert done.code == 2
    assert "not in the file as its header says" in one_line(done.err)
