"""Parts of the Flexi-UNet: residual and attention blocks, resizing, and stages of them.

Child names (``in_layers``, ``emb_layers``, ``out_layers``, ``skip_connection``, ``norm``, ``qkv``,
``proj_out``, ``op``, ``conv``) are those of guided-diffusion (Dhariwal & Nichol, 2021), so that
state dicts of that family load by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from theory.support.errors import InputError

from .normalization import GroupNorm

Module = TypeVar("Module", bound=nn.Module)
_FEW_PIXELS = 256  # most pixels for which unfused attention trains faster on a CPU


def zeroed(module: Module) -> Module:
    """Return ``module`` with all its parameters set to zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of (N, heads, L, D) tensors by PyTorch's fused kernels.

    On a CPU their gradient is two to four times slower than that of plain matrix products for up to
    256 pixels; there training uses the latter.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled() and q.shape[2] <= _FEW_PIXELS:
        weights = torch.softmax((q * q.shape[3] ** -0.5) @ k.transpose(2, 3), dim=-1)
        return weights.to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Downsample(nn.Module):
    """Strided 3×3 convolution: (N, C, h, w) → (N, C, h/2, w/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` at half its resolution."""
        return self.op(h)


class Upsample(nn.Module):
    """Nearest-neighbour upsampling and a 3×3 convolution: (N, C, h, w) → (N, C, 2h, 2w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` at twice its resolution."""
        return self.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))


class ResidualBlock(nn.Module):
    """Residual block of two normalized 3×3 convolutions, modulated by the embedding.

    Parameters
    ----------
    in_widths : sequence of int
        Channels of the maps that are concatenated to the input.
    out_channels : int
        The skip connection is a 1×1 convolution if this is not the sum of ``in_widths``.
    emb_channels : int
        Width of the embedding.
    dropout : float
        Probability of dropping a feature before the second convolution.
    group_size : int, optional
        Channels of a normalization group; None for 32 groups of any size.
    """

    def __init__(
        self,
        in_widths: Sequence[int],
        out_channels: int,
        emb_channels: int,
        dropout: float = 0.0,
        group_size: int | None = None,
    ) -> None:
        super().__init__()
        in_channels = sum(in_widths)
        self.in_layers = nn.Sequential(
            group_norm(group_size, *in_widths),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels))
        self.out_layers = nn.Sequential(
            group_norm(group_size, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip_connection: nn.Module = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map ``x`` (N, in_channels, h, w) to (N, out_channels, h, w).

        ``emb``, (N, E), is the embedding after SiLU, which is computed once for all blocks. ``x``
        may also be only the first of the concatenated maps; the weights for the others are then
        left out.
        """
        norm, _, conv = self.in_layers  # the norm applies SiLU
        h = _convolve(conv, norm(x, activation=True))
        norm, _, dropout, conv = self.out_layers
        h = conv(dropout(norm(h, self.emb_layers[1](emb), activation=True)))
        return h.add_(_convolve(self.skip_connection, x))


def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution, restricted to the channels that ``x`` has."""
    if isinstance(layer, nn.Conv2d) and x.shape[1] < layer.in_channels:
        weight = layer.weight[:, : x.shape[1]]
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)
    return layer(x)


class AttentionBlock(nn.Module):
    """Multi-head self-attention over all pixels, added to its input.

    The projections are stored as 1-D convolutions, and applied as matrix products over pixels to
    avoid a copy of a channels-last input. ``qkv`` is ordered by head: (heads, 3, C / heads).

    Parameters
    ----------
    channels : int
        Of input and output.
    num_heads : int
        Divides ``channels``.
    group_size : int, optional
        See `ResidualBlock`.

    Raises
    ------
    InputError
        If the channels cannot be split over the heads.
    """

    def __init__(self, channels: int, num_heads: int, group_size: int | None = None) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise InputError(
                f"{channels} channels cannot be split over {num_heads} heads; change num_heads, "
                "base_channels or channel_mult."
            )
        self.num_heads = num_heads
        self.norm = group_norm(group_size, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, C, h, w) to the same shape."""
        n, c, height, width = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (N, L, C)
        qkv = F.linear(pixels, self.qkv.weight[:, :, 0], self.qkv.bias)
        qkv = qkv.view(n, height * width, self.num_heads, 3, c // self.num_heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (N, heads, L, C / heads)
        h = attention(q, k, v).transpose(1, 2).reshape(n, height * width, c)
        h = F.linear(h, self.proj_out.weight[:, :, 0], self.proj_out.bias)
        return x + h.transpose(1, 2).reshape(n, c, height, width)


def group_norm(group_size: int | None, *widths: int) -> GroupNorm:
    """Make the normalization of concatenated maps; ``group_size`` as in `ResidualBlock`."""
    if group_size is None:
        return GroupNorm(32, sum(widths))
    return GroupNorm.of_size(group_size, *widths)


class Stage(nn.ModuleList):
    """Sequence of layers, of which residual blocks also get the embedding."""

    def forward(self, h: Tensor, emb: Tensor, upsample: bool = True) -> Tensor:
        """Apply the layers to ``h`` (N, C, r, r), without `Upsample` if ``upsample`` is False."""
        for layer in self:
            if isinstance(layer, ResidualBlock):
                h = layer(h, emb)
            elif upsample or not isinstance(layer, Upsample):
                h = layer(h)
        return h


@dataclass(frozen=True)
class Architecture:
    """Shape of a U-Net over halving resolutions; builds its stages.

    Raises
    ------
    InputError
        If the image size does not halve often enough, or a width is not positive.
    """

    image_size: int  # full resolution, pixels
    widths: Sequence[int]  # channels of each level, from full resolution down
    emb_channels: int  # width of the embedding
    num_res_blocks: int  # residual blocks per level of the encoder; one more in the decoder
    attention_resolutions: Sequence[int]  # resolutions of the levels with attention, pixels
    num_heads: int
    dropout: float
    group_size: int | None  # see ResidualBlock

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1 or self.num_res_blocks < 1:
            raise InputError(
                f"level widths {list(self.widths)} with {self.num_res_blocks} residual blocks make "
                "no network; give positive multipliers and at least one block."
            )
        if self.group_size is None and (odd := [w for w in self.widths if w % 32]):
            raise InputError(
                f"level widths {odd} do not split into the published network's 32 groups; make "
                "them multiples of 32, or take the default variant."
            )
        divisor = 2 ** (len(self.widths) - 1)
        if self.image_size < 1 or self.image_size % divisor:
            raise InputError(
                f"image_size is {self.image_size}; {len(self.widths)} levels need a multiple of "
                f"{divisor}."
            )

    def encoder(self, in_channels: int) -> tuple[nn.ModuleList, list[int]]:
        """Build the stages from the image to the lowest level; return them and their channels."""
        stages = [Stage([nn.Conv2d(in_channels, self.widths[0], 3, padding=1)])]
        skips = [self.widths[0]]
        for level, width in enumerate(self.widths):
            if level:
                stages.append(Stage([Downsample(skips[-1])]))
                skips.append(skips[-1])
            for _ in range(self.num_res_blocks):
                stages.append(self._stage((skips[-1],), level))
                skips.append(width)
        return nn.ModuleList(stages), skips

    def middle(self) -> Stage:
        """Build the stage between encoder and decoder, at the lowest level."""
        width = self.widths[-1]
        return Stage(
            [
                self._residual((width,), width),
                self._attention(width),
                self._residual((width,), width),
            ]
        )

    def decoder(self, skips: Sequence[int]) -> nn.ModuleList:
        """Build the stages from the lowest level up; ``skips`` as returned by `encoder`."""
        stages = []
        c_in, per_level = self.widths[-1], self.num_res_blocks + 1
        for index, skip in enumerate(reversed(skips)):
            level = len(self.widths) - 1 - index // per_level
            stage = self._stage((c_in, skip), level)
            c_in = self.widths[level]
            if level and index % per_level == per_level - 1:
                stage.append(Upsample(c_in))
            stages.append(stage)
        return nn.ModuleList(stages)

    def _stage(self, in_widths: Sequence[int], level: int) -> Stage:
        stage = Stage([self._residual(in_widths, self.widths[level])])
        if self.image_size >> level in self.attention_resolutions:
            stage.append(self._attention(self.widths[level]))
        return stage

    def _residual(self, in_widths: Sequence[int], c_out: int) -> ResidualBlock:
        return ResidualBlock(in_widths, c_out, self.emb_channels, self.dropout, self.group_size)

    def _attention(self, channels: int) -> AttentionBlock:
        return AttentionBlock(channels, self.num_heads, self.group_size)
