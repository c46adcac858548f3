"""Models by name: fetched by huggingface_hub from a server, kept in its cache, and found there without a network."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rclip.models import catalogue, registry
from tests.support import families
from tests.support.command import Command, Result, imported_by, one_line
from tests.support.hub import Hub, serving


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    with serving(tmp_path / "hub") as hub:
        yield hub


class User:
    """Runs the command with a cache of the hub's own."""

    def __init__(self, rclip: Command, endpoint: str, cache: Path):
        self.rclip = rclip
        self.env = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}

    def __call__(self, model: str, *arguments: str, **env: str) -> Result:
        return self.rclip("-t", "3", *arguments, model=model, env=self.env | env)


@pytest.fixture
def user(rclip: Command, gallery: Path, hub: Hub, tmp_path: Path) -> User:
    return User(rclip, hub.endpoint, tmp_path / "cache")


TOWER = {"hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 1, "num_attention_heads": 4}


def put_siglip(folder: Path) -> None:
    import transformers

    text = TOWER | {"vocab_size": 900, "max_position_embeddings": 16, "projection_size": 48}
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    families.randomize(model)
    model.save_pretrained(folder)
    families.gemma_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>", "padding_side": "right"}))


def put_open_clip(folder: Path) -> None:
    config = {"embed_dim": 40, "vision_cfg": families.OPEN_CLIP_IMAGE, "text_cfg": families.OPEN_CLIP_TEXT}
    families.open_clip_folder(folder, config)


def test_a_model_of_transformers_is_fetched_once(user: User, hub: Hub) -> None:
    put_siglip(hub.root / "somebody/siglip")
    first = user("somebody/siglip", "dogs")
    assert len(first.lines) == 3, first.err
    assert "fetching somebody/siglip from the Hugging Face hub" in first.err
    assert "12 new photos" in first.err
    assert not [line for line in first.err.splitlines() if not line.startswith("rclip: ")]
    count = len(hub.requests)
    again = user("somebody/siglip", "dogs")
    assert (again.lines, again.err) == (first.lines, "")
    assert user("hf-hub:somebody/siglip", "dogs", HF_HUB_OFFLINE="1").lines == first.lines
    assert len(hub.requests) == count


def test_a_cold_query_of_such_a_model_imports_nothing_heavy(user: User, hub: Hub) -> None:
    put_siglip(hub.root / "somebody/siglip")
    user("somebody/siglip", "dogs")
    user.rclip.model = Path("somebody/siglip")
    found = imported_by(user.rclip, "-n", "a snowy branch, naïve café")
    heavy = {"torch", "open_clip", "transformers", "huggingface_hub", "sentencepiece", "timm", "clip", "PIL", "tqdm"}
    assert not found & (heavy | {"rclip.models.hub", "rclip.models.folder_weights", "safetensors", "ssl"})
    assert "tokenizers" in found


def test_a_model_of_open_clip_is_fetched_by_alias_and_by_tag(user: User, hub: Hub) -> None:
    put_open_clip(hub.root / registry.REPOSITORIES[registry.ALIASES["datacomp-b32"]])
    first = user("datacomp-b32", "dogs")
    assert len(first.lines) == 3, first.err
    assert user("ViT-B-32-256:datacomp_s34b_b86k", "dogs") == (0, first.out, "")
    assert list(user.rclip.data_dir.glob("ViT-B-32-256-datacomp_s34b_b86k-*.db"))
    listed = user.rclip("--models", env=user.env)
    assert "indexed  ViT-B-32-256:datacomp_s34b_b86k" in listed.out
    assert "no       ViT-B-16-SigLIP2-256:webli" in listed.out


def test_open_clip_knows_where_other_tags_are(user: User, hub: Hub) -> None:
    put_open_clip(hub.root / "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    assert len(user("ViT-B-32:laion2b_s34b_b79k", "dogs").lines) == 3
    done = user("ViT-B-32:no_such_tag", "dogs")
    assert done.code == 2
    assert "ViT-B-32:laion2b_s34b_b79k" in one_line(done.err)


def test_a_tokenizer_may_lie_in_another_repository(user: User, hub: Hub) -> None:
    config: dict[str, Any] = {
        "embed_dim": 40,
        "vision_cfg": families.OPEN_CLIP_IMAGE,
        "text_cfg": families.OPEN_CLIP_TEXT
        | {"vocab_size": 900, "hf_tokenizer_name": "somebody/words", "pool_type": "eos", "eos_id": 1},
    }
    families.open_clip_folder(hub.root / "somebody/model", config)
    (hub.root / "somebody/words").mkdir()
    families.gemma_tokenizer().save(str(hub.root / "somebody/words/tokenizer.json"))
    assert len(user("hf-hub:somebody/model", "dogs").lines) == 3


def test_any_language_is_fetched_for_the_index_that_is_there(user: User, hub: Hub) -> None:
    families.text_model_folder(hub.root / registry.MULTILINGUAL, 64)
    user.rclip("--index")
    first = user(str(user.rclip.model), "--language", "any", "красная звезда")
    assert len(first.lines) == 3, first.err
    assert "new photo" not in first.err
    assert user(str(user.rclip.model), "--language", "any", "красная звезда").lines == first.lines


def test_weights_in_parts_are_fetched_and_mapped(user: User, hub: Hub) -> None:
    from safetensors.numpy import load_file, save_file

    folder = hub.root / "somebody/parts"
    put_siglip(folder)
    arrays = load_file(folder / "model.safetensors")
    whole = user("somebody/parts", "dogs").lines
    names = sorted(arrays)
    places: dict[str, str] = {}
    for number, part in enumerate((names[:20], names[20:])):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: arrays[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "model.safetensors").unlink()
    folder.rename(hub.root / "somebody/divided")
    assert user("somebody/divided", "dogs").lines == whole


def test_a_download_that_breaks_is_resumed(user: User, hub: Hub) -> None:
    put_siglip(hub.root / "somebody/siglip")
    hub.breaks_after = 100_000
    done = user("somebody/siglip", "dogs")
    if done.code == 2:
        one_line(done.err.splitlines()[-1])
        done = user("somebody/siglip", "dogs")
    assert len(done.lines) == 3, done.err


def test_a_file_that_comes_short_is_not_used(user: User, hub: Hub) -> None:
    put_siglip(hub.root / "somebody/siglip")
    hub.short.add("model.safetensors")
    done = user("somebody/siglip", "dogs")
    assert (done.code, done.out) == (2, "")
    assert "cannot fetch model.safetensors of somebody/siglip" in done.err.splitlines()[-1]
    hub.short.clear()
    assert len(user("somebody/siglip", "dogs").lines) == 3


def test_weights_that_come_altered_are_not_used(user: User, hub: Hub) -> None:
    put_siglip(hub.root / "somebody/siglip")
    hub.altered.add("model.safetensors")
    done = user("somebody/siglip", "dogs")
    assert (done.code, done.out) == (2, "")
    assert "its SHA-256 is not the one that the hub has for it" in done.err.splitlines()[-1]
    assert not list(user.rclip.data_dir.glob("somebody*"))
    hub.altered.clear()
    for path in (Path(user.env["HF_HOME"]) / "hub").rglob("blobs/*"):
        path.unlink()
    assert len(user("somebody/siglip", "dogs").lines) == 3


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("somebody/nothing", "the hub has no such repository, or it is private"),
        ("somebody/empty", "the repository has no such file"),
        ("siglip2-b32", "the hub has no such repository"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(user: User, hub: Hub, model: str, part: str) -> None:
    (hub.root / "somebody/empty").mkdir(parents=True)
    done = user(model, "dogs")
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert part in last
    assert len(done.err.splitlines()) <= 2


def test_without_a_network_one_line_names_the_files(user: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for env in ({"HF_ENDPOINT": f"http://127.0.0.1:{port}"}, {"HF_HUB_OFFLINE": "1"}):
        done = user("siglip2-b32", "dogs", **env)
        assert (done.code, done.out) == (2, "")
        assert len(done.err.splitlines()) <= 2
        last = done.err.splitlines()[-1]
        assert "of timm/ViT-B-32-SigLIP2-256" in last
        assert "put open_clip_config.json and open_clip_model.safetensors into a folder" in last
        assert "HF_HUB_OFFLINE is set" in last or "Connection refused" in last or "cannot be reached" in last


@pytest.mark.parametrize("name", ["models/mistyped.pt", "./somebody/model", "ViT-B/33", "a/b/c", "siglip2-b33", ""])
def test_what_can_be_no_repository_is_not_asked_for(user: User, hub: Hub, name: str) -> None:
    done = user(name or " ", "dogs")
    assert done.code == 2
    assert "there is no model" in one_line(done.err)
    assert not hub.requests


def test_the_environment_names_the_model(rclip: Command, gallery: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-P", "-m", "rclip", "-t", "1", "a red star"]
    env = rclip.env | {"RCLIP_MODEL": str(rclip.model)}
    done = subprocess.run(command, cwd=rclip.cwd, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "stars/red.jpg\n"
    done = subprocess.run(
        command, cwd=rclip.cwd, env=env | {"RCLIP_MODEL": "ViT-B/33"}, capture_output=True, text=True, check=False
    )
    assert "did you mean ViT-B/32" in done.stderr


def test_recommended_models_are_open_clips() -> None:
    """With the vectors' length and the number of weights that it has for them."""
    import open_clip
    import torch
    from open_clip import pretrained

    for each in catalogue.RECOMMENDED[1:]:
        architecture, tag = each.name.split(":")
        config = open_clip.get_model_config(architecture)
        assert config["embed_dim"] == each.dimensions
        found = pretrained.get_pretrained_cfg(architecture, tag)
        assert found["hf_hub"].rstrip("/") == registry.REPOSITORIES[each.name]
        if "hf_model_name" in config["text_cfg"]:
            continue
        definition = dict(config)
        kind = open_clip.CustomTextCLIP if definition.pop("custom_text", False) else open_clip.CLIP
        with torch.device("meta"):
            model = kind(**definition)
        megabytes = sum(parameter.numel() for parameter in model.parameters()) * 4 / 1e6
        assert abs(megabytes - each.megabytes) < 3
