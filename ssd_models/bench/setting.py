"""Settings of the network benchmarks; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from theory.support.errors import InputError


@dataclass(frozen=True)
class ComputeSetting:
    """Widths, batch and precision of a measurement."""

    network: Literal["small", "paper"] = "small"
    """Widths of the network; the rest follows from the resolution."""
    base_channels: int | None = None
    """Channels at width multiplier 1; by default the network's own."""
    batch: int = 16
    """Images per batch."""
    bf16: bool | None = None
    """Bfloat16 autocast; by default if the processor supports it."""
    compile: bool | None = None
    """`torch.compile`; by default on GPUs."""
    repeats: int = 5
    """Repetitions; their median is reported."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        if min(self.batch, self.repeats) < 1:
            raise InputError("bench: batch and repeats must be at least 1")


@dataclass(frozen=True)
class NetworkSetting(ComputeSetting):
    """A network of several levels and a schedule on it."""

    resolution: int = 64
    """Full resolution in pixels."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    schedule: str | None = None
    """Schedule file whose steps weight the paths; by default the paper's ConvexDecay_0.5."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        super().check()
        if min(self.resolution, self.levels) < 1:
            raise InputError("bench: resolution and levels must be at least 1")


@dataclass(frozen=True)
class SamplingSetting(NetworkSetting):
    """Sampling chains of one network."""

    schedule: str | None = None
    """Schedule file in place of the derived schedule."""
    exponent: float = 2.0
    """Exponent of the power law that the schedule is derived from; 2: close to photographs."""
    calls: tuple[int, ...] = (50, 20)
    """Network calls of the second-order sampler; ancestral sampling uses all 1000 steps."""
    timed: int = 40
    """Number of ancestral steps to time, evenly spaced in t; the time is scaled to all steps."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        super().check()
        if not all(1 <= calls <= 1000 for calls in (*self.calls, self.timed)):
            raise InputError("bench sampling: --calls and --timed must lie between 1 and 1000")


@dataclass(frozen=True)
class GrowthSetting(ComputeSetting):
    """Resolutions and data of a cost comparison; widths and batch apply to timings only."""

    batch: int = 4
    """Images per batch."""
    resolutions: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Full resolutions in pixels for which the FLOP of the paper's networks are computed."""
    measure: tuple[int, ...] = ()
    """Full resolutions at which networks of the widths above are also timed."""
    exponent: float = 2.0
    """Exponent of the power law that schedules are derived from; 2: close to photographs."""
    spectrum: str | None = None
    """Spectrum file in place of the power law; resolutions above its own are left out."""

    def check(self) -> None:
        """Raise `InputError` for numbers that cannot be measured."""
        super().check()
        if not self.resolutions or min(self.resolutions + self.measure) < 2:
            raise InputError("bench growth: --resolutions and --measure need 2 pixels at least")
