"""`ssd bench …`: errors that the oracle knows exactly; `performance` has what takes time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from theory.support.errors import InputError

from .options import ReportOutput, SpectrumFile, SpectrumFiles
from .performance import (
    BenchAll,
    BenchGrowth,
    BenchPosterior,
    BenchSampling,
    BenchSpectrum,
    BenchTrain,
    BenchUnet,
)


@dataclass(frozen=True)
class BenchSchedules:
    """Compare the paper's schedule with derived ones by cost and exact Gaussian error.

    Example: ssd bench schedules faces.npz photos.npz
    """

    spectra: Positional[SpectrumFiles]
    """Files written by `ssd spectrum`; for several, transfer between them is shown too."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    calls: int = 25
    """Network calls of the plans with few."""
    steps: int = 1000
    """Number of diffusion steps T."""
    output: ReportOutput = None

    def run(self) -> None:
        """Run the command."""
        from ..bench.oracle_schedules import compare
        from ..bench.report import publish

        if not self.spectra:
            raise InputError("ssd bench schedules: name at least one spectrum file")
        publish(lambda: compare(self.spectra, self.levels, self.calls, self.steps), self.output)


@dataclass(frozen=True)
class BenchPareto:
    """Print the plans that no other beats in both cost and error, on one spectrum.

    Example: ssd bench pareto faces.npz --calls 10 25 50
    """

    spectrum: Positional[SpectrumFile]
    """File written by `ssd spectrum`."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    calls: tuple[int, ...] = (10, 15, 20, 25, 35, 50)
    """Numbers of network calls to try."""
    costs: tuple[float, ...] = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
    """Mean costs of a call to try, in full-resolution calls."""
    order: Literal[1, 2] = 2
    """Of the deterministic solver."""
    steps: int = 1000
    """Number of diffusion steps T."""
    output: ReportOutput = None

    def run(self) -> None:
        """Run the command."""
        from ..bench.oracle_schedules import pareto
        from ..bench.report import publish

        options = (self.levels, self.calls, self.costs, self.order, self.steps)
        publish(lambda: pareto(self.spectrum, *options), self.output)


@dataclass(frozen=True)
class BenchSamplers:
    """Compare samplers by exact Gaussian error and cost, for several numbers of network calls.

    Example: ssd bench samplers faces.npz photos.npz
    """

    spectra: Positional[SpectrumFiles]
    """Files written by `ssd spectrum`."""
    calls: tuple[int, ...] = (10, 16, 25, 45)
    """Numbers of network calls."""
    tolerance: float = 0.1
    """Of the derived schedule: largest snr in the discarded band."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    output: ReportOutput = None

    def run(self) -> None:
        """Run the command."""
        from ..bench.oracle_samplers import measure_samplers
        from ..bench.report import publish

        if not self.spectra:
            raise InputError("ssd bench samplers: name at least one spectrum file")
        options = (self.calls, self.tolerance, self.levels)
        publish(lambda: measure_samplers(self.spectra, *options), self.output)


@dataclass(frozen=True)
class BenchCommand:
    """Measure and compare; every figure that the README quotes comes from here.

    For an example of each: `ssd bench NAME --help`.
    """


BENCHMARKS: dict[str, type] = {
    "schedules": BenchSchedules,
    "pareto": BenchPareto,
    "spectrum": BenchSpectrum,
    "samplers": BenchSamplers,
    "posterior": BenchPosterior,
    "unet": BenchUnet,
    "train": BenchTrain,
    "sampling": BenchSampling,
    "growth": BenchGrowth,
    "all": BenchAll,
}
