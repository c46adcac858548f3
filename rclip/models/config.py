"""What a model is made of: everything about it that its arrays do not say by themselves.

The configuration is kept with the weights. The towers, the tokenizer and the preprocessing read it; none of them has
constants of its own. The names are the field's. A value that nothing here can run is neither written nor read:
`checked` refuses it.

Named tuples, because defining the same as data classes takes 3 ms more of every query.
"""

import json
from typing import Any, NamedTuple

from rclip.errors import UnsupportedModel
from rclip.resizing import INTERPOLATIONS, MODES, Resizing

ACTIVATIONS = ("quick_gelu", "gelu", "gelu_tanh")
"""x · sigmoid(1.702 x), the exact one, and its first approximation."""

_FEWEST_TOKENS = 514
"""In a vocabulary for CLIP's tokenizer: bytes, bytes at the end of a word, start and end."""
_MOST_LAYERS = 1024
_MOST_TOKENS = 1 << 24
_MOST_POSITIONS = 1 << 15
_MOST_ATTENTION = 1 << 28
"""Of a tower's numbers in one block, for one text or picture: each token's attention to each, in each head."""
_LARGEST_SIDE = 4096


def _require(is_supported: bool, name: str, value: object) -> None:
    if not is_supported:
        raise UnsupportedModel(name=name, value=value)


def _require_transformer(tower: str, width: int, heads: int, layers: int, mlp_width: int) -> None:
    _require(0 < layers <= _MOST_LAYERS, f"{tower} layers", layers)
    _require(heads > 0 and width > 0 and width % heads == 0, f"{tower} width and heads", (width, heads))
    _require(mlp_width >= 0, f"{tower} mlp_width", mlp_width)


class TextConfig(NamedTuple):
    """Texts to token ids to vectors."""

    context_length: int
    """Tokens that the model reads at most, start and end included."""
    vocabulary_size: int
    width: int
    heads: int
    layers: int
    tokenizer: str = "clip"
    """"clip": byte-pair encoding by the first merges of CLIP's list; the last two ids are start and end. "open_clip":
    the same, but for how start and end are written in a text. "file": what the model's own `tokenizer.json` says."""
    pooling: str = "end token"
    """Where the vector is read: at the first "end token", at the "last token" that the model reads, or as the "mean" of
    all of the text's tokens."""
    is_causal: bool = True
    """Whether a token attends only to those before it."""
    activation: str = "quick_gelu"
    cleaning: str = ""
    """How a text is cleaned for the tokenizer of a file; one of `text_cleaning.CLEANINGS`."""
    end_token: int = -1
    """Its id, counted from the end of the vocabulary where it is negative."""
    padding: str = ""
    """Where padding is put to make every text `context_length` tokens long: "right" or "left". All tokens attend to it.
    Empty for models that never see any."""
    padding_token: int = 0
    norms: str = "before"
    """Where a block has its layer norms: "before" attention and MLP, as CLIP; "after" each sum, as BERT."""
    norm_epsilon: float = 1e-5
    mlp_width: int = 0
    """Of the layer between; 0 for four times the width."""
    projection: str = "linear"
    """To the vector: "linear", "biased", "mlp" (with exact GELU), or "" for none."""
    library: str = ""
    """"open_clip" for a tower that only that package can run. Empty for one that is described here."""

    def check(self) -> None:
        _require(1 < self.context_length <= _MOST_POSITIONS, "context length", self.context_length)
        _require(self.library in ("", "open_clip"), "text library", self.library)
        if self.library:
            return
        _require_transformer("text", self.width, self.heads, self.layers, self.mlp_width)
        attention = self.heads * self.context_length**2
        _require(attention <= _MOST_ATTENTION, "context length", self.context_length)
        if self.tokenizer != "file":  # its ids and ranks are kept in 16 bits
            _require(_FEWEST_TOKENS <= self.vocabulary_size <= 1 << 16, "vocabulary size", self.vocabulary_size)
        _require(0 < self.vocabulary_size <= _MOST_TOKENS, "vocabulary size", self.vocabulary_size)
        _require(self.tokenizer in ("clip", "open_clip", "file"), "tokenizer", self.tokenizer)
        _require(self.pooling in ("end token", "last token", "mean"), "text pooling", self.pooling)
        _require(not (self.is_causal and self.pooling == "mean"), "text pooling", self.pooling)
        _require(not (self.is_causal and self.padding), "padding", self.padding)
        _require(self.activation in ACTIVATIONS, "text activation", self.activation)
        _require(self.padding in ("", "right", "left"), "padding", self.padding)
        _require(0 <= self.padding_token < self.vocabulary_size, "padding token", self.padding_token)
        _require(-self.vocabulary_size <= self.end_token < self.vocabulary_size, "end token", self.end_token)
        _require(self.norms in ("before", "after"), "norms", self.norms)
        _require(0 < self.norm_epsilon < 1, "norm epsilon", self.norm_epsilon)
        _require(self.projection in ("", "linear", "biased", "mlp"), "projection", self.projection)


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
    """"class token", or "attention": a learned query attends to all tokens. The latter also for a ResNet, which does it
    in its own way."""
    has_pre_norm: bool = True
    """Whether tokens pass a layer norm before the first block; False for a ResNet, which has none."""
    resize_mode: str = "crop"
    """One of `resizing.MODES`."""
    interpolation: str = "bicubic"
    activation: str = "quick_gelu"
    norm_epsilon: float = 1e-5
    mlp_width: int = 0
    """Of the layer between; 0 for four times the width."""
    has_patch_bias: bool = False
    has_projection: bool = True
    """Whether the pooled token is projected to the vector."""
    library: str = ""
    """"open_clip" for a tower that only that package can run, "none" for a text model that has none. Empty for one that
    is described here."""

    def check(self) -> None:
        _require(self.library in ("", "open_clip", "none"), "image library", self.library)
        _require(0 < self.side <= _LARGEST_SIDE, "side", self.side)
        _require(len(self.mean) == 3, "mean", self.mean)
        _require(len(self.std) == 3 and min(self.std) > 0, "std", self.std)
        _require(self.resize_mode in MODES, "resize mode", self.resize_mode)
        _require(self.interpolation in INTERPOLATIONS, "interpolation", self.interpolation)
        if not self.library:
            self._check_tower()

    def _check_tower(self) -> None:
        if len(self.layers) == 1:
            _require_transformer("image", self.width, self.heads, self.layers[0], self.mlp_width)
            _require(self.activation in ACTIVATIONS, "image activation", self.activation)
        else:
            is_possible = len(self.layers) == 4 and 0 < min(self.layers) <= max(self.layers) <= _MOST_LAYERS
            _require(is_possible, "image layers", self.layers)
            is_possible = self.heads > 0 and self.width * 32 % self.heads == 0
            _require(is_possible, "image width and heads", (self.width, self.heads))
            _require(not self.has_pre_norm, "has_pre_norm", self.has_pre_norm)
        # A last row and column that are no whole patch are not looked at.
        _require(0 < self.patch_size <= self.side, "side and patch size", (self.side, self.patch_size))
        attention = self.heads * (self.grid**2 + 1) ** 2
        _require(self.is_resnet or attention <= _MOST_ATTENTION, "side and patch size", (self.side, self.patch_size))
        pooling = ("attention",) if self.is_resnet else ("class token", "attention")
        _require(self.pooling in pooling, "image pooling", self.pooling)
        _require(0 < self.norm_epsilon < 1, "norm epsilon", self.norm_epsilon)

    @property
    def is_resnet(self) -> bool:
        """Whether the tower is one of CLIP's ResNets, and not a vision transformer."""
        return len(self.layers) > 1

    @property
    def has_class_token(self) -> bool:
        return self.pooling == "class token"

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.side // self.patch_size

    @property
    def resizing(self) -> Resizing:
        return Resizing(self.resize_mode, self.interpolation)

    def identity(self) -> str:
        """In text, all that decides about a picture's vector beside the weights.

        A field that is new, with a default, changes nothing for models that do not need it.
        """
        fields, defaults = self._asdict(), self._field_defaults
        return json.dumps({name: value for name, value in fields.items() if value != defaults.get(name)})


class ModelConfig(NamedTuple):
    """One model."""

    dimensions: int
    """The length of its vectors."""
    text: TextConfig
    image: ImageConfig

    def checked(self) -> "ModelConfig":
        """Itself. Raises `ModelError` for values that cannot be run."""
        _require(self.dimensions > 0, "dimensions", self.dimensions)
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
        texts: dict[str, Any] = fields["text"]
        image: dict[str, Any] = fields["image"]
        if "activation" in fields:  # as it was once written, for both towers
            texts["activation"] = image["activation"] = fields.pop("activation")
        image |= {name: tuple(image[name]) for name in ("layers", "mean", "std")}
        fields |= {"text": TextConfig(**texts), "image": ImageConfig(**image)}
        return cls(**fields).checked()
