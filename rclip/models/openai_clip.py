"""What OpenAI's own package does for rclip: it reads the official checkpoints, and its ResNets run as they are."""

import importlib.util
import warnings
import zipfile
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch

from rclip.errors import ModelError, plain_reason
from rclip.models.numpy_towers import HEAD_WIDTH, MEAN, STD


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


class ResNet:
    """Pixels to vectors by clip's module, on one device: products in `dtype`, norms in float32."""

    def __init__(self, weights: Mapping[str, np.ndarray], resolution: int, device: torch.device, dtype: torch.dtype):
        width = weights["visual.layer1.0.conv1.weight"].shape[0]
        layers = [sum(name.startswith(f"visual.layer{k}.") and name.endswith(".conv1.weight") for name in weights)
                  for k in (1, 2, 3, 4)]  # fmt: skip
        dimensions = weights["visual.attnpool.c_proj.weight"].shape[0]
        visual = clip_model.ModifiedResNet(layers, dimensions, width * 32 // HEAD_WIDTH, resolution, width)
        state_dict = {name.removeprefix("visual."): torch.tensor(array) for name, array in weights.items()}
        visual.load_state_dict(state_dict, strict=False)  # but for counters of training batches, which nothing reads
        for module in visual.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.to(dtype)
        self._dtype = dtype
        self._visual = visual.eval().to(device)
        self._mean, self._std = (torch.tensor(values * 255, device=device) for values in (MEAN, STD))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, D)"""
        normal = pixels.float().sub_(self._mean).div_(self._std).permute(0, 3, 1, 2)
        vectors: torch.Tensor = self._visual(normal.to(self._dtype))
        return vectors
