"""CLIP's vision transformer in torch, for pictures by the thousand: the same function as `towers.ImageTower`.

clip's own module converts to float32 and back around each norm, multiplies thrice for its activation and takes a second
to be built; this one gives its vectors in a tenth less time. B pictures, S their side, T tokens, W the width, D the
length of a vector.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name the field gives it

from rclip.models.tensors import Tensors
from rclip.models.towers import HEAD_WIDTH, MEAN, STD, Block, blocks

_GELU_SLOPE = 1.702
"""CLIP's activation is x · sigmoid(1.702 x), which is silu(1.702 x) / 1.702: the factors go into the layers around."""

_Pair = tuple[torch.Tensor, torch.Tensor]


class ImageTower:
    """Pixels to vectors on one device, its products in one precision."""

    def __init__(self, weights: Tensors, device: torch.device, dtype: torch.dtype):
        """The mapped `weights` are let go as they are converted, or they would be in memory twice."""
        self._device = device
        self._dtype = dtype
        self._mean, self._std = (torch.tensor(values * 255, device=device) for values in (MEAN, STD))
        patch_weights = weights["visual.conv1.weight"]  # (W, 3, P, P)
        self._width, _, self._patch, _ = patch_weights.shape
        # A convolution whose stride is its size is one product with each patch.
        self._patch_weights = self._move(patch_weights.transpose(0, 2, 3, 1).reshape(self._width, -1))
        positions = weights["visual.positional_embedding"]
        self._class_token = self._move(weights["visual.class_embedding"] + positions[0])
        self._positions = self._move(positions[1:])
        self._ln_pre = self._norm((weights["visual.ln_pre.weight"], weights["visual.ln_pre.bias"]))
        self._blocks = []
        for block in blocks(weights, "visual.transformer.resblocks."):
            self._blocks.append(self._convert(block))
            weights.release()
        self._ln_post = self._norm((weights["visual.ln_post.weight"], weights["visual.ln_post.bias"]))
        self._projection = self._move(weights["visual.proj"].T)

    def _convert(self, block: Block) -> tuple[_Pair, ...]:
        slope = np.float32(_GELU_SLOPE)
        return (
            self._norm(block.ln_1),
            self._layer(*block.qkv),
            self._layer(*block.attention_out),
            self._norm(block.ln_2),
            self._layer(*(array * slope for array in block.widen)),
            self._layer(block.narrow[0] / slope, block.narrow[1]),
        )

    def _move(self, array: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.tensor(array).to(self._device, dtype or self._dtype).contiguous()

    def _layer(self, weight: np.ndarray, bias: np.ndarray) -> _Pair:
        return self._move(weight), self._move(bias)

    def _norm(self, pair: tuple[np.ndarray, np.ndarray]) -> _Pair:
        """On a CPU norms may keep their weights in float32 while what they scale is bf16; on GPUs they may not."""
        dtype = torch.float32 if self._device.type == "cpu" else self._dtype
        return self._move(pair[0], dtype), self._move(pair[1], dtype)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, D)"""
        x = self._embed(pixels)
        for ln_1, qkv, attention_out, ln_2, widen, narrow in self._blocks:
            x += F.linear(self._attend(F.linear(self._normed(x, ln_1), *qkv)), *attention_out)
            x += F.linear(F.silu(F.linear(self._normed(x, ln_2), *widen), inplace=True), *narrow)
        return F.linear(self._normed(x[:, 0], self._ln_post), self._projection)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, T, W), the class token first"""
        count, grid, patch = len(pixels), pixels.shape[1] // self._patch, self._patch
        normal = pixels.float().sub_(self._mean).div_(self._std).to(self._dtype)
        patches = normal.reshape(count, grid, patch, grid, patch, 3).transpose(2, 3)
        embedded = F.linear(patches.reshape(count, grid * grid, -1), self._patch_weights) + self._positions
        class_tokens = self._class_token.expand(count, 1, self._width)
        return self._normed(torch.cat([class_tokens, embedded], dim=1), self._ln_pre)

    def _normed(self, x: torch.Tensor, pair: _Pair) -> torch.Tensor:
        return F.layer_norm(x, (self._width,), *pair)

    def _attend(self, qkv: torch.Tensor) -> torch.Tensor:
        """Multi-head attention between its two projections. (B, T, 3 W) -> (B, T, W)"""
        count, length, _ = qkv.shape
        heads = qkv.view(count, length, 3, self._width // HEAD_WIDTH, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)  # each (B, heads, T, 64)
        attended = F.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).reshape(count, length, self._width)
