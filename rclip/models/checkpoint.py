"""Reading CLIP checkpoints: the arrays as rclip uses them, and the model's configuration."""

import numpy as np

from rclip.errors import NoCheckpoint, UnreadableCheckpoint, plain_reason
from rclip.models import openai_layout, torch_archive
from rclip.models.config import ModelConfig

_OF_TRAINING = ("logit_scale", "num_batches_tracked")


def read(path: str) -> tuple[dict[str, np.ndarray], ModelConfig]:
    """The float32 state dict of the model that `clip.load(path, "cpu")` would give, and its configuration.

    No code in the file is run. Raises `ModelError` for a file that cannot be read or is no CLIP checkpoint.
    """
    try:
        arrays = {name: array for name, array in _arrays(path).items() if not name.endswith(_OF_TRAINING)}
        config = openai_layout.config_of(arrays)
        _require_shapes(arrays, config)
        rounded = {name: openai_layout.rounded(name, array) for name, array in arrays.items()}
        if config.image.is_resnet:
            from rclip.models.openai_clip import require_resnet

            require_resnet(rounded, config)
    except OSError as error:
        raise UnreadableCheckpoint(path=path, reason=plain_reason(error)) from error
    except Exception as error:  # zip files, pickles and torch raise anything at all on other files
        raise NoCheckpoint(path=path, reason="neither a TorchScript archive nor a state dict") from error
    return rounded, config


def _arrays(path: str) -> dict[str, np.ndarray]:
    if torch_archive.is_archive(path):
        return torch_archive.read(path)
    from rclip.models.openai_clip import read_legacy

    return read_legacy(path)


def _require_shapes(arrays: dict[str, np.ndarray], config: ModelConfig) -> None:
    """Raises ValueError when an array is missing, too many, or of another shape than the configuration needs."""
    wanted = openai_layout.shapes(config)
    found = {name: array.shape for name, array in arrays.items()}
    if config.image.is_resnet:
        found = {name: shape for name, shape in found.items() if not name.startswith("visual.")}
    if found != wanted:
        raise ValueError(f"unfitting arrays: {sorted(found.items() ^ wanted.items())[:3]}")
