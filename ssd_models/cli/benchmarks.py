"""`ssd bench …`: exact Gaussian errors of schedules and samplers, and timings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from theory.support.errors import InputError

from ..bench.setting import GrowthSetting, NetworkSetting, SamplingSetting
from .options import Output, ReportOutput, SpectrumFile, SpectrumFiles

if TYPE_CHECKING:
    from ..bench.report import Report


@dataclass(frozen=True)
class _Benchmark(ABC):
    """A command that measures one report, prints it and writes it as JSON."""

    output: ReportOutput = field(default=None, kw_only=True)

    @abstractmethod
    def _report(self) -> Report: ...

    def run(self) -> None:
        """Run the command."""
        from ..bench.report import publish

        publish(self._report, self.output)


@dataclass(frozen=True)
class BenchSchedules(_Benchmark):
    """Compare the paper's schedule with derived ones by cost and exact Gaussian error.

    Example: ssd bench schedules faces.npz photos.npz
    """

    spectra: Positional[SpectrumFiles]
    """Files written by `ssd spectrum`; given several, also the error of each one's schedule on the
    others."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    calls: int = 25
    """Network calls of the rows with few calls."""
    steps: int = 1000
    """Number of diffusion steps T."""

    def _report(self) -> Report:
        from ..bench.oracle_schedules import compare

        if not self.spectra:
            raise InputError("ssd bench schedules: name at least one spectrum file")
        return compare(self.spectra, self.levels, self.calls, self.steps)


@dataclass(frozen=True)
class BenchPareto(_Benchmark):
    """Print the Pareto front of sampling plans in cost and exact Gaussian error, for one spectrum.

    Example: ssd bench pareto faces.npz --calls 10 25 50
    """

    spectrum: Positional[SpectrumFile]
    """File written by `ssd spectrum`."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    calls: tuple[int, ...] = (10, 15, 20, 25, 35, 50)
    """Numbers of network calls to try."""
    costs: tuple[float, ...] = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
    """Mean costs of a network call to try, relative to a call at full resolution."""
    order: Literal[1, 2] = 2
    """Order of the deterministic solver."""
    steps: int = 1000
    """Number of diffusion steps T."""

    def _report(self) -> Report:
        from ..bench.oracle_schedules import pareto

        options = (self.levels, self.calls, self.costs, self.order, self.steps)
        return pareto(self.spectrum, *options)


@dataclass(frozen=True)
class BenchSamplers(_Benchmark):
    """Compare samplers by exact Gaussian error and cost, for several numbers of network calls.

    Example: ssd bench samplers faces.npz photos.npz
    """

    spectra: Positional[SpectrumFiles]
    """Files written by `ssd spectrum`."""
    calls: tuple[int, ...] = (10, 16, 25, 45)
    """Numbers of network calls."""
    tolerance: float = 0.1
    """Tolerance of the derived schedule: largest snr in the discarded band."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""

    def _report(self) -> Report:
        from ..bench.oracle_samplers import measure_samplers

        if not self.spectra:
            raise InputError("ssd bench samplers: name at least one spectrum file")
        return measure_samplers(self.spectra, self.calls, self.tolerance, self.levels)


@dataclass(frozen=True)
class BenchSpectrum(_Benchmark):
    """Compare the throughput of measuring a spectrum with that of the DCT alone.

    Example: ssd bench spectrum --resolution 64 -o spectrum_speed.json
    """

    resolution: int = 64
    """Side of the images in pixels."""
    batches: int = 4
    """Batches of 1024 images."""
    repeats: int = 5
    """Repetitions; their median is reported."""

    def _report(self) -> Report:
        from ..bench.spectrum_speed import measure_spectrum

        return measure_spectrum(self.resolution, self.batches, self.repeats)


@dataclass(frozen=True)
class BenchUnet(_Benchmark):
    """Measure parameters, FLOP, latency, throughput and memory of each path of the network.

    Example: ssd bench unet --network paper --resolution 64
    """

    setting: NetworkSetting = field(default_factory=NetworkSetting)

    def _report(self) -> Report:
        from ..bench.network import measure_unet

        return measure_unet(self.setting)


@dataclass(frozen=True)
class BenchTrain(_Benchmark):
    """Measure a training step on each path, and of the one-level (DDPM) network of equal width.

    Example: ssd bench train --network paper --base-channels 64 --schedule schedule.json
    """

    setting: NetworkSetting = field(default_factory=NetworkSetting)

    def _report(self) -> Report:
        from ..bench.network import measure_train

        return measure_train(self.setting)


@dataclass(frozen=True)
class BenchSampling(_Benchmark):
    """Time whole sampling chains at full resolution, on the paper's and on a derived schedule.

    Example: ssd bench sampling --network paper --base-channels 64 --batch 8 -o sampling.json
    """

    setting: SamplingSetting = field(default_factory=SamplingSetting)

    def _report(self) -> Report:
        from ..bench.sampling_speed import measure_sampling

        return measure_sampling(self.setting)


@dataclass(frozen=True)
class BenchGrowth(_Benchmark):
    """Compute the mean cost of a call by resolution and number of levels, and optionally time it.

    Example: ssd bench growth --measure 32 64 128 -o growth.json
    """

    setting: GrowthSetting = field(default_factory=GrowthSetting)

    def _report(self) -> Report:
        from ..bench.growth import measure_growth

        return measure_growth(self.setting)


@dataclass(frozen=True)
class BenchAll:
    """Run train, unet, sampling, spectrum and growth with small settings, in some minutes.

    Example: ssd bench all -o runs/bench

    On a busy machine set OMP_WAIT_POLICY=passive: threads that spin while they wait for each other
    can take ten times as long there.
    """

    output: Output = "runs/bench"
    """Folder for one JSON file per benchmark; files of the same names are replaced."""

    def run(self) -> None:
        """Run the command."""
        from ..bench.suite import bench_all

        bench_all(self.output)


@dataclass(frozen=True)
class BenchCommand:
    """Benchmarks: exact errors of schedules and samplers, speed of network, training and sampling.

    For an example of each: `ssd bench NAME --help`.
    """


BENCHMARKS: dict[str, type] = {
    "schedules": BenchSchedules,
    "pareto": BenchPareto,
    "spectrum": BenchSpectrum,
    "samplers": BenchSamplers,
    "unet": BenchUnet,
    "train": BenchTrain,
    "sampling": BenchSampling,
    "growth": BenchGrowth,
    "all": BenchAll,
}
