"""Group normalization with the modulation and the SiLU that follow it, and where precision matters.

Groups of 16 channels are what the library's kernels are made for: on a CPU the gradient of a
channels-last bfloat16 map takes 12 times longer with groups of four (128 channels at 64 px).
"""

from __future__ import annotations

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Asked once, at import: torch.compile of torch 2.11 cannot trace the question.
_AUTOCAST_DEVICES = frozenset(
    kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)
)


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Context in which autocast, if any is active on ``device``, is switched off."""
    if device.type in _AUTOCAST_DEVICES:
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


class GroupNorm(nn.GroupNorm):
    """Group normalization whose statistics are float32 or more whatever the precision of its input.

    It also takes the first channels alone, whole groups of them, and then uses their weights only.

    Parameters
    ----------
    num_groups : int
    num_channels : int
        A multiple of ``num_groups``.
    """

    @classmethod
    def of_size(cls, size: int, *widths: int) -> GroupNorm:
        """For joined maps of ``widths`` channels: groups of ``size``, across no joint.

        Narrow maps have smaller groups, four or more of them.
        """
        sizes = [math.gcd(size, width // 4 or 1) for width in widths]
        return cls(sum(widths) // math.gcd(*sizes), sum(widths))

    def forward(
        self, h: Tensor, modulation: Tensor | None = None, activation: bool = False
    ) -> Tensor:
        """Compute ``silu(norm(h) * (1 + scale) + shift)``.

        Parameters
        ----------
        h : (N, C, H, W) tensor
        modulation : (N, 2 C) tensor, optional
            Scale, then shift, per image and channel; without it both are zero.
        activation : bool
            False leaves SiLU out.

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
