"""Encodes pictures by the thousand, with torch. Its import takes a second, so nothing a person waits for uses it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from rclip.errors import DeviceFailed, UnknownDevice, plain_reason
from rclip.models.config import ModelConfig
from rclip.models.hardware import has_bf16
from rclip.models.torch_tower import ImageTower

if TYPE_CHECKING:
    from rclip.models.model_files import Weights

_BATCH_OF = {"cpu": 16, "mps": 64, "cuda": 256}


class TorchEncoder:
    """The image tower on the best device: fp16 on a GPU, bf16 on a CPU that has instructions for it."""

    def __init__(self, weights: "Weights", config: ModelConfig, device: str | None, batch_size: int | None):
        """`device` None chooses, and falls back on the CPU where a GPU proves to be unusable.

        Raises `ModelError` for a device that was asked for and is not there or does not work.
        """
        try:
            self._prepare(weights, config, _choose_device(device), batch_size)
        except RuntimeError as error:
            if device is not None:
                raise DeviceFailed(device=device, reason=plain_reason(error)) from error
            self._prepare(weights, config, torch.device("cpu"), batch_size)

    def _prepare(self, weights: "Weights", config: ModelConfig, device: torch.device, batch_size: int | None) -> None:
        """Puts the model on the device and runs it on a blank picture: old drivers and full GPUs fail only then."""
        self.device = device
        self.batch_size = batch_size or _BATCH_OF.get(self.device.type, 32)
        self.is_cpu = self.device.type == "cpu"
        self.half = not self.is_cpu or has_bf16()
        """Whether it computes in half precision."""
        self._threads = torch.get_num_threads()
        dtype = torch.float32
        if self.half:
            dtype = torch.bfloat16 if self.is_cpu else torch.float16
        self._tower = _tower(weights, config, self.device, dtype)
        if not self.is_cpu:
            self._encode(np.zeros((1, config.image.side, config.image.side, 3), np.uint8))

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
                    raise DeviceFailed(device=str(self.device), reason="no memory for one picture") from error
                self.batch_size = len(part) // 2
                torch.cuda.empty_cache()
        return np.concatenate(parts)

    def encode_on_one_thread(self, pixels: np.ndarray) -> np.ndarray:
        """The same without help from other cores; for a thread that is one of as many as there are cores."""
        if self.is_cpu:
            torch.set_num_threads(1)  # of the calling thread
        return self(pixels)

    def restore_threads(self) -> None:
        """torch takes what one thread is limited to for the wish of all threads that come after it."""
        torch.set_num_threads(self._threads)

    @torch.inference_mode()
    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        vectors = self._tower(torch.tensor(pixels).to(self.device)).float()
        return torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy()


def _tower(
    weights: "Weights", config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> Callable[[torch.Tensor], torch.Tensor]:
    if config.image.library:
        from rclip.models import open_clip_towers

        return open_clip_towers.ImageTower(weights, config, device, dtype)
    if not config.image.is_resnet:
        return ImageTower(weights, config, device, dtype, weights.release)
    from rclip.models.openai_clip import ResNet

    return ResNet(weights, config, device, dtype)


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
    raise UnknownDevice(device=asked, available=", ".join(available))
