"""Group normalization followed by modulation and SiLU, with float32 statistics under autocast.

PyTorch's kernels are fast for groups of 16 channels: with groups of four the gradient of a
channels-last bfloat16 map takes 12 times longer on a CPU (128 channels at 64 px).
"""

from __future__ import annotations

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Queried at import, as torch.compile of torch 2.11 cannot trace the query.
_AUTOCAST_DEVICES = frozenset(
    kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)
)


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Context that disables autocast on ``device``."""
    if device.type in _AUTOCAST_DEVICES:
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def _group_size(size: int, width: int) -> int:
    """Largest divisor of both numbers that makes at least four groups of ``width`` channels."""
    both = math.gcd(size, width)
    return next(n for n in range(max(width // 4, 1), 0, -1) if both % n == 0)


class GroupNorm(nn.GroupNorm):
    """Group normalization with statistics in float32 or more, whatever the input's dtype.

    The input may also be the first channels only (whole groups); then only their weights are used.

    Parameters
    ----------
    num_groups : int
    num_channels : int
        A multiple of ``num_groups``.
    """

    @classmethod
    def of_size(cls, size: int, *widths: int) -> GroupNorm:
        """Make a normalization of concatenated maps of ``widths`` channels, in groups of ``size``.

        No group extends over two maps. Narrow maps have smaller groups, at least four of them if
        they have as many channels.
        """
        sizes = [_group_size(size, width) for width in widths]
        return cls(sum(widths) // math.gcd(*sizes), sum(widths))

    def forward(
        self, h: Tensor, modulation: Tensor | None = None, activation: bool = False
    ) -> Tensor:
        """Compute ``silu(norm(h) * (1 + scale) + shift)``.

        Parameters
        ----------
        h : (N, C, H, W) tensor
        modulation : (N, 2 C) tensor, optional
            Scale, then shift, per image and channel; both zero by default.
        activation : bool
            Apply SiLU.

        Returns
        -------
        (N, C, H, W) tensor
            In the dtype of ``h``.
        """
        channels = h.shape[1]
        groups = self.num_groups * channels // self.num_channels
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if channels < self.num_channels:
            weight, bias = weight[:channels], bias[:channels]
        with full_precision(h.device):
            # The CPU's kernel reads a bfloat16 map and keeps its statistics in float32.
            precise = torch.promote_types(h.dtype, torch.float32)
            x = h if h.device.type == "cpu" else h.to(precise)
            x = F.group_norm(x, groups, weight.to(precise), bias.to(precise), self.eps)
            x = x.to(h.dtype)
            if modulation is not None:
                scale, shift = modulation.to(h.dtype)[:, :, None, None].chunk(2, dim=1)
                x = (x * (1 + scale)).add_(shift)  # addcmul's gradient takes one pass more
            return F.silu(x) if activation else x
