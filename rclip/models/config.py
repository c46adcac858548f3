"""What a model is made of: everything about it that its arrays do not say by themselves.

The configuration is kept with the weights. The towers, the tokenizer and the preprocessing read it; none of them has
constants of its own. The names are the field's, so that other families can be described by it as well. A value that
nothing here can run is neither written nor read: `checked` refuses it.

Named tuples, because defining the same as data classes takes 3 ms more of every query.
"""

import json
from typing import Any, NamedTuple

from rclip.errors import ModelError

_FEWEST_TOKENS = 514
"""In a vocabulary for CLIP's tokenizer: bytes, bytes at the end of a word, start and end."""


def _require(is_supported: bool, name: str, value: object) -> None:
    if not is_supported:
        raise ModelError(
            f"the model cannot be used: its configuration has {name} {value!r}, which rclip does not support"
        )


def _require_transformer(tower: str, width: int, heads: int, layers: int) -> None:
    _require(layers > 0, f"{tower} layers", layers)
    _require(heads > 0 and width > 0 and width % heads == 0, f"{tower} width and heads", (width, heads))


class TextConfig(NamedTuple):
    """Texts to token ids to vectors."""

    context_length: int
    """Tokens that the model reads at most, start and end included."""
    vocabulary_size: int
    width: int
    heads: int
    layers: int
    tokenizer: str = "clip"
    """"clip": byte-pair encoding by the first merges of CLIP's list; the last two ids are start and end."""
    pooling: str = "end token"
    """Where the vector is read; a text ends at its end token."""
    is_causal: bool = True
    """Whether a token attends only to those before it."""

    def check(self) -> None:
        _require_transformer("text", self.width, self.heads, self.layers)
        _require(self.context_length >= 2, "context length", self.context_length)
        # The tokenizer's ids and ranks are kept in 16 bits.
        _require(_FEWEST_TOKENS <= self.vocabulary_size <= 1 << 16, "vocabulary size", self.vocabulary_size)
        _require(self.tokenizer == "clip", "tokenizer", self.tokenizer)
        _require(self.pooling == "end token", "text pooling", self.pooling)
        _require(self.is_causal, "is_causal", self.is_causal)


class ImageConfig(NamedTuple):
    """Pictures to squares to vectors."""

    side: int
    """Of the squares that the tower takes, in pixels."""
    patch_size: int
    """The side, in pixels, of what becomes one token."""
    width: int
    """Of the transformer; of a ResNet's first stage."""
    heads: int
    """Of the transformer; of a ResNet's attention pooling."""
    layers: tuple[int, ...]
    """One number for a transformer; a ResNet's blocks, stage by stage."""
    mean: tuple[float, float, float]
    """Of red, green and blue between 0 and 1, by which training normalized its pictures; then `std`."""
    std: tuple[float, float, float]
    pooling: str = "class token"
    """"class token" for a transformer, "attention" for a ResNet."""
    has_pre_norm: bool = True
    """Whether tokens pass a layer norm before the first block; False for a ResNet, which has none."""
    resize_mode: str = "crop"
    """"crop": the shorter side is scaled to `side`, and the middle square is taken."""
    interpolation: str = "bicubic"

    def check(self) -> None:
        if len(self.layers) == 1:
            _require_transformer("image", self.width, self.heads, self.layers[0])
        else:
            _require(len(self.layers) == 4 and min(self.layers) > 0, "image layers", self.layers)
            _require(
                self.heads > 0 and self.width * 32 % self.heads == 0, "image width and heads", (self.width, self.heads)
            )
        is_whole = self.patch_size > 0 and self.side > 0 and self.side % self.patch_size == 0
        _require(is_whole, "side and patch size", (self.side, self.patch_size))
        _require(len(self.mean) == 3, "mean", self.mean)
        _require(len(self.std) == 3 and min(self.std) > 0, "std", self.std)
        _require(self.pooling == ("attention" if self.is_resnet else "class token"), "image pooling", self.pooling)
        _require(self.has_pre_norm != self.is_resnet, "has_pre_norm", self.has_pre_norm)
        _require(self.resize_mode == "crop", "resize mode", self.resize_mode)
        _require(self.interpolation == "bicubic", "interpolation", self.interpolation)

    @property
    def is_resnet(self) -> bool:
        """Whether the tower is one of CLIP's ResNets, and not a vision transformer."""
        return len(self.layers) > 1

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.side // self.patch_size


class ModelConfig(NamedTuple):
    """One model."""

    dimensions: int
    """The length of its vectors."""
    activation: str
    """Of both towers' transformers: "quick_gelu", "gelu" (exact) or "gelu_tanh"."""
    text: TextConfig
    image: ImageConfig

    def checked(self) -> "ModelConfig":
        """Itself. Raises `ModelError` for values that cannot be run."""
        _require(self.dimensions > 0, "dimensions", self.dimensions)
        _require(self.activation in ("quick_gelu", "gelu", "gelu_tanh"), "activation", self.activation)
        self.text.check()
        self.image.check()
        return self

    def to_json(self) -> str:
        """In one line, for the metadata of a weights file. Raises `ModelError` for values that cannot be run."""
        self.checked()
        return json.dumps(self._asdict() | {"text": self.text._asdict(), "image": self.image._asdict()})

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """Raises `ModelError` for values that cannot be run, and ValueError, KeyError or TypeError for other text."""
        fields: dict[str, Any] = json.loads(text)
        image: dict[str, Any] = fields["image"]
        image |= {name: tuple(image[name]) for name in ("layers", "mean", "std")}
        fields |= {"text": TextConfig(**fields["text"]), "image": ImageConfig(**image)}
        return cls(**fields).checked()
