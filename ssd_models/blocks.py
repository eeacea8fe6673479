"""The parts of the Flexi-UNet: normalization, residual and attention blocks, resizing, time.

Child names (``in_layers``, ``emb_layers``, ``out_layers``, ``skip_connection``, ``norm``, ``qkv``,
``proj_out``, ``op``, ``conv``) are those of guided-diffusion (Dhariwal & Nichol, 2021), so that
state dicts of that family load by name.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from theory.errors import InputError

Module = TypeVar("Module", bound=nn.Module)


def sinusoidal_embedding(t: Tensor, width: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding of step indices, cosines first.

    Args:
        t: step indices, (N,), integer or fractional.
        width: number of features, even.
        max_period: longest period, in steps divided by 2π.

    Returns:
        (N, width) float32: ``cos(t f_k)`` then ``sin(t f_k)``, ``f_k = max_period^(-k/(width/2))``.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    phases = t[:, None].float() * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([phases.cos(), phases.sin()], dim=-1)


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Context in which autocast, if any is active on ``device``, is switched off."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def resized_up(x: Tensor, resolution: int) -> Tensor:
    """Resize ``x`` (N, C, r, r) bilinearly to ``resolution``; the identity where it has it."""
    if x.shape[-1] == resolution:
        return x
    return F.interpolate(x, size=(resolution, resolution), mode="bilinear", align_corners=False)


def zeroed(module: Module) -> Module:
    """Return ``module`` with all its parameters set to zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class GroupNorm(nn.GroupNorm):
    """Group normalization whose statistics are float32 whatever the precision of its input.

    Args:
        channels: channels of the input; at most 32 groups share them.
        min_group: the least number of channels in a group. With one channel a group the mean of
            every feature is normalized away, the colour of the image with it.
    """

    def __init__(self, channels: int, min_group: int = 1) -> None:
        super().__init__(math.gcd(32, channels, max(channels // min_group, 1)), channels)

    def forward(self, h: Tensor) -> Tensor:
        """Normalize ``h`` (N, channels, …); the result has the dtype of ``h``."""
        with full_precision(h.device):
            weight, bias = self.weight.float(), self.bias.float()
            return F.group_norm(h.float(), self.num_groups, weight, bias, self.eps).to(h.dtype)


class Downsample(nn.Module):
    """Halve height and width by a strided 3×3 convolution: (N, C, r, r) → (N, C, r/2, r/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` at half its resolution."""
        return self.op(h)


class Upsample(nn.Module):
    """Double height and width, nearest then a 3×3 convolution: (N, C, r, r) → (N, C, 2r, 2r)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` at twice its resolution."""
        return self.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))


class ResidualBlock(nn.Module):
    """Two normalized 3×3 convolutions around a residual, scaled and shifted by the embedding.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; a 1×1 convolution carries the residual if they differ.
        emb_channels: width of the embedding.
        dropout: probability of dropping a feature before the second convolution.
        min_group: see :class:`GroupNorm`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        dropout: float = 0.0,
        min_group: int = 1,
    ) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            GroupNorm(in_channels, min_group),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm(out_channels, min_group),
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
        """Map ``x`` (N, in_channels, r, r) and ``emb`` (N, E) to (N, out_channels, r, r)."""
        norm, activation, dropout, conv = self.out_layers
        h = self.in_layers(x)
        scale, shift = self.emb_layers(emb).to(h.dtype)[:, :, None, None].chunk(2, dim=1)
        h = norm(h) * (1 + scale) + shift
        return self.skip_connection(x) + conv(dropout(activation(h)))


class AttentionBlock(nn.Module):
    """Multi-head self-attention over all pixels, added to its input.

    The projections are stored as 1-D convolutions and applied as matrix products over pixels, which
    needs no copy of a channels-last input. ``qkv`` is ordered head by head: (heads, 3, C / heads).

    Args:
        channels: channels of input and output.
        num_heads: number of heads, a divisor of ``channels``.
        min_group: see :class:`GroupNorm`.

    Raises:
        InputError: if the channels cannot be split over the heads.
    """

    def __init__(self, channels: int, num_heads: int, min_group: int = 1) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise InputError(
                f"{channels} channels cannot be split over {num_heads} heads; change num_heads, "
                "base_channels or channel_mult."
            )
        self.num_heads = num_heads
        self.norm = GroupNorm(channels, min_group)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, C, r, r) to the same shape."""
        n, c, height, width = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (N, L, C)
        qkv = F.linear(pixels, self.qkv.weight[:, :, 0], self.qkv.bias)
        qkv = qkv.view(n, height * width, self.num_heads, 3, c // self.num_heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (N, heads, L, C / heads)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, height * width, c)
        h = F.linear(h, self.proj_out.weight[:, :, 0], self.proj_out.bias)
        return x + h.transpose(1, 2).reshape(n, c, height, width)


class Stage(nn.ModuleList):
    """Layers in sequence; residual blocks among them see the embedding."""

    def forward(self, h: Tensor, emb: Tensor, upsample: bool = True) -> Tensor:
        """Run the layers on ``h`` (N, C, r, r), leaving out :class:`Upsample` on request."""
        for layer in self:
            if isinstance(layer, ResidualBlock):
                h = layer(h, emb)
            elif upsample or not isinstance(layer, Upsample):
                h = layer(h)
        return h


@dataclass(frozen=True)
class Architecture:
    """Shape of a U-Net over halving resolutions, and the stacks of stages that follow from it.

    Raises:
        InputError: if the image size does not halve often enough, or a width is not positive.
    """

    image_size: int  # full resolution, pixels
    widths: Sequence[int]  # channels of each level, from full resolution down
    emb_channels: int  # width of the embedding
    num_res_blocks: int  # residual blocks a level in the encoder, one more in the decoder
    attention_resolutions: Sequence[int]  # resolutions of the levels with attention, pixels
    num_heads: int
    dropout: float
    min_group: int  # see GroupNorm

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1 or self.num_res_blocks < 1:
            raise InputError(
                f"level widths {list(self.widths)} with {self.num_res_blocks} residual blocks make "
                "no network; give positive multipliers and at least one block."
            )
        divisor = 2 ** (len(self.widths) - 1)
        if self.image_size < 1 or self.image_size % divisor:
            raise InputError(
                f"image_size is {self.image_size}; {len(self.widths)} levels need a multiple of "
                f"{divisor}."
            )

    def encoder(self, in_channels: int) -> tuple[nn.ModuleList, list[int]]:
        """Stages from the image to the bottom, and the channels that each of them puts out."""
        stages = [Stage([nn.Conv2d(in_channels, self.widths[0], 3, padding=1)])]
        skips = [self.widths[0]]
        for level, width in enumerate(self.widths):
            if level:
                stages.append(Stage([Downsample(skips[-1])]))
                skips.append(skips[-1])
            for _ in range(self.num_res_blocks):
                stages.append(self._stage(skips[-1], level))
                skips.append(width)
        return nn.ModuleList(stages), skips

    def middle(self) -> Stage:
        """The stage at the bottom, between encoder and decoder."""
        width = self.widths[-1]
        return Stage(
            [self._residual(width, width), self._attention(width), self._residual(width, width)]
        )

    def decoder(self, skips: Sequence[int]) -> nn.ModuleList:
        """Stages from the bottom to full resolution; ``skips`` as from :meth:`encoder`."""
        stages = []
        c_in, per_level = self.widths[-1], self.num_res_blocks + 1
        for index, skip in enumerate(reversed(skips)):
            level = len(self.widths) - 1 - index // per_level
            stage = self._stage(c_in + skip, level)
            c_in = self.widths[level]
            if level and index % per_level == per_level - 1:
                stage.append(Upsample(c_in))
            stages.append(stage)
        return nn.ModuleList(stages)

    def _stage(self, c_in: int, level: int) -> Stage:
        stage = Stage([self._residual(c_in, self.widths[level])])
        if self.image_size >> level in self.attention_resolutions:
            stage.append(self._attention(self.widths[level]))
        return stage

    def _residual(self, c_in: int, c_out: int) -> ResidualBlock:
        return ResidualBlock(c_in, c_out, self.emb_channels, self.dropout, self.min_group)

    def _attention(self, channels: int) -> AttentionBlock:
        return AttentionBlock(channels, self.num_heads, self.min_group)
