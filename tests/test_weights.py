"""Checkpoints in, prepared weights out; what is missing, damaged or made from something else is made again."""

import hashlib
import http.server
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rclip.errors import ModelError
from rclip.models import download, registry, safetensors
from tests.support.command import Command, Result, one_line
from tests.support.gallery import Draw
from tests.support.models import RunsCode, save_as_openai_does
from tests.support.tiers import few
from tests.tiny_clip import checkpoint

PREPARING = "rclip: preparing the model"


def weights_folder(rclip: Command) -> Path:
    (folder,) = (rclip.data_dir / "models").iterdir()
    return folder


# --- prepared weights ------------------------------------------------------------------------------------------------


def test_prepared_weights_are_not_made_again(rclip: Command, gallery: Path) -> None:
    assert PREPARING not in rclip("a red star").err


@pytest.mark.parametrize("tower", few(["text.safetensors", "image.safetensors"]))
@pytest.mark.parametrize("damage", few(["missing", "unsealed", "truncated", "flipped", "empty", "other"]))
def test_doubtful_weights_are_made_again(rclip: Command, gallery: Path, tower: str, damage: str) -> None:
    path = weights_folder(rclip) / tower
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "unsealed":
        path.with_name(path.name + ".seal").unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-1000])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        safetensors.write(str(path), {"something": np.zeros(4, np.float32)}, {"layout": "0"})
    found = rclip("-t", "1", "a red star")
    assert found.lines == ["stars/red.jpg"]
    assert PREPARING in found.err
    assert rclip("-n", "-t", "1", "a red star").err == ""


def downgrade(folder: Path) -> None:
    """Makes both files what they were before weights had a configuration."""
    for path in folder.glob("*.safetensors"):
        weights = safetensors.Tensors(str(path))
        kept = {name: weights.metadata[name] for name in ("source", "sha256")}
        old = {"layout": "1", **kept, "image_resolution": "64", "dimensions": "64"}
        safetensors.write(str(path), {name: array.copy() for name, array in weights.items()}, old)


def spoil(path: Path) -> None:
    """Other bytes of the same stat: whoever reads the checkpoint again fails."""
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def scores(found: Result) -> dict[str, float]:
    return {hit["path"]: hit["score"] for hit in map(json.loads, found.lines)}


def layouts(folder: Path) -> set[str]:
    return {safetensors.Tensors(str(path)).metadata["layout"] for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("may_write", [True, False])
def test_weights_without_a_configuration_are_taken_over(
    rclip: Command, gallery: Path, tmp_path: Path, draw: Draw, drop_root: tuple[str, ...], may_write: bool
) -> None:
    """Without the checkpoint, and without looking at a photo again."""
    model = tmp_path / "model.pt"
    shutil.copy(rclip.model, model)
    expected = scores(rclip("--json", "-t", "12", "a red star", model=model))
    assert len(expected) == 12
    (folder,) = (rclip.data_dir / "models").glob("model-*")
    downgrade(folder)
    spoil(model)
    draw("new.jpg")
    folder.chmod(0o700 if may_write else 0o500)
    done = rclip("--index", "-v", model=model, prefix=() if may_write else drop_root)
    assert "1 new photo" in done.err
    assert PREPARING not in done.err
    again = rclip("-n", "--json", "-t", "13", "a red star", model=model, prefix=() if may_write else drop_root)
    assert again.err == ""
    assert expected.items() < scores(again).items()
    assert layouts(folder) == {"2" if may_write else "1"}


def test_another_checkpoint_under_the_same_path_is_another_model(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    shutil.copy(rclip.model, path)
    assert rclip("-t", "1", "a red star", model=path).lines == ["stars/red.jpg"]
    state_dict = checkpoint.unpack()
    state_dict["visual.proj"] = -state_dict["visual.proj"]
    torch.save(state_dict, path)
    found = rclip("-t", "1", "a red star", model=path)
    assert PREPARING in found.err
    assert "12 new photos" in found.err  # in an index of its own
    assert found.lines != ["stars/red.jpg"]
    assert len(list(rclip.data_dir.glob("model-*.db"))) == 2


def test_one_checkpoint_under_two_paths_is_one_model(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    path = tmp_path / rclip.model.name
    shutil.copy(rclip.model, path)
    found = rclip("-t", "1", "a red star", model=path)
    assert found.lines == ["stars/red.jpg"]
    assert "new" not in found.err


def test_a_torchscript_archive_gives_the_same_answers_as_its_state_dict(
    rclip: Command, gallery: Path, tmp_path: Path
) -> None:
    path = tmp_path / "archive.pt"
    save_as_openai_does(path)
    expected = rclip("-t", "12", "a red star").lines
    assert rclip("-t", "12", "a red star", model=path).lines == expected


def test_every_model_has_an_index_of_its_own_that_names_it(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    (path,) = rclip.data_dir.glob("*.db")
    digest = hashlib.sha256(rclip.model.read_bytes()).hexdigest()
    assert path.name == f"tiny-{digest[:12]}.db"
    connection = sqlite3.connect(path)
    assert dict(connection.execute("SELECT * FROM meta")) == {"model": path.stem, "preprocessing": "1"}
    connection.close()


@pytest.mark.parametrize(
    "content", few([b"", b"no checkpoint", b"PK\x03\x04 no zip either", "other arrays", "a pickle"])
)
def test_a_file_that_is_no_checkpoint_is_one_line(
    rclip: Command, gallery: Path, tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / "model.pt"
    if content == "other arrays":
        torch.save({"weight": torch.zeros(3)}, path)
    elif content == "a pickle":
        torch.save(RunsCode(tmp_path / "was run"), path)
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    done = rclip("a cat", model=path)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith(f"rclip: {path} is not a CLIP checkpoint")
    assert len(done.err.splitlines()) <= 2
    assert not (tmp_path / "was run").exists()
    assert len(list((rclip.data_dir / "models").iterdir())) == 1


def test_no_room_for_the_weights_is_one_line_and_leaves_nothing(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    """A limit on the size of files is what a full disk looks like to the program, without filling one."""
    data_dir = tmp_path / "fresh"
    limit = ("bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "limit")
    done = rclip("a cat", env={"RCLIP_DATADIR": str(data_dir)}, prefix=limit)
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert "text.safetensors: File too large; they take 13 MB: make room, or set RCLIP_DATADIR" in last
    assert not [path for path in data_dir.rglob("*") if path.name.startswith(".") or "text" in path.name]


def test_files_of_ours_are_for_the_user_alone(rclip: Command, gallery: Path) -> None:
    data_dir = rclip.home / "fresh"
    assert rclip("red", env={"RCLIP_DATADIR": str(data_dir)}).code == 0
    for path in [data_dir, *data_dir.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


# --- names and downloads ---------------------------------------------------------------------------------------------


def test_models_and_urls_are_clips_own() -> None:
    import clip.clip

    ours = {name: registry.find(name) for name in registry.NAMES}
    assert list(ours) == clip.available_models()
    urls = {name: found.url for name, found in ours.items() if isinstance(found, registry.Checkpoint)}
    assert urls == clip.clip._MODELS
    assert {os.path.basename(found.path) for found in ours.values()} == {
        os.path.basename(url) for url in clip.clip._MODELS.values()
    }
    assert os.path.dirname(ours["ViT-B/32"].path) == os.path.expanduser("~/.cache/clip")


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path, or what goes wrong with it."""

    content = b"weights" * 300_000
    trouble = ""
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.trouble == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        cut = len(self.server.content) // 2 if self.server.trouble == "cut off" else None
        self.wfile.write(self.server.content[:cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


SHA256 = hashlib.sha256(Server.content).hexdigest()


def test_a_download_is_checked_and_put_in_its_place(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "weights.pt"
    download.download(server.url + "/weights.pt", str(path), SHA256)
    assert path.read_bytes() == server.content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("trouble", "expected"), [("missing", "Not Found"), ("cut off", "wrong SHA-256")])
def test_a_failed_download_leaves_nothing(server: Server, tmp_path: Path, trouble: str, expected: str) -> None:
    server.trouble = trouble
    with pytest.raises(ModelError, match=expected):
        download.download(server.url + "/weights.pt", str(tmp_path / "weights.pt"), SHA256)
    assert not list(tmp_path.iterdir())


def test_the_named_model_is_asked_for_under_openais_folders(rclip: Command, gallery: Path, server: Server) -> None:
    """The server's bytes are not OpenAI's, and so are refused."""
    done = rclip("a cat", model="ViT-B/32", env={"RCLIP_WEIGHTS_URL": server.url})
    assert (done.code, done.out) == (2, "")
    digest = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    assert server.asked == [f"/{digest}/ViT-B-32.pt"]
    cache = rclip.home / ".cache/clip"
    assert f"came with the wrong SHA-256 ({SHA256[:12]}…)" in one_line(done.err.splitlines()[-1])
    assert str(cache / "ViT-B-32.pt") in done.err
    assert not list(cache.iterdir())


def test_no_network_is_one_line_that_says_where_the_file_goes(rclip: Command, gallery: Path, server: Server) -> None:
    closed = server.url
    server.shutdown()
    server.server_close()
    done = rclip("a cat", env={"RCLIP_WEIGHTS_URL": closed}, model="RN50")
    assert (done.code, done.out) == (2, "")
    line = done.err.splitlines()[-1]
    assert len(done.err.splitlines()) == 2  # the first says what is fetched
    assert "Connection refused" in line
    assert f"put the file there by hand: {rclip.home}/.cache/clip/RN50.pt" in line


def test_a_wrong_file_in_the_cache_stays_until_the_right_one_is_there(
    rclip: Command, gallery: Path, server: Server
) -> None:
    path = rclip.home / ".cache/clip/ViT-B-32.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a download")
    server.trouble = "missing"
    done = rclip("a cat", model="ViT-B/32", env={"RCLIP_WEIGHTS_URL": server.url})
    assert done.code == 2
    assert f"{path} has the wrong SHA-256" in done.err.splitlines()[-1]
    assert path.read_bytes() == b"half a download"


def test_a_full_disk_under_a_download_is_one_line(rclip: Command, gallery: Path, server: Server, draw: Draw) -> None:
    limit = ("bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "limit")
    done = rclip("a cat", model="ViT-B/32", env={"RCLIP_WEIGHTS_URL": server.url}, prefix=limit)
    assert (done.code, done.out) == (2, "")
    assert "File too large" in one_line(done.err.splitlines()[-1])
    assert not list((rclip.home / ".cache/clip").iterdir())
