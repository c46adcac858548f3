"""Checkpoints are read without running anything in them, and give what torch itself reads from them."""

import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rclip.errors import ModelError
from rclip.models import checkpoint as checkpoints
from rclip.models import torch_archive
from tests.support.models import RunsCode, save_as_openai_does
from tests.tiny_clip import checkpoint


def assert_reads_as(path: Path, expected: dict[str, torch.Tensor]) -> None:
    found = torch_archive.read(str(path))
    wanted = {name: tensor for name, tensor in expected.items() if tensor.is_floating_point()}
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        reference = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        assert found[name].dtype == reference.dtype
        np.testing.assert_array_equal(found[name], reference, err_msg=name)


def load_archive(path: Path) -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(torch.jit.load(str(path)).state_dict())  # type: ignore[no-untyped-call]


def test_a_traced_archive_gives_the_arrays_of_its_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "archive.pt"
    save_as_openai_does(path)
    assert_reads_as(path, load_archive(path))


class Layer(torch.nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.linear = torch.nn.Linear(width, width)
        self.register_buffer("scale", torch.rand(3, dtype=torch.float64))
        self.scale: torch.Tensor
        self.sizes = [width, 2]
        self.name = "layer"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale.sum() * self.sizes[1]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([Layer(4), Layer(4)])
        self.table = torch.nn.Parameter(torch.rand(3, 5, 4).transpose(0, 2))  # not contiguous
        self.constants = (1.5, "text", None, True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x + self.table.sum()


def test_a_scripted_archive_gives_the_arrays_of_its_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "archive.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Net()).save(str(path))  # type: ignore[no-untyped-call]
    assert_reads_as(path, load_archive(path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_state_dict_gives_its_arrays(tmp_path: Path, dtype: torch.dtype) -> None:
    state_dict = Net().to(dtype).state_dict()
    state_dict["part"] = state_dict["table"][1:, 2]  # a view that does not start where its storage does
    state_dict["parameter"] = torch.nn.Parameter(torch.rand(2, 2, dtype=dtype))
    state_dict["counter"] = torch.tensor(3)
    torch.save(state_dict, tmp_path / "model.pt")
    assert_reads_as(tmp_path / "model.pt", state_dict)


@pytest.mark.parametrize("is_half", [True, False])
@pytest.mark.parametrize("kind", ["ViT", "ResNet"])
def test_a_checkpoint_gives_the_arrays_of_the_model_that_clip_loads(tmp_path: Path, kind: str, is_half: bool) -> None:
    """Numbers of full precision too, which clip rounds where they take part in products."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clip
    path = tmp_path / "model.pt"
    image = (32, 2, 64, 16) if kind == "ViT" else (64, (1, 2, 1, 1), 16, None)
    torch.manual_seed(0)
    state_dict = clip.model.CLIP(64, *image, 77, 49408, 64, 1, 2).state_dict()
    torch.save({name: tensor.half() if is_half else tensor for name, tensor in state_dict.items()}, path)
    theirs = {name: tensor for name, tensor in clip.load(str(path), "cpu")[0].state_dict().items()
              if tensor.is_floating_point() and name != "logit_scale"}  # fmt: skip
    ours, config = checkpoints.read(str(path))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy(), err_msg=name)
    assert (config.image.side, config.image.is_resnet) == (image[0], kind == "ResNet")


def test_a_state_dict_of_torch_before_zip_files_is_read(tmp_path: Path) -> None:
    state_dict = {name: tensor.half() for name, tensor in checkpoint.unpack().items()}
    torch.save(state_dict, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.save(state_dict, tmp_path / "new.pt")
    old, new = (checkpoints.read(str(tmp_path / name))[0] for name in ("old.pt", "new.pt"))
    assert old.keys() == new.keys()
    assert all(np.array_equal(old[name], new[name]) for name in new)


def test_a_transformer_is_read_without_torch(tmp_path: Path, tiny_checkpoint: Path) -> None:
    save_as_openai_does(tmp_path / "archive.pt")
    code = f"""import sys; from rclip.models import checkpoint
for path in {[str(tiny_checkpoint), str(tmp_path / "archive.pt")]}: checkpoint.read(path)
sys.exit(bool({{"torch", "clip"}} & set(sys.modules)))"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("change", ["missing", "too many", "other shape", "other heads", "other vocabulary"])
def test_arrays_that_do_not_fit_each_other_are_no_checkpoint(tmp_path: Path, change: str) -> None:
    state_dict = checkpoint.unpack()
    if change == "missing":
        del state_dict["visual.transformer.resblocks.1.mlp.c_fc.bias"]
    elif change == "too many":
        state_dict["visual.transformer.resblocks.1.ls_1.gamma"] = torch.zeros(64)
    elif change == "other shape":
        state_dict["visual.ln_post.weight"] = torch.zeros(32)
    elif change == "other heads":
        state_dict["positional_embedding"] = torch.zeros(77, 96)
    else:
        state_dict["token_embedding.weight"] = torch.zeros(1000, 64)
    torch.save(state_dict, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="is not a CLIP checkpoint"):
        checkpoints.read(str(tmp_path / "model.pt"))


# --- attacks ---------------------------------------------------------------------------------------------------------


def write_archive(path: Path, program: bytes, storage: bytes = b"", method: int = zipfile.ZIP_STORED) -> None:
    """As `torch.save` lays it out, with one storage."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", storage)
        archive.writestr("archive/code/__torch__.py", "class Net(Module):\n  def __setstate__(self, x):\n    pass\n")
        archive.writestr("archive/constants.pkl", b"\x80\x02).")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    length = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, declared: int = 4) -> bytes:
    """The instructions for a float32 tensor in storage 0, which says that it has `declared` items."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(declared) + b"tQ"
    tuples = b"".join(b"(" + b"".join(map(number, numbers)) + b"t" for numbers in (shape, strides))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + tuples + b"\x89}tR"


def state_dict(*values: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(f"name {n}") + value for n, value in enumerate(values)) + b"u."


def test_the_attacks_below_are_refused_for_their_own_reasons(tmp_path: Path) -> None:
    write_archive(tmp_path / "model.pt", state_dict(tensor((2, 2), (2, 1))), np.arange(4, dtype=np.float32).tobytes())
    assert torch_archive.read(str(tmp_path / "model.pt"))["name 0"].tolist() == [[0, 1], [2, 3]]


MODULE = b"\x80\x02c__torch__\nNet\n)\x81"
CALLS = {
    "REDUCE": b"\x80\x02cos\nmkdir\n(" + text("MARK") + b"tR.",
    "REDUCE in a module": MODULE + b"}(" + text("a") + b"cos\nmkdir\n(" + text("MARK") + b"tRub.",
    "NEWOBJ": b"\x80\x02cos\nmkdir\n" + text("MARK") + b"\x85\x81.",
    "NEWOBJ with arguments": b"\x80\x02c__torch__\nNet\n" + text("MARK") + b"\x85\x81.",
    "OBJ": b"\x80\x02(cos\nmkdir\n" + text("MARK") + b"o.",
    "INST": b"\x80\x02(" + text("MARK") + b"ios\nmkdir\n.",
    "STACK_GLOBAL": b"\x80\x04" + text("os") + text("mkdir") + b"\x93" + text("MARK") + b"\x85R.",
    "BUILD": b"\x80\x02cos\nenviron\n}" + text("MARK") + text("x") + b"sb.",
    "EXT1": b"\x80\x02\x82\x01.",
    "eval": b"\x80\x02cbuiltins\neval\n(" + text("__import__('os').mkdir('MARK')") + b"tR.",
    "torch's own": b"\x80\x02ctorch\nload\n(" + text("MARK") + b"tR.",
    "as a key": b"\x80\x02}cos\nmkdir\n(" + text("MARK") + b"tRK\x01s.",
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_in_a_pickle_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_archive(tmp_path / "model.pt", CALLS[name])
    with pytest.raises(ModelError, match="is not a CLIP checkpoint"):
        checkpoints.read(str(tmp_path / "model.pt"))
    assert os.listdir(tmp_path) == ["model.pt"]
    assert "MARK" not in os.environ


def test_a_pickle_that_runs_code_in_an_archive_with_code_runs_nothing(tmp_path: Path) -> None:
    write_archive(tmp_path / "model.pt", pickle.dumps({"weight": RunsCode(tmp_path / "mark")}, protocol=2))
    with pytest.raises(ModelError, match="is not a CLIP checkpoint"):
        checkpoints.read(str(tmp_path / "model.pt"))
    assert not (tmp_path / "mark").exists()


class WritesWhenLoaded(torch.nn.Module):
    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self.weight = torch.zeros(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[str, torch.Tensor, bool]:
        return (self.path, self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.path = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(self.weight, self.path)


def test_code_in_a_torchscript_archive_does_not_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(WritesWhenLoaded(str(mark))).save(str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match="is not a CLIP checkpoint"):
        checkpoints.read(str(path))
    assert not mark.exists()
    load_archive(path)
    assert mark.exists()  # torch would have run it


FOUR = np.zeros(4, np.float32).tobytes()
CYCLE = MODULE + b"q\x00}(" + text("a") + b"h\x00" + text("b") + b"h\x00ub."
SIZES: dict[str, Callable[[Path], None]] = {
    "a shape larger than the storage": lambda path: write_archive(path, state_dict(tensor((10**12,), (1,))), FOUR),
    "a shape repeated by a stride of zero": lambda path: write_archive(
        path, state_dict(tensor((10**6, 10**6), (0, 0))), FOUR
    ),
    "an offset beyond the storage": lambda path: write_archive(path, state_dict(tensor((2,), (1,), 3)), FOUR),
    "a negative stride": lambda path: write_archive(path, state_dict(tensor((2,), (-1,), 3)), FOUR),
    "a negative offset": lambda path: write_archive(path, state_dict(tensor((2,), (1,), -3)), FOUR),
    "a negative shape": lambda path: write_archive(path, state_dict(tensor((-2, -2), (1, 1))), FOUR),
    "a stride beyond the storage": lambda path: write_archive(path, state_dict(tensor((2, 2), (10**9, 1))), FOUR),
    "a storage larger than its entry": lambda path: write_archive(
        path, state_dict(tensor((10**12,), (1,), 0, 10**12)), FOUR
    ),
    "one storage many times": lambda path: write_archive(
        path, state_dict(*[tensor((10**6,), (1,), 0, 10**6)] * 2000), bytes(4 * 10**6)
    ),
    "a compressed storage": lambda path: write_archive(
        path, state_dict(tensor((10**8,), (1,), 0, 10**8)), bytes(4 * 10**8), zipfile.ZIP_DEFLATED
    ),
    "a compressed program": lambda path: write_archive(path, b"\x80\x02" + b"N" * 10**8, b"", zipfile.ZIP_DEFLATED),
    "a long program": lambda path: write_archive(path, b"\x80\x02" + b"N" * 10**7 + b"."),
    "a large memo": lambda path: write_archive(path, b"\x80\x02}r\xff\xff\xff\x7f."),
    "a long text": lambda path: write_archive(path, b"\x80\x02\x8d" + struct.pack("<Q", 1 << 40) + b"a."),
    "a deep tuple": lambda path: write_archive(path, b"\x80\x02})" + b"\x85" * 10**6 + b"Ns."),
    "modules that hold each other": lambda path: write_archive(path, CYCLE),
    "no end": lambda path: write_archive(path, b"\x80\x02}"),
    "an empty stack": lambda path: write_archive(path, b"\x80\x02u."),
    "no program": lambda path: zipfile.ZipFile(path, "w").close(),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_file_that_lies_about_sizes_takes_no_memory_and_is_one_line(tmp_path: Path, name: str) -> None:
    """Read with 1 GB of address space, in which a decoder that believed it would fail otherwise."""
    path = tmp_path / "model.pt"
    SIZES[name](path)
    code = "import sys; from rclip.errors import ModelError; from rclip.models import checkpoint\n"
    code += "try: checkpoint.read(sys.argv[1])\nexcept ModelError as error: print(error)"
    limited = ["bash", "-c", 'ulimit -v 1000000; exec "$@"', "limited", sys.executable, "-c", code, str(path)]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith(f"{path} is not a CLIP checkpoint")
    assert done.stderr == ""


def test_random_damage_never_gives_more_than_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    buffer = io.BytesIO()
    torch.save({"a": torch.rand(4, 3), "b": torch.rand(2).half()}, buffer)
    sound = buffer.getvalue()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(sound)
        for place in rng.integers(0, len(damaged), rng.integers(1, 8)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        if torch_archive.is_archive(str(path)):
            with pytest.raises(ModelError):
                checkpoints.read(str(path))
