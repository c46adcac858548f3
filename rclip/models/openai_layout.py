"""The layout of OpenAI's state dicts: which arrays a CLIP has, of which shapes, and what its configuration is.

Models of other families are given these names, too (`families`), and the towers know no others.
"""

import re
from collections.abc import Iterator, Mapping
from math import isqrt

import numpy as np

from rclip.models.config import ImageConfig, ModelConfig, TextConfig

_HEAD_WIDTH = 64
"""Heads are nowhere in the arrays; in every CLIP of OpenAI's a transformer of width W has W / 64 of them."""
_VOCABULARY = 49408
"""Of CLIP's tokenizer, which no array describes either."""
_RESNET_STRIDE = 32

# The mean and standard deviation of the three channels by which OpenAI's training normalized its pictures.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

TEXT_BLOCKS = "transformer.resblocks."
IMAGE_BLOCKS = "visual.transformer.resblocks."

Arrays = Mapping[str, np.ndarray]
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def config_of(arrays: Arrays) -> ModelConfig:
    """The configuration of the CLIP that has these arrays.

    Raises KeyError, ValueError, IndexError or `ModelError` for arrays that are none of OpenAI's kind.
    """
    context_length, width = arrays["positional_embedding"].shape
    vocabulary_size = len(arrays["token_embedding.weight"])
    if vocabulary_size != _VOCABULARY:
        raise ValueError(f"a vocabulary of {vocabulary_size}")
    text = TextConfig(context_length, vocabulary_size, width, _heads(width), _count(arrays, TEXT_BLOCKS))
    image = _vit_config(arrays) if "visual.proj" in arrays else _resnet_config(arrays)
    return ModelConfig(arrays["text_projection"].shape[1], text, image).checked()


def _heads(width: int) -> int:
    if width % _HEAD_WIDTH:
        raise ValueError(f"a width of {width}")
    return width // _HEAD_WIDTH


def _count(arrays: Arrays, prefix: str) -> int:
    """How many blocks there are whose arrays' names start with the prefix and a number."""
    return len({name[len(prefix) :].split(".")[0] for name in arrays if name.startswith(prefix)})


def _vit_config(arrays: Arrays) -> ImageConfig:
    width, _, patch_size, _ = arrays["visual.conv1.weight"].shape
    side = patch_size * isqrt(len(arrays["visual.positional_embedding"]) - 1)
    return ImageConfig(side, patch_size, width, _heads(width), (_count(arrays, IMAGE_BLOCKS),), _MEAN, _STD)


def _resnet_config(arrays: Arrays) -> ImageConfig:
    width = len(arrays["visual.layer1.0.conv1.weight"])
    side = _RESNET_STRIDE * isqrt(len(arrays["visual.attnpool.positional_embedding"]) - 1)
    return ImageConfig(
        side,
        _RESNET_STRIDE,
        width,
        heads=_heads(width * 32),
        layers=tuple(_count(arrays, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)),
        mean=_MEAN,
        std=_STD,
        pooling="attention",
        has_pre_norm=False,
    )


# --- shapes ----------------------------------------------------------------------------------------------------------


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The arrays that the configuration needs, by name: the names of OpenAI's state dict, and more for what other
    families have beside it. None for a tower that a library runs, nor for a ResNet's, which clip checks itself."""
    text = () if config.text.library else _text_shapes(config)
    image = () if config.image.is_resnet or config.image.library else _image_shapes(config)
    return {**dict(text), **dict(image)}


def _text_shapes(config: ModelConfig) -> Shapes:
    text = config.text
    width, hidden = text.width, (text.width + config.dimensions) // 2
    yield "token_embedding.weight", (text.vocabulary_size, width)
    yield "positional_embedding", (text.context_length, width)
    yield from _block_shapes(TEXT_BLOCKS, text.layers, width, text.mlp_width)
    yield from _norm_shapes("ln_embedding" if text.norms == "after" else "ln_final", width)
    if text.projection == "mlp":
        yield "text_projection.hidden", (width, hidden)
    if text.projection:
        yield "text_projection", (hidden if text.projection == "mlp" else width, config.dimensions)
    if text.projection == "biased":
        yield "text_projection.bias", (config.dimensions,)


def _image_shapes(config: ModelConfig) -> Shapes:
    image = config.image
    width, patch_size = image.width, image.patch_size
    if image.has_class_token:
        yield "visual.class_embedding", (width,)
    yield "visual.positional_embedding", (image.has_class_token + image.grid**2, width)
    yield "visual.conv1.weight", (width, 3, patch_size, patch_size)
    if image.has_patch_bias:
        yield "visual.conv1.bias", (width,)
    if image.has_pre_norm:
        yield from _norm_shapes("visual.ln_pre", width)
    yield from _block_shapes(IMAGE_BLOCKS, image.layers[0], width, image.mlp_width)
    yield from _norm_shapes("visual.ln_post", width)
    if image.pooling == "attention":
        yield from _pool_shapes(width, image.mlp_width)
    if image.has_projection:
        yield "visual.proj", (width, config.dimensions)


def _pool_shapes(width: int, mlp_width: int) -> Shapes:
    prefix = "visual.attention_pool."
    yield prefix + "latent", (width,)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield from _linear_shapes(f"{prefix}attn.{name}", width, width)
    yield from _norm_shapes(prefix + "ln", width)
    yield from _mlp_shapes(prefix, width, mlp_width)


def _block_shapes(prefix: str, layers: int, width: int, mlp_width: int) -> Shapes:
    for number in range(layers):
        block = f"{prefix}{number}."
        yield block + "attn.in_proj_weight", (3 * width, width)
        yield block + "attn.in_proj_bias", (3 * width,)
        yield from _linear_shapes(block + "attn.out_proj", width, width)
        yield from _mlp_shapes(block, width, mlp_width)
        yield from _norm_shapes(block + "ln_1", width)
        yield from _norm_shapes(block + "ln_2", width)


def _mlp_shapes(prefix: str, width: int, mlp_width: int) -> Shapes:
    hidden = mlp_width or 4 * width
    yield from _linear_shapes(prefix + "mlp.c_fc", hidden, width)
    yield from _linear_shapes(prefix + "mlp.c_proj", width, hidden)


def _linear_shapes(name: str, outputs: int, inputs: int) -> Shapes:
    yield name + ".weight", (outputs, inputs)
    yield name + ".bias", (outputs,)


def _norm_shapes(name: str, width: int) -> Shapes:
    yield name + ".weight", (width,)
    yield name + ".bias", (width,)


# --- precision -------------------------------------------------------------------------------------------------------

_KEPT_PRECISE = r"ln_|bn\d|downsample\.1|embedding|logit_scale"
"""Norms and embeddings; all others take part in products, for which OpenAI's model has half precision."""


def rounded(name: str, array: np.ndarray) -> np.ndarray:
    """As float32 what `clip.load` makes of the array: rounded to half precision where the array is for a product."""
    if array.dtype == np.float16 or re.search(_KEPT_PRECISE, name):
        return array.astype(np.float32)
    with np.errstate(over="ignore"):  # infinity is found when it is multiplied
        return array.astype(np.float16).astype(np.float32)
