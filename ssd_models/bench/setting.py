"""What `ssd bench unet` and `ssd bench train` measure; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from theory.errors import InputError


@dataclass(frozen=True)
class NetworkSetting:
    """Network, batch, precision and schedule of a measurement."""

    network: Literal["small", "paper"] = "small"
    """Widths; the resolution does the rest."""
    resolution: int = 64
    """Full resolution in pixels."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    base_channels: int | None = None
    """Channels of multiplier 1, in place of the network's own."""
    batch: int = 16
    """Images."""
    bf16: bool | None = None
    """Bfloat16 autocast; by default where the processor computes in it."""
    compile: bool | None = None
    """`torch.compile`; by default on GPUs."""
    schedule: str | None = None
    """Schedule whose steps make the mixture; by default the paper's ConvexDecay_0.5."""
    public: str | None = None
    """Folder of a checkout of the paper's public code, to run it (its Python code!) beside ours."""
    repeats: int = 5
    """Turns, of which the median counts."""

    def check(self) -> None:
        """Refuse numbers that cannot be measured with `InputError`."""
        if min(self.resolution, self.levels, self.batch, self.repeats) < 1:
            raise InputError("bench: resolution, levels, batch and repeats must be at least 1")
