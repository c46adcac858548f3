"""Vision transformers in torch, for pictures by the thousand: the same function as `numpy_towers.ImageTower`.

clip's own module converts to float32 and back around each norm, multiplies thrice for its activation and takes a second
to be built; this one gives its vectors in a fifth less time (bf16, AMD EPYC with AVX-512). B pictures, S their side,
T tokens, W the width, D the length of a vector.
"""

import platform
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name the field gives it

from rclip.models.config import ModelConfig
from rclip.models.numpy_towers import AttentionPool, Block, Weights, blocks, pair
from rclip.models.openai_layout import IMAGE_BLOCKS


class _Activation(NamedTuple):
    """An activation by what torch calls it. Around silu it is silu(slope · x) / slope: the layers take the factors."""

    kind: str
    """Of oneDNN's kernels: "swish" (torch's silu) or "gelu"."""
    algorithm: str = ""
    """Of GELU: "none" for the exact one, or "tanh"."""
    slope: float = 1

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(x, inplace=True) if self.kind == "swish" else F.gelu(x, approximate=self.algorithm)


_ACTIVATIONS = {
    "quick_gelu": _Activation("swish", slope=1.702),  # x · sigmoid(1.702 x)
    "gelu": _Activation("gelu", "none"),
    "gelu_tanh": _Activation("gelu", "tanh"),
}

_Pair = tuple[torch.Tensor, torch.Tensor]


class _Linear:
    """A linear layer, and what may follow it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor):
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight, self._bias)

    def activated(self, x: torch.Tensor, activation: _Activation) -> torch.Tensor:
        return activation(self(x))

    def added_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return residual.add_(self(x))


class _PackedLinear(_Linear):
    """The same in a tenth less time: the weights lie in the order in which this CPU's kernels read them, which oneDNN
    otherwise rearranges for every batch, and what follows is done while results are in registers.

    These are the operators that torch's compiler puts in the place of linear layers, without the time it takes itself.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor):
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight), bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._product(x, "none", "")

    def activated(self, x: torch.Tensor, activation: _Activation) -> torch.Tensor:
        return self._product(x, activation.kind, activation.algorithm)

    def added_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self._bias, "add")
        return added

    def _product(self, x: torch.Tensor, kind: str, algorithm: str) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, kind, [], algorithm)
        return product


def _can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cpu" or dtype != torch.bfloat16 or platform.machine() not in ("x86_64", "AMD64"):
        return False  # Arm's kernels have not been tried
    operators = ("_reorder_linear_weight", "_linear_pointwise")  # which torch does not promise to keep
    is_there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and all(hasattr(torch.ops.mkldnn, name) for name in operators)


class _Block(NamedTuple):
    """A `numpy_towers.Block` in torch; its `mlp_in` is to be followed by the tower's activation."""

    ln_1: _Pair
    qkv: _Linear
    attention_out: _Linear
    ln_2: _Pair
    mlp_in: _Linear
    mlp_out: _Linear


class _AttentionPool(NamedTuple):
    """A `numpy_towers.AttentionPool` in torch; its `mlp_in` is to be followed by the tower's activation."""

    query: torch.Tensor
    value: torch.Tensor
    """(heads, W / heads, W)"""
    value_bias: torch.Tensor
    out: _Linear
    norm: _Pair
    mlp_in: _Linear
    mlp_out: _Linear


class ImageTower:
    """Pixels to vectors on one device, its products in one precision."""

    def __init__(
        self,
        weights: Weights,
        config: ModelConfig,
        device: torch.device,
        dtype: torch.dtype,
        release: Callable[[], None] = lambda: None,
    ):
        """`release` lets the mapped weights go as they are converted, or they would be in memory twice."""
        image = config.image
        self._heads, self._grid, self._patch, self._width = image.heads, image.grid, image.patch_size, image.width
        self._epsilon = image.norm_epsilon
        self._activation = _ACTIVATIONS[image.activation]
        self._device = device
        self._dtype = dtype
        self._linear = _PackedLinear if _can_pack(device, dtype) else _Linear
        # Pixels minus the whole number next to their mean are exact in half precision; the weights that follow do the
        # rest of their normalization.
        mean, std = np.array(image.mean, np.float32), np.array(image.std, np.float32)
        centre = (mean * 255).round()
        patch_weights = weights["visual.conv1.weight"].transpose(0, 2, 3, 1) / (std * 255)  # (W, P, P, 3)
        off_centre = (patch_weights * (centre - mean * 255)).sum((1, 2, 3))
        positions = weights["visual.positional_embedding"]
        self._centre = self._move(centre)
        # A convolution whose stride is its size is one product with each patch.
        self._patch_weights = self._move(patch_weights.reshape(self._width, -1))
        self._class_token = self._class_embedding(weights, config)
        patches = positions[1:] if image.has_class_token else positions
        bias = weights["visual.conv1.bias"] if image.has_patch_bias else np.float32(0)
        self._positions = self._move(patches + off_centre + bias)
        self._ln_pre = self._norm(pair(weights, "visual.ln_pre")) if image.has_pre_norm else None
        self._blocks = []
        for block in blocks(weights, IMAGE_BLOCKS, image.layers[0]):
            self._blocks.append(self._convert(block))
            release()
        self._ln_post = self._norm(pair(weights, "visual.ln_post"))
        self._pool = None if image.has_class_token else self._convert_pool(AttentionPool.of(weights, config))
        self._projection = self._move(weights["visual.proj"].T) if image.has_projection else None

    def _class_embedding(self, weights: Weights, config: ModelConfig) -> torch.Tensor | None:
        if not config.image.has_class_token:
            return None
        return self._move(weights["visual.class_embedding"] + weights["visual.positional_embedding"][0])

    def _convert(self, block: Block) -> "_Block":
        slope = np.float32(self._activation.slope)
        return _Block(
            ln_1=self._norm(block.ln_1),
            qkv=self._layer(*(np.concatenate(parts) for parts in zip(*block.qkv, strict=True))),
            attention_out=self._layer(*block.attention_out),
            ln_2=self._norm(block.ln_2),
            mlp_in=self._layer(*(array * slope for array in block.mlp_in)),
            mlp_out=self._layer(block.mlp_out[0] / slope, block.mlp_out[1]),
        )

    def _convert_pool(self, pool: AttentionPool) -> "_AttentionPool":
        slope = np.float32(self._activation.slope)
        return _AttentionPool(
            query=self._move(pool.query),
            value=self._move(pool.value[0]).view(self._heads, -1, self._width),
            value_bias=self._move(pool.value[1]),
            out=self._layer(*pool.out),
            norm=self._norm(pool.norm),
            mlp_in=self._layer(*(array * slope for array in pool.mlp_in)),
            mlp_out=self._layer(pool.mlp_out[0] / slope, pool.mlp_out[1]),
        )

    def _move(self, array: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.tensor(array).to(self._device, dtype or self._dtype).contiguous()

    def _layer(self, weight: np.ndarray, bias: np.ndarray) -> _Linear:
        return self._linear(self._move(weight), self._move(bias))

    def _norm(self, arrays: tuple[np.ndarray, np.ndarray]) -> _Pair:
        """On a CPU norms may keep their weights in float32 while what they scale is bf16; on GPUs they may not."""
        dtype = torch.float32 if self._device.type == "cpu" else self._dtype
        return self._move(arrays[0], dtype), self._move(arrays[1], dtype)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, D)"""
        x = self._embed(pixels)
        for block in self._blocks:
            x = block.attention_out.added_to(x, self._attend(block.qkv(self._normed(x, block.ln_1))))
            x = block.mlp_out.added_to(x, block.mlp_in.activated(self._normed(x, block.ln_2), self._activation))
        if self._pool is None:
            pooled = self._normed(x[:, 0], self._ln_post)
        else:
            pooled = self._gathered(self._normed(x, self._ln_post), self._pool)
        return pooled if self._projection is None else F.linear(pooled, self._projection)

    def _gathered(self, x: torch.Tensor, pool: "_AttentionPool") -> torch.Tensor:
        """What `numpy_towers.AttentionPool` computes. (B, T, W) -> (B, W)"""
        attention = torch.matmul(x, pool.query).transpose(1, 2).softmax(dim=-1)  # (B, heads, T)
        gathered = torch.matmul(attention, x)  # (B, heads, W)
        values = torch.einsum("bhw,hdw->bhd", gathered, pool.value)
        pooled = pool.out(values.reshape(len(x), self._width) + pool.value_bias)
        return pool.mlp_out.added_to(pooled, pool.mlp_in.activated(self._normed(pooled, pool.norm), self._activation))

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, T, W), the class token first where there is one"""
        count, grid, patch = len(pixels), self._grid, self._patch
        centred = pixels[:, : grid * patch, : grid * patch].to(self._dtype).sub_(self._centre)
        patches = centred.reshape(count, grid, patch, grid, patch, 3).transpose(2, 3)
        embedded = F.linear(patches.reshape(count, grid * grid, -1), self._patch_weights) + self._positions
        if self._class_token is not None:
            embedded = torch.cat([self._class_token.expand(count, 1, self._width), embedded], dim=1)
        return embedded if self._ln_pre is None else self._normed(embedded, self._ln_pre)

    def _normed(self, x: torch.Tensor, norm: _Pair) -> torch.Tensor:
        return F.layer_norm(x, (self._width,), *norm, eps=self._epsilon)

    def _attend(self, qkv: torch.Tensor) -> torch.Tensor:
        """Multi-head attention between its two projections. (B, T, 3 W) -> (B, T, W)"""
        count, length, _ = qkv.shape
        heads = qkv.view(count, length, 3, self._heads, self._width // self._heads).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)  # each (B, heads, T, …)
        if self._device.type == "cpu":
            attended = _attend_in_steps(query, key, value)
        else:
            attended = F.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).reshape(count, length, self._width)


def _attend_in_steps(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """torch's one call for it takes 1.6 times as long on a CPU, for the few tokens that there are."""
    return torch.matmul(torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2)).softmax(dim=-1), value)
