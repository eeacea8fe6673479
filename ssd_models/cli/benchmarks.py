"""`ssd bench …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, subcommand

from theory.errors import InputError

from ..bench.setting import NetworkSetting


@dataclass(frozen=True)
class BenchSchedules:
    """Compare the paper's schedule with derived ones by cost and exact Gaussian error.

    Example: ssd bench schedules faces.npz photos.npz
    """

    spectra: Positional[tuple[str, ...]]
    """Files written by `ssd spectrum`; for several, transfer between them is shown too."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    calls: int = 25
    """Network calls of the plans with few."""
    steps: int = 1000
    """Number of diffusion steps T."""

    def run(self) -> None:
        """Run the command."""
        from ..bench.theory_benches import bench_schedules

        if not self.spectra:
            raise InputError("ssd bench schedules: name at least one spectrum file")
        bench_schedules(self.spectra, self.levels, self.calls, self.steps)


@dataclass(frozen=True)
class BenchPareto:
    """Print the plans that no other beats in both cost and error, on one spectrum.

    Example: ssd bench pareto faces.npz --calls 10 25 50
    """

    spectrum: Positional[str]
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

    def run(self) -> None:
        """Run the command."""
        from ..bench.theory_benches import bench_pareto

        bench_pareto(self.spectrum, self.levels, self.calls, self.costs, self.order, self.steps)


@dataclass(frozen=True)
class BenchSpectrum:
    """Compare the throughput of measuring a spectrum with that of the DCT alone.

    Example: ssd bench spectrum --resolution 64
    """

    resolution: int = 64
    """Side of the images in pixels."""
    batches: int = 4
    """Batches of 1024 images."""
    repeats: int = 5
    """Times of which the median counts."""

    def run(self) -> None:
        """Run the command."""
        from ..bench.theory_benches import bench_spectrum

        bench_spectrum(self.resolution, self.batches, self.repeats)


@dataclass(frozen=True)
class BenchSamplers:
    """Compare samplers by exact Gaussian error and cost, for several numbers of network calls.

    Example: ssd bench samplers faces.npz photos.npz
    """

    spectra: Positional[tuple[str, ...]]
    """Files written by `ssd spectrum`."""
    calls: tuple[int, ...] = (10, 16, 25, 45)
    """Numbers of network calls."""
    tolerance: float = 0.1
    """Of the derived schedule: largest snr in the discarded band."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""

    def run(self) -> None:
        """Run the command."""
        from ..bench.sampling import bench_samplers

        if not self.spectra:
            raise InputError("ssd bench samplers: name at least one spectrum file")
        bench_samplers(self.spectra, self.calls, self.tolerance, self.levels)


@dataclass(frozen=True)
class BenchPosterior:
    """Compare exact posterior noise at a change of resolution with Lanczos iterations per image.

    Example: ssd bench posterior
    """

    operator: Literal["box", "dct", "bilinear", "lanczos"] = "bilinear"
    """How the change downsamples."""
    small: int = 32
    """Side of the smaller state in pixels; the larger has twice that."""
    batch: int = 64
    """Images."""
    channels: int = 3
    """Of each image."""
    iterations: int = 40
    """Of Lanczos, at most."""
    repeats: int = 7
    """Times of which the median counts."""

    def run(self) -> None:
        """Run the command."""
        from ..bench.sampling import bench_posterior

        bench_posterior(
            self.operator, self.small, self.batch, self.channels, self.iterations, self.repeats
        )


@dataclass(frozen=True)
class BenchUnet(NetworkSetting):
    """Measure each path of the network: parameters, FLOP, latency, throughput, memory.

    Example: ssd bench unet --network paper --resolution 64
    """

    def run(self) -> None:
        """Run the command."""
        from ..bench.network import bench_unet

        bench_unet(self)


@dataclass(frozen=True)
class BenchTrain(NetworkSetting):
    """Measure a training step on each path, beside the one-level (DDPM) network of that width.

    Example: ssd bench train --network paper --base-channels 64 --schedule schedule.json
    """

    def run(self) -> None:
        """Run the command."""
        from ..bench.network import bench_train

        bench_train(self)


@dataclass(frozen=True)
class BenchCommand:
    """Measure and compare; every figure that the README quotes comes from here."""

    action: (
        Annotated[BenchSchedules, subcommand("schedules")]
        | Annotated[BenchPareto, subcommand("pareto")]
        | Annotated[BenchSpectrum, subcommand("spectrum")]
        | Annotated[BenchSamplers, subcommand("samplers")]
        | Annotated[BenchPosterior, subcommand("posterior")]
        | Annotated[BenchUnet, subcommand("unet")]
        | Annotated[BenchTrain, subcommand("train")]
    )

    def run(self) -> None:
        """Run the command."""
        self.action.run()
