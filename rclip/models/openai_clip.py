"""The parts of OpenAI's own package, and of torch, for the models that rclip does not compute itself: the ResNets."""

import importlib.util
from collections.abc import Mapping
from types import ModuleType

import numpy as np
import torch

from rclip.models.config import ModelConfig


def _import_clip_model() -> ModuleType:
    """`clip.model` without `clip` itself, which imports torchvision: a second and 200 MB for nothing."""
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


def read_legacy(path: str) -> dict[str, np.ndarray]:
    """The arrays of a state dict that torch saved before version 1.6, without running code in it."""
    state_dict = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in state_dict.items() if tensor.is_floating_point()}


def require_resnet(arrays: Mapping[str, np.ndarray], config: ModelConfig) -> None:
    """Raises ValueError or RuntimeError when the image tower's arrays, among these, do not fit the configuration."""
    image = {name: array for name, array in arrays.items() if name.startswith("visual.")}
    ResNet(image, config, torch.device("cpu"))


class ResNet:
    """Pixels to vectors by clip's module, on one device: products in `dtype`, norms in float32."""

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        config: ModelConfig,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ):
        """Raises ValueError or RuntimeError when the weights do not fit the configuration."""
        image = config.image
        visual = clip_model.ModifiedResNet(image.layers, config.dimensions, image.heads, image.side, image.width)
        state_dict = {name.removeprefix("visual."): torch.tensor(array) for name, array in weights.items()}
        unfit = visual.load_state_dict(state_dict, strict=False)
        # Counters of training batches are missing, which nothing reads.
        if unfit.unexpected_keys or any(not name.endswith("num_batches_tracked") for name in unfit.missing_keys):
            raise ValueError("the arrays are not those of a ResNet")
        for module in visual.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.to(dtype)
        self._dtype = dtype
        self._visual = visual.eval().to(device)
        self._mean, self._std = (torch.tensor(value, device=device) * 255 for value in (image.mean, image.std))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, D)"""
        normal = pixels.float().sub_(self._mean).div_(self._std).permute(0, 3, 1, 2)
        vectors: torch.Tensor = self._visual(normal.to(self._dtype))
        return vectors
