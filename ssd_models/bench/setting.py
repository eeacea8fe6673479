"""What the benchmarks of the network measure; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from theory.support.errors import InputError


@dataclass(frozen=True)
class ComputeSetting:
    """Widths, batch and precision of a measurement."""

    network: Literal["small", "paper"] = "small"
    """Widths; the resolution does the rest."""
    base_channels: int | None = None
    """Channels of multiplier 1, in place of the network's own."""
    batch: int = 16
    """Images."""
    bf16: bool | None = None
    """Bfloat16 autocast; by default where the processor computes in it."""
    compile: bool | None = None
    """`torch.compile`; by default on GPUs."""
    repeats: int = 5
    """Turns, of which the median counts."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        if min(self.batch, self.repeats) < 1:
            raise InputError("bench: batch and repeats must be at least 1")


@dataclass(frozen=True)
class NetworkSetting(ComputeSetting):
    """One network with several levels, and the schedule that uses it."""

    resolution: int = 64
    """Full resolution in pixels."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    schedule: str | None = None
    """Schedule whose steps make the mixture; by default the paper's ConvexDecay_0.5."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        super().check()
        if min(self.resolution, self.levels) < 1:
            raise InputError("bench: resolution and levels must be at least 1")


@dataclass(frozen=True)
class SamplingSetting(NetworkSetting):
    """Chains that sample with one network."""

    schedule: str | None = None
    """Schedule in the place of the derived one."""
    exponent: float = 2.0
    """Fall-off of the power law that the derived schedule is derived on; 2: near photographs."""
    calls: tuple[int, ...] = (50, 20)
    """Network calls of the second-order sampler. The ancestral one makes all 1000."""
    timed: int = 40
    """Of the ancestral steps, so many are timed, evenly in t, and the time is scaled."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        super().check()
        if not all(1 <= calls <= 1000 for calls in (*self.calls, self.timed)):
            raise InputError("bench sampling: --calls and --timed must lie between 1 and 1000")


@dataclass(frozen=True)
class GrowthSetting(ComputeSetting):
    """Resolutions and data on which costs are compared; widths and batch are of what is timed."""

    batch: int = 4
    """Images."""
    resolutions: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Full resolutions in pixels, of which the FLOP of the paper's networks are counted."""
    measure: tuple[int, ...] = ()
    """Full resolutions at which networks of the widths above are timed as well."""
    exponent: float = 2.0
    """Fall-off of the power law that schedules are derived on; 2: near photographs."""
    spectrum: str | None = None
    """File written by `ssd spectrum` in its place; resolutions above its own are left out."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        super().check()
        if not self.resolutions or min(self.resolutions + self.measure) < 2:
            raise InputError("bench growth: --resolutions and --measure need 2 pixels at least")
