"""CLIP's text and image towers as plain numpy, for everything a person waits for.

Same function as `clip.model.CLIP.encode_text` and `encode_image` (a vision transformer's) in float32; both are checked
against clip itself by the tests. Arrays keep the names and shapes of OpenAI's state dict: a linear layer's weight is
(out, in). Sizes, heads, activation and normalization are the configuration's. Notation: B pictures or texts, T tokens,
W the tower's width, D the length of a vector, S the image's side.
"""

from collections.abc import Callable, Mapping, Sequence
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from rclip.errors import BrokenWeights
from rclip.models.config import ModelConfig
from rclip.models.openai_layout import IMAGE_BLOCKS, TEXT_BLOCKS

_EPSILON = np.float32(1e-5)  # torch.nn.LayerNorm's

Activation = Callable[[np.ndarray], np.ndarray]


class Block(NamedTuple):
    """One residual attention block's weights, in the order of its computation."""

    ln_1: tuple[np.ndarray, np.ndarray]
    qkv: tuple[np.ndarray, np.ndarray]
    attention_out: tuple[np.ndarray, np.ndarray]
    ln_2: tuple[np.ndarray, np.ndarray]
    mlp_in: tuple[np.ndarray, np.ndarray]
    mlp_out: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, weights: Mapping[str, np.ndarray], prefix: str) -> "Block":
        def pair(name: str, separator: str = ".") -> tuple[np.ndarray, np.ndarray]:
            return weights[f"{prefix}{name}{separator}weight"], weights[f"{prefix}{name}{separator}bias"]

        return cls(
            ln_1=pair("ln_1"),
            qkv=pair("attn.in_proj", "_"),
            attention_out=pair("attn.out_proj"),
            ln_2=pair("ln_2"),
            mlp_in=pair("mlp.c_fc"),
            mlp_out=pair("mlp.c_proj"),
        )


def blocks(weights: Mapping[str, np.ndarray], prefix: str, count: int) -> list[Block]:
    """The first `count` blocks of the transformer whose arrays' names start with `prefix`."""
    return [Block.of(weights, f"{prefix}{number}.") for number in range(count)]


class TextTower:
    """Token ids to vectors."""

    def __init__(self, weights: Mapping[str, np.ndarray], config: ModelConfig):
        self._heads, self._activation = config.text.heads, ACTIVATIONS[config.activation]
        self._embedding = weights["token_embedding.weight"]
        self._positions = weights["positional_embedding"]
        self._blocks = blocks(weights, TEXT_BLOCKS, config.text.layers)
        self._ln_final = weights["ln_final.weight"], weights["ln_final.bias"]
        self._projection = weights["text_projection"]

    def __call__(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """B texts, start and end tokens included, without padding. -> (B, D) float32, rows of length 1

        Attention is causal and a vector is read at the text's end token, so what follows it changes nothing: texts are
        computed to the end of the longest, whatever the model could read.
        """
        ends = np.array([len(tokens) - 1 for tokens in texts])
        length = int(ends.max()) + 1
        padded = np.array([[*tokens, *[0] * (length - len(tokens))] for tokens in texts])
        x = self._embedding[padded] + self._positions[:length]
        mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)
        for block in self._blocks:
            x = residual_block(x, block, self._heads, self._activation, mask)
        return l2_normalize(layer_norm(x[np.arange(len(texts)), ends], *self._ln_final) @ self._projection)


class ImageTower:
    """Pixels to vectors, for vision transformers."""

    def __init__(self, weights: Mapping[str, np.ndarray], config: ModelConfig):
        image = config.image
        assert not image.is_resnet, "those are for torch"
        self._heads, self._activation = image.heads, ACTIVATIONS[config.activation]
        self._grid, self._patch = image.grid, image.patch_size
        mean, std = np.array(image.mean, np.float32), np.array(image.std, np.float32)
        patch_weights = weights["visual.conv1.weight"]  # (W, 3, P, P)
        # A convolution whose stride is its size is one product with each patch; normalizing the pixels folds into it.
        scaled = patch_weights / (255 * std[:, None, None])
        self._patch_weights = scaled.transpose(2, 3, 1, 0).reshape(-1, image.width)
        shift = (patch_weights.sum(axis=(2, 3)) @ (mean / std)).astype(np.float32)
        positions = weights["visual.positional_embedding"]
        self._class_token = weights["visual.class_embedding"] + positions[0]
        self._positions = positions[1:] - shift
        self._ln_pre = weights["visual.ln_pre.weight"], weights["visual.ln_pre.bias"]
        self._blocks = blocks(weights, IMAGE_BLOCKS, image.layers[0])
        self._ln_post = weights["visual.ln_post.weight"], weights["visual.ln_post.bias"]
        self._projection = weights["visual.proj"]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(B, S, S, 3) uint8 -> (B, D) float32, rows of length 1"""
        count, grid, patch = len(pixels), self._grid, self._patch
        patches = pixels.reshape(count, grid, patch, grid, patch, 3).transpose(0, 1, 3, 2, 4, 5)
        flat = patches.reshape(count * grid * grid, patch * patch * 3).astype(np.float32)
        width = self._patch_weights.shape[1]
        x = np.empty((count, 1 + grid * grid, width), np.float32)
        x[:, 0] = self._class_token
        np.add((flat @ self._patch_weights).reshape(count, grid * grid, width), self._positions, out=x[:, 1:])
        x = layer_norm(x, *self._ln_pre)
        for block in self._blocks:
            x = residual_block(x, block, self._heads, self._activation)
        return l2_normalize(layer_norm(x[:, 0], *self._ln_post) @ self._projection)


def residual_block(
    x: np.ndarray, block: Block, heads: int, activation: Activation, mask: np.ndarray | None = None
) -> np.ndarray:
    """One residual attention block. (B, T, W) -> (B, T, W); `mask` (T, T) is added to the attention's logits."""
    x = x + linear(attend(linear(layer_norm(x, *block.ln_1), *block.qkv), heads, mask), *block.attention_out)
    return x + linear(activation(linear(layer_norm(x, *block.ln_2), *block.mlp_in)), *block.mlp_out)


def attend(qkv: np.ndarray, heads: int, mask: np.ndarray | None) -> np.ndarray:
    """Multi-head attention between its two projections. (B, T, 3 W) -> (B, T, W)"""
    count, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    head_width = width // heads
    query, key, value = qkv.reshape(count, length, 3, heads, head_width).transpose(2, 0, 3, 1, 4)  # (B, heads, T, …)
    logits = (query * np.float32(head_width**-0.5)) @ key.swapaxes(-1, -2)
    if mask is not None:
        logits += mask
    return (softmax(logits) @ value).transpose(0, 2, 1, 3).reshape(count, length, width)


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(…, in) -> (…, out), as one matrix product over all leading axes."""
    y = x.reshape(-1, x.shape[-1]) @ weight.T
    y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0])


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", centered, centered)[..., np.newaxis] / np.float32(x.shape[-1])
    centered /= np.sqrt(variance + _EPSILON)
    centered *= weight
    centered += bias
    return centered


def quick_gelu(x: np.ndarray) -> np.ndarray:
    """x · sigmoid(1.702 x), OpenAI's activation. Overflow of the exponential is right: it makes the sigmoid 0."""
    with np.errstate(over="ignore"):
        gate = np.exp(x * np.float32(-1.702))
    gate += np.float32(1)
    return np.divide(x, gate, out=gate)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """x · (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: GELU as it was first approximated."""
    return np.float32(0.5) * x * (1 + np.tanh(np.float32(sqrt(2 / pi)) * (x + np.float32(0.044715) * x**3)))


def gelu(x: np.ndarray) -> np.ndarray:
    """x · (1 + erf(x / √2)) / 2, within 1e-6 of it."""
    return np.float32(0.5) * x * (1 + _erf(x * np.float32(sqrt(0.5))))


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function within 2e-7, by formula 7.1.26 of Abramowitz and Stegun; numpy has none."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    series = np.zeros_like(x)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(coefficient)
        series *= t
    return np.copysign(1 - series * np.exp(-x * x), x)


ACTIVATIONS: dict[str, Activation] = {"quick_gelu": quick_gelu, "gelu": gelu, "gelu_tanh": gelu_tanh}


def softmax(logits: np.ndarray) -> np.ndarray:
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits


def require_finite(vectors: np.ndarray, model: str) -> np.ndarray:
    """The vectors. Raises `ModelError` for NaN and infinity among them, which only broken weights give."""
    if not np.isfinite(vectors).all():
        raise BrokenWeights(model=model)
    return vectors


def l2_normalize(vectors: np.ndarray) -> np.ndarray:
    """Scaled to length 1 along the last axis; NaN where there is no length, which `require_finite` reports."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
