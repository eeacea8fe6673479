"""`ssd bench …`: what takes how long, printed and, with -o, written as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..bench.setting import GrowthSetting, NetworkSetting, SamplingSetting
from .options import Output, ReportOutput


@dataclass(frozen=True)
class BenchSpectrum:
    """Compare the throughput of measuring a spectrum with that of the DCT alone.

    Example: ssd bench spectrum --resolution 64 -o spectrum_speed.json
    """

    resolution: int = 64
    """Side of the images in pixels."""
    batches: int = 4
    """Batches of 1024 images."""
    repeats: int = 5
    """Times of which the median counts."""
    output: ReportOutput = None

    def run(self) -> None:
        """Run the command."""
        from ..bench.report import publish
        from ..bench.spectrum_speed import measure_spectrum

        publish(lambda: measure_spectrum(self.resolution, self.batches, self.repeats), self.output)


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
    output: ReportOutput = None

    def run(self) -> None:
        """Run the command."""
        from ..bench.posterior_speed import measure_posterior
        from ..bench.report import publish

        sizes = (self.small, self.batch, self.channels, self.iterations, self.repeats)
        publish(lambda: measure_posterior(self.operator, *sizes), self.output)


@dataclass(frozen=True)
class BenchUnet:
    """Measure each path of the network: parameters, FLOP, latency, throughput, memory.

    Example: ssd bench unet --network paper --resolution 64
    """

    output: ReportOutput = None
    setting: NetworkSetting = field(default_factory=NetworkSetting)

    def run(self) -> None:
        """Run the command."""
        from ..bench.network import measure_unet
        from ..bench.report import publish

        publish(lambda: measure_unet(self.setting), self.output)


@dataclass(frozen=True)
class BenchTrain:
    """Measure a training step on each path, beside the one-level (DDPM) network of that width.

    Example: ssd bench train --network paper --base-channels 64 --schedule schedule.json
    """

    output: ReportOutput = None
    setting: NetworkSetting = field(default_factory=NetworkSetting)

    def run(self) -> None:
        """Run the command."""
        from ..bench.network import measure_train
        from ..bench.report import publish

        publish(lambda: measure_train(self.setting), self.output)


@dataclass(frozen=True)
class BenchSampling:
    """Time whole sampling pipelines: one level, the paper's schedule, a derived one; several calls.

    Example: ssd bench sampling --network paper --base-channels 64 --batch 8 -o sampling.json
    """

    output: ReportOutput = None
    setting: SamplingSetting = field(default_factory=SamplingSetting)

    def run(self) -> None:
        """Run the command."""
        from ..bench.report import publish
        from ..bench.sampling_speed import measure_sampling

        publish(lambda: measure_sampling(self.setting), self.output)


@dataclass(frozen=True)
class BenchGrowth:
    """Count what a mean call costs by resolution and number of levels; time it where asked.

    Example: ssd bench growth --measure 32 64 128 -o growth.json
    """

    output: ReportOutput = None
    setting: GrowthSetting = field(default_factory=GrowthSetting)

    def run(self) -> None:
        """Run the command."""
        from ..bench.growth import measure_growth
        from ..bench.report import publish

        publish(lambda: measure_growth(self.setting), self.output)


@dataclass(frozen=True)
class BenchAll:
    """Run train, unet, sampling, posterior, spectrum and growth, modestly: some minutes.

    Example: ssd bench all -o runs/bench

    Beside other work set OMP_WAIT_POLICY=passive: threads that wait busily for each other can take
    ten times as long then.
    """

    output: Output = "runs/bench"
    """Folder for one JSON file a part; files of the same names are replaced."""

    def run(self) -> None:
        """Run the command."""
        from ..bench.suite import bench_all

        bench_all(self.output)
