"""Text and image towers as plain numpy, for everything a person waits for.

Same function as `clip.model.CLIP.encode_text` and `encode_image` (a vision transformer's) in float32, and as their
counterparts in open_clip and transformers; the tests check them against those. Arrays keep the names and shapes of
OpenAI's state dict (`canonical`): a linear layer's weight is (out, in). Whatever differs between families is the
configuration's. Notation: B pictures or texts, T tokens, W the tower's width, D the length of a vector, S the image's
side.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import takewhile
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from rclip.errors import BrokenWeights
from rclip.models.config import ModelConfig, TextConfig
from rclip.models.openai_layout import IMAGE_BLOCKS, TEXT_BLOCKS

Activation = Callable[[np.ndarray], np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]
Weights = Mapping[str, np.ndarray]


def pair(weights: Weights, name: str, separator: str = ".") -> Pair:
    """The weight and the bias of a layer."""
    return weights[f"{name}{separator}weight"], weights[f"{name}{separator}bias"]


class Block(NamedTuple):
    """One residual attention block's weights, in the order of its computation."""

    ln_1: Pair
    qkv: tuple[Pair, ...]
    """One layer for query, key and value together, or one for each, as the file has them."""
    attention_out: Pair
    ln_2: Pair
    mlp_in: Pair
    mlp_out: Pair

    @classmethod
    def of(cls, weights: Weights, prefix: str) -> "Block":
        is_fused = f"{prefix}attn.in_proj_weight" in weights
        return cls(
            ln_1=pair(weights, f"{prefix}ln_1"),
            qkv=(pair(weights, f"{prefix}attn.in_proj", "_"),)
            if is_fused
            else tuple(pair(weights, f"{prefix}attn.{name}_proj") for name in "qkv"),
            attention_out=pair(weights, f"{prefix}attn.out_proj"),
            ln_2=pair(weights, f"{prefix}ln_2"),
            mlp_in=pair(weights, f"{prefix}mlp.c_fc"),
            mlp_out=pair(weights, f"{prefix}mlp.c_proj"),
        )


def blocks(weights: Weights, prefix: str, count: int) -> list[Block]:
    """The first `count` blocks of the transformer whose arrays' names start with `prefix`."""
    return [Block.of(weights, f"{prefix}{number}.") for number in range(count)]


class _Prefix:
    """A text's tokens, and their keys and values in each block of a causal tower.

    They do not depend on what follows, and so are those of every text that begins alike: as it does when somebody is
    typing it. Language models call this prefix caching.
    """

    def __init__(self, tokens: tuple[int, ...] = (), known: "_Prefix | None" = None, shared: int = 0):
        """To be filled block by block, from the first tokens on that another text shares."""
        self.tokens = tokens
        blocks = known.blocks if known and shared else []
        self._known = [(key[:, :, :shared], value[:, :, :shared]) for key, value in blocks]
        self.blocks: list[Pair] = []
        """Keys and values, each (1, heads, T, W / heads)."""

    def completed(self, key: np.ndarray, value: np.ndarray) -> Pair:
        """Of the next block: all tokens' keys and values, given those of the tokens that are not shared."""
        if self._known:
            shared = self._known[len(self.blocks)]
            key, value = (np.concatenate(both, axis=2) for both in zip(shared, (key, value), strict=True))
        self.blocks.append((key, value))
        return key, value


class _Transformer:
    """The blocks of one tower."""

    def __init__(self, blocks: Sequence[Block], heads: int, activation: str, epsilon: float, norms: str = "before"):
        self._blocks, self._heads, self._activation = blocks, heads, ACTIVATIONS[activation]
        self._epsilon = np.float32(epsilon)
        self._run = self._normed_before if norms == "before" else self._normed_after

    def __call__(self, x: np.ndarray, mask: np.ndarray | None = None, prefix: _Prefix | None = None) -> np.ndarray:
        """(B, T, W) -> (B, T, W); `mask` is added to the attention's logits (B, heads, T, T).

        With a prefix, which is filled, x (1, T, W) are the tokens that are not shared, and the mask is (T, all tokens).
        """
        for block in self._blocks:
            x = self._run(x, block, mask, prefix)
        return x

    def _normed_before(
        self, x: np.ndarray, block: Block, mask: np.ndarray | None, prefix: _Prefix | None
    ) -> np.ndarray:
        x = x + self._attention(layer_norm(x, *block.ln_1, self._epsilon), block, mask, prefix)
        return x + self._mlp(layer_norm(x, *block.ln_2, self._epsilon), block)

    def _normed_after(self, x: np.ndarray, block: Block, mask: np.ndarray | None, prefix: _Prefix | None) -> np.ndarray:
        x = layer_norm(x + self._attention(x, block, mask, prefix), *block.ln_1, self._epsilon)
        return layer_norm(x + self._mlp(x, block), *block.ln_2, self._epsilon)

    def _attention(self, x: np.ndarray, block: Block, mask: np.ndarray | None, prefix: _Prefix | None) -> np.ndarray:
        query, key, value = _query_key_value(x, block.qkv, self._heads)
        if prefix:
            key, value = prefix.completed(key, value)
        return linear(attend((query, key, value), mask), *block.attention_out)

    def _mlp(self, x: np.ndarray, block: Block) -> np.ndarray:
        return linear(self._activation(linear(x, *block.mlp_in)), *block.mlp_out)


class TextTower:
    """Token ids to vectors."""

    def __init__(self, weights: Weights, config: ModelConfig):
        self._text = text = config.text
        self._end = text.end_token % text.vocabulary_size
        self._embedding = weights["token_embedding.weight"]
        self._positions = weights["positional_embedding"]
        self._token_type = weights.get("token_type_embedding")
        self._transformer = _Transformer(
            blocks(weights, TEXT_BLOCKS, text.layers), text.heads, text.activation, text.norm_epsilon, text.norms
        )
        self._norm = pair(weights, "ln_embedding" if text.norms == "after" else "ln_final")
        self._epsilon = np.float32(text.norm_epsilon)
        self._project = _projection(weights, text)
        self._latest = _Prefix()

    def __call__(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """B texts, start and end tokens included, without padding. -> (B, D) float32, rows of length 1

        Where no token attends to padding, it changes nothing: then texts are computed to the end of the longest,
        whatever the model could read. What a single text has in common with the one before is not computed again.
        """
        tokens, lengths = self._padded(texts)
        if len(texts) == 1 and self._text.is_causal:
            pooled = self._continued(tokens)
        else:
            pooled = self._pooled(self._transformer(self._embed(tokens), self._mask(lengths)), tokens, lengths)
        if self._text.norms == "before":
            pooled = layer_norm(pooled, *self._norm, self._epsilon)
        return l2_normalize(self._project(pooled))

    def _continued(self, tokens: np.ndarray) -> np.ndarray:
        """(1, T) -> (1, W), from where it differs from the latest text; the token that is pooled is computed anew."""
        text, latest = tuple(tokens[0].tolist()), self._latest
        pooled = int(self._pooled_token(tokens)[0])
        are_alike = takewhile(lambda both: both[0] == both[1], zip(text[:pooled], latest.tokens, strict=False))
        shared = sum(1 for _ in are_alike)
        prefix = _Prefix(text, latest, shared)
        x = self._transformer(self._embed(tokens, shared), _causal_mask(len(text))[shared:], prefix)
        self._latest = prefix
        return x[:, pooled - shared]

    def _padded(self, texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """(B, T), and how many of them are the texts' own (B,)"""
        lengths = np.array([len(tokens) for tokens in texts])
        length = self._text.context_length if self._text.padding else int(lengths.max())
        padded = np.full((len(texts), length), self._text.padding_token)
        for row, tokens in zip(padded, texts, strict=True):
            row[length - len(tokens) if self._text.padding == "left" else 0 :][: len(tokens)] = tokens
        return padded, lengths

    def _embed(self, tokens: np.ndarray, first: int = 0) -> np.ndarray:
        """(B, T) -> (B, T - first, W)"""
        x = self._embedding[tokens[:, first:]] + self._positions[first : tokens.shape[1]]
        if self._token_type is not None:
            x += self._token_type
        return layer_norm(x, *self._norm, self._epsilon) if self._text.norms == "after" else x

    def _mask(self, lengths: np.ndarray) -> np.ndarray | None:
        length = int(lengths.max())
        if self._text.is_causal:
            return _causal_mask(length)
        if self._text.padding or (lengths == length).all():
            return None
        is_padding = np.arange(length) >= lengths[:, None]
        return np.where(is_padding, np.float32(-np.inf), np.float32(0))[:, None, None]

    def _pooled(self, x: np.ndarray, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(B, T, W) -> (B, W)"""
        if self._text.pooling == "mean":
            is_text = np.arange(x.shape[1]) < lengths[:, None]
            return np.einsum("btw,bt->bw", x, is_text.astype(np.float32) / lengths[:, None].astype(np.float32))
        return x[np.arange(len(x)), self._pooled_token(tokens)]

    def _pooled_token(self, tokens: np.ndarray) -> np.ndarray:
        """Where it is in each text. (B, T) -> (B,)"""
        if self._text.pooling == "last token":
            return np.full(len(tokens), tokens.shape[1] - 1)
        return (tokens == self._end).argmax(axis=1)


def _causal_mask(length: int) -> np.ndarray:
    """(T, T): no token attends to those behind it."""
    return np.triu(np.full((length, length), -np.inf, np.float32), 1)


def _projection(weights: Weights, text: TextConfig) -> Callable[[np.ndarray], np.ndarray]:
    """(B, W) -> (B, D)"""
    if not text.projection:
        return lambda x: x
    weight = weights["text_projection"]
    if text.projection == "biased":
        bias = weights["text_projection.bias"]
        return lambda x: x @ weight + bias
    if text.projection == "mlp":
        hidden = weights["text_projection.hidden"]
        return lambda x: gelu(x @ hidden) @ weight
    return lambda x: x @ weight


class ImageTower:
    """Pixels to vectors, for vision transformers."""

    def __init__(self, weights: Weights, config: ModelConfig):
        image = config.image
        assert not image.is_resnet, "those are for torch"
        assert not image.library, "that is for torch, too"
        self._grid, self._patch, self._width = image.grid, image.patch_size, image.width
        self._epsilon = np.float32(image.norm_epsilon)
        mean, std = np.array(image.mean, np.float32), np.array(image.std, np.float32)
        patch_weights = weights["visual.conv1.weight"]  # (W, 3, P, P)
        # A convolution whose stride is its size is one product with each patch; normalizing the pixels folds into it.
        scaled = patch_weights / (255 * std[:, None, None])
        self._patch_weights = scaled.transpose(2, 3, 1, 0).reshape(-1, image.width)
        shift = (patch_weights.sum(axis=(2, 3)) @ (mean / std)).astype(np.float32)
        positions = weights["visual.positional_embedding"]
        self._first = int(image.has_class_token)
        if image.has_class_token:
            self._class_token = weights["visual.class_embedding"] + positions[0]
        self._positions = positions[self._first :] - shift
        if image.has_patch_bias:
            self._positions += weights["visual.conv1.bias"]
        self._ln_pre = pair(weights, "visual.ln_pre") if image.has_pre_norm else None
        self._transformer = _Transformer(
            blocks(weights, IMAGE_BLOCKS, image.layers[0]), image.heads, image.activation, image.norm_epsilon
        )
        self._ln_post = pair(weights, "visual.ln_post")
        self._pool = None if image.has_class_token else AttentionPool.of(weights, config)
        self._projection = weights["visual.proj"] if image.has_projection else None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(B, S, S, 3) uint8 -> (B, D) float32, rows of length 1"""
        x = self._embed(pixels)
        if self._ln_pre:
            x = layer_norm(x, *self._ln_pre, self._epsilon)
        x = self._transformer(x)
        if self._pool is None:
            pooled = layer_norm(x[:, 0], *self._ln_post, self._epsilon)
        else:
            pooled = self._pool(layer_norm(x, *self._ln_post, self._epsilon))
        return l2_normalize(pooled if self._projection is None else pooled @ self._projection)

    def _embed(self, pixels: np.ndarray) -> np.ndarray:
        """(B, S, S, 3) uint8 -> (B, T, W)"""
        count, grid, patch, first = len(pixels), self._grid, self._patch, self._first
        whole = pixels[:, : grid * patch, : grid * patch]
        patches = whole.reshape(count, grid, patch, grid, patch, 3).transpose(0, 1, 3, 2, 4, 5)
        flat = patches.reshape(count * grid * grid, patch * patch * 3).astype(np.float32)
        x = np.empty((count, first + grid * grid, self._width), np.float32)
        if first:
            x[:, 0] = self._class_token
        embedded = (flat @ self._patch_weights).reshape(count, grid * grid, self._width)
        np.add(embedded, self._positions, out=x[:, first:])
        return x


class AttentionPool(NamedTuple):
    """A learned query that attends to all tokens, and an MLP on what it has gathered.

    Since there is one query for all pictures, it is multiplied with the keys' weights in advance: attention is then a
    product with (W, heads) instead of (W, W). Values are projected after they have been summed, for the same reason.
    The keys' bias adds the same to all logits of a head and changes nothing.
    """

    query: np.ndarray
    """(W, heads): what each head's logits are as a function of a token"""
    value: Pair
    out: Pair
    norm: Pair
    mlp_in: Pair
    mlp_out: Pair
    activation: str
    epsilon: float

    @classmethod
    def of(cls, weights: Weights, config: ModelConfig) -> "AttentionPool":
        prefix, heads = "visual.attention_pool.", config.image.heads
        (query, query_bias), (key, _), value = (pair(weights, f"{prefix}attn.{name}_proj") for name in "qkv")
        latent = (query @ weights[f"{prefix}latent"] + query_bias).reshape(heads, -1)  # (heads, W / heads)
        latent = latent * np.float32(latent.shape[1] ** -0.5)
        return cls(
            query=np.einsum("hd,hdw->wh", latent, key.reshape(heads, -1, key.shape[1])),
            value=value,
            out=pair(weights, f"{prefix}attn.out_proj"),
            norm=pair(weights, f"{prefix}ln"),
            mlp_in=pair(weights, f"{prefix}mlp.c_fc"),
            mlp_out=pair(weights, f"{prefix}mlp.c_proj"),
            activation=config.image.activation,
            epsilon=config.image.norm_epsilon,
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(B, T, W) -> (B, W)"""
        count, _, width = x.shape
        heads = self.query.shape[1]
        attention = softmax((x @ self.query).swapaxes(1, 2))  # (B, heads, T)
        gathered = attention @ x  # (B, heads, W)
        weight, bias = self.value
        values = np.einsum("bhw,hdw->bhd", gathered, weight.reshape(heads, -1, width), optimize=True)
        pooled = linear(values.reshape(count, width) + bias, *self.out)
        hidden = linear(layer_norm(pooled, *self.norm, np.float32(self.epsilon)), *self.mlp_in)
        return pooled + linear(ACTIVATIONS[self.activation](hidden), *self.mlp_out)


def _query_key_value(x: np.ndarray, qkv: tuple[Pair, ...], heads: int) -> list[np.ndarray]:
    """(B, T, W) -> three times (B, heads, T, W / heads)"""
    count, length, width = x.shape
    if len(qkv) == 1:
        projected = linear(x, *qkv[0]).reshape(count, length, 3, heads, width // heads)
        return list(projected.transpose(2, 0, 3, 1, 4))
    return [linear(x, *layer).reshape(count, length, heads, width // heads).swapaxes(1, 2) for layer in qkv]


def attend(query_key_value: Sequence[np.ndarray], mask: np.ndarray | None) -> np.ndarray:
    """Multi-head attention between its two projections. Three times (B, heads, T, …) -> (B, T, W)"""
    query, key, value = query_key_value
    count, heads, length, head_width = query.shape
    logits = (query * np.float32(head_width**-0.5)) @ key.swapaxes(-1, -2)
    if mask is not None:
        logits += mask
    return (softmax(logits) @ value).transpose(0, 2, 1, 3).reshape(count, length, heads * head_width)


_FEW_ROWS = 64
"""Of so few, the weights decide how long a product takes: BLAS reads them faster as its first factor, as they lie."""
_ROWS_OF_A_TEXT = 32
"""As many as most texts have tokens; of more, BLAS may share a product among threads."""
_SMALL_PRODUCT = 1_000_000
"""Multiplications up to which OpenBLAS, with AVX-512, does not first copy its factors, which takes a third of the time
that few rows take (<https://github.com/OpenMathLib/OpenBLAS>, sgemm_small_kernel_permit_skylakex.c)."""
_LEAST_ROWS = 4
"""Of the weights, in one of those products."""


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(…, in) -> (…, out), as one matrix product over all leading axes."""
    rows = x.reshape(-1, x.shape[-1])
    y = rows @ weight.T if len(rows) > _FEW_ROWS else _product_of_few(rows, weight)
    y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0])


def _product_of_few(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(R, in) and (out, in) -> (R, out)

    A text of nine tokens in 20 ms instead of 32, where there is AVX-512 (OpenBLAS 0.3.31, one core of an AMD EPYC).
    """
    parts = weight.reshape(_parts(len(rows), *weight.shape), -1, weight.shape[1])
    y = parts @ np.ascontiguousarray(rows.T)  # (parts, out / parts, R)
    return np.ascontiguousarray(y.reshape(len(weight), len(rows)).T)


@cache
def _parts(rows: int, outputs: int, inputs: int) -> int:
    """Into how many equal ones the weights are divided, so that each product is a small one; 1 where none would be."""
    most = min(_SMALL_PRODUCT // (rows * inputs), outputs)
    if rows > _ROWS_OF_A_TEXT or not _has_avx512():
        return 1
    sizes = (size for size in range(most, _LEAST_ROWS - 1, -1) if outputs % size == 0)
    return outputs // next(sizes, outputs)


def _has_avx512() -> bool:
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", ())
    return not {"AVX512_SKX", "X86_V4"}.isdisjoint(found)  # numpy's names for it up to 2.3, and since


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, epsilon: np.float32) -> np.ndarray:
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", centered, centered)[..., np.newaxis] / np.float32(x.shape[-1])
    centered /= np.sqrt(variance + epsilon)
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
