"""Everything that needs torch and clip: reading official checkpoints, and encoding pictures by the thousand.

Importing this module takes seconds. Nothing a person waits for does it.
"""

import importlib.util
import platform
import warnings
import zipfile
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch

from rclip.errors import ModelError, plain_reason
from rclip.models.tensors import Tensors
from rclip.models.towers import HEAD_WIDTH, MEAN, STD, is_vision_transformer


def _import_clip_model() -> ModuleType:
    """`clip.model` without `clip` itself, which imports torchvision: a second and 200 MB, for nothing used here."""
    package = importlib.util.find_spec("clip")
    assert package is not None, "clip is a dependency of rclip"
    assert package.submodule_search_locations
    spec = importlib.util.spec_from_file_location("clip.model", f"{package.submodule_search_locations[0]}/model.py")
    assert spec is not None
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clip_model = _import_clip_model()

_BATCH_OF = {"cpu": 16, "mps": 64, "cuda": 256}


# --- checkpoints -----------------------------------------------------------------------------------------------------


def read_checkpoint(path: str) -> tuple[dict[str, np.ndarray], int]:
    """The float32 state dict and the image resolution of the model that `clip.load(path, "cpu")` would give.

    No code in the file is run: a state dict is read with `weights_only`; of a TorchScript archive only the arrays are
    taken. Raises `ModelError` for what is no CLIP checkpoint.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, but it is what OpenAI ships
            model = clip_model.build_model(_state_dict(path)).float()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {plain_reason(error)}") from error
    except Exception as error:  # torch raises anything at all on other files
        raise ModelError(f"{path} is no CLIP checkpoint (neither a TorchScript archive nor a state dict)") from error
    if _has_odd_heads(model) or model.vocab_size != 49408 or model.context_length != 77:
        raise ModelError(f"{path} is no CLIP of OpenAI's shape: it has other tokens or heads")
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items() if tensor.dtype == torch.float32}
    return arrays, model.visual.input_resolution


def _has_odd_heads(model: Any) -> bool:
    widths = [tower.transformer.width for tower in (model, model.visual) if hasattr(tower, "transformer")]
    return any(width % HEAD_WIDTH for width in widths)


def _state_dict(path: str) -> dict[str, torch.Tensor]:
    if _is_torchscript(path):
        archive = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        return dict(archive.state_dict())
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _is_torchscript(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


# --- encoding --------------------------------------------------------------------------------------------------------


class BulkEncoder:
    """clip's own image encoder on the best device: fp16 on a GPU, bf16 on a CPU that has instructions for it."""

    def __init__(self, weights: Tensors, resolution: int, device: str | None, batch_size: int | None):
        """`device` None chooses, and falls back on the CPU where a GPU proves to be unusable.

        Raises `ModelError` for a device that was asked for and is not there or does not work.
        """
        try:
            self._prepare(weights, resolution, _choose_device(device), batch_size)
        except RuntimeError as error:
            if device is not None:
                raise ModelError(f"{device} does not work here ({plain_reason(error)}): use --device cpu") from error
            self._prepare(weights, resolution, torch.device("cpu"), batch_size)

    def _prepare(self, weights: Tensors, resolution: int, device: torch.device, batch_size: int | None) -> None:
        """Puts the model on the device and shows it one blank picture: old drivers and full GPUs tell only then."""
        self.device = device
        self.batch_size = batch_size or _BATCH_OF.get(self.device.type, 32)
        self.is_cpu = self.device.type == "cpu"
        self.half = not self.is_cpu or has_bf16()
        """Whether it computes in half precision."""
        self._visual = _build(weights, resolution)
        self._dtype = torch.float32
        if self.half:
            self._dtype = torch.bfloat16 if self.is_cpu else torch.float16
            _convert(self._visual, self._dtype, weights)
        self._visual.to(self.device)
        self._mean = torch.tensor(MEAN * 255, device=self.device)
        self._std = torch.tensor(STD * 255, device=self.device)
        if not self.is_cpu:
            self._encode(np.zeros((1, resolution, resolution, 3), np.uint8))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(B, S, S, 3) uint8 -> (B, D) float32, rows of length 1

        A batch that does not fit the GPU's memory is halved until it does, and so are those that follow.
        """
        parts = []
        start = 0
        while start < len(pixels):
            part = pixels[start : start + self.batch_size]
            try:
                parts.append(self._encode(part))
                start += len(part)
            except RuntimeError as error:  # CUDA's OutOfMemoryError is one, MPS raises no other
                if "out of memory" not in str(error).lower():
                    raise
                if len(part) == 1:
                    raise ModelError(f"{self.device} has no memory for one picture: use --device cpu") from error
                self.batch_size = len(part) // 2
                torch.cuda.empty_cache()
        return np.concatenate(parts)

    def encode_on_one_thread(self, pixels: np.ndarray) -> np.ndarray:
        """The same without help from other cores; for a thread that is one of as many as there are cores."""
        if self.is_cpu:
            torch.set_num_threads(1)  # of the calling thread
        return self(pixels)

    @torch.inference_mode()
    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(pixels).to(self.device).float().sub_(self._mean).div_(self._std)
        vectors = self._visual(images.permute(0, 3, 1, 2).to(self._dtype)).float()
        return torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy()


def _build(weights: Mapping[str, np.ndarray], resolution: int) -> torch.nn.Module:
    """clip's image encoder of the shape that the weights have, on the CPU in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mapped weights cannot be written to; nobody does
        state_dict = {name.removeprefix("visual."): torch.from_numpy(array) for name, array in weights.items()}
    with torch.device("meta"):  # no time spent on random weights
        visual = (
            _vision_transformer(weights, resolution) if is_vision_transformer(weights) else _resnet(weights, resolution)
        )
    # BatchNorm counts its training batches in an integer that no inference reads.
    missing = [key for key in visual.state_dict() if key not in state_dict]
    state_dict |= {key: torch.tensor(0) for key in missing if key.endswith("num_batches_tracked")}
    visual.load_state_dict(state_dict, assign=True)
    return visual.eval()


def _convert(visual: torch.nn.Module, dtype: torch.dtype, weights: Tensors) -> None:
    """What clip's `convert_weights` does for fp16: products in half precision, norms in float32.

    The same vectors as under autocast, which would convert the weights again for every batch. The mapped `weights` are
    let go as they are converted, or both would be in memory.
    """
    for module in visual.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.MultiheadAttention):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
            weights.release()
    if hasattr(visual, "proj"):
        visual.proj.data = visual.proj.data.to(dtype)


def _vision_transformer(weights: Mapping[str, np.ndarray], resolution: int) -> torch.nn.Module:
    width, _, patch, _ = weights["visual.conv1.weight"].shape
    layers = sum(name.endswith(".attn.in_proj_weight") for name in weights)
    dimensions = weights["visual.proj"].shape[1]
    return clip_model.VisionTransformer(resolution, patch, width, layers, width // HEAD_WIDTH, dimensions)


def _resnet(weights: Mapping[str, np.ndarray], resolution: int) -> torch.nn.Module:
    width = weights["visual.layer1.0.conv1.weight"].shape[0]
    layers = [sum(name.startswith(f"visual.layer{k}.") and name.endswith(".conv1.weight") for name in weights)
              for k in (1, 2, 3, 4)]  # fmt: skip
    dimensions = weights["visual.attnpool.c_proj.weight"].shape[0]
    return clip_model.ModifiedResNet(layers, dimensions, width * 32 // HEAD_WIDTH, resolution, width)


def _choose_device(asked: str | None) -> torch.device:
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.append("mps")
    if torch.cuda.is_available():
        available.append("cuda")
    if asked is None:
        return torch.device(available[-1])
    try:
        device = torch.device(asked)
        if device.type in available:
            torch.empty(0, device=device)
            return device
    except (RuntimeError, AssertionError):
        pass
    raise ModelError(f"this machine has no device {asked!r} for torch; there is {', '.join(available)}")


def has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware; emulated, it would be slower than float32."""
    if platform.system() == "Darwin":
        return False
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
