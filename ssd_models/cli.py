"""The command line `ssd`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg, subcommand

from theory.errors import InputError

from .config import TrainConfig, read_config

Output = Annotated[str, arg(aliases=["-o"])]


@dataclass(frozen=True)
class SpectrumCommand:
    """Measure the spectrum of a dataset in one pass, or of a part of it.

    Example: ssd spectrum photos/ -o spectrum.npz --resolution 64

    A large dataset in parts, on any machines, then together (as one pass, to the last bit):
    ssd spectrum DATA -o part3.npz --shard 3/16; ssd spectrum merge part*.npz -o spectrum.npz
    """

    data: Positional[str]
    """`photos` (built in), a folder or .zip of images, or an .npz/.npy of uint8 (N, R, R, 3)."""
    output: Output = "spectrum.npz"
    """File to write."""
    resolution: int = 64
    """Side in pixels; larger images are cropped to a square and reduced, smaller ones refused."""
    limit: int | None = None
    """Use that many images, chosen at random."""
    seed: int = 0
    """Of that choice, and of the crops of `photos`."""
    shard: str | None = None
    """Measure part i of n only, written i/n."""
    workers: int = 1
    """Processes; a single one already uses all cores."""

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_writable
        from theory.shards import parse_shard

        shard = None if self.shard is None else parse_shard(self.shard)
        _check_npz(self.output)
        check_writable(self.output)
        from .measuring import measure_spectrum

        spectrum = measure_spectrum(
            self.data, self.resolution, self.limit, self.seed, shard, self.workers, progress=True
        )
        spectrum.save(self.output)
        _describe_spectrum(self.output, spectrum)


@dataclass(frozen=True)
class MergeCommand:
    """Merge spectra: shards of one dataset, or several datasets.

    Example: ssd spectrum merge part1.npz part2.npz -o spectrum.npz
    """

    spectra: Positional[tuple[str, ...]]
    """Files written by `ssd spectrum`."""
    output: Output = "spectrum.npz"
    """File to write."""

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_writable
        from theory.shards import merge_spectra
        from theory.spectrum import Spectrum

        _check_npz(self.output)
        check_writable(self.output)
        for path in self.spectra:
            if self.spectra.count(path) > 1:
                raise InputError(f"{path}: is given twice")
        spectrum, missing = merge_spectra({path: Spectrum.load(path) for path in self.spectra})
        spectrum.save(self.output)
        _describe_spectrum(self.output, spectrum)
        if missing:
            print(f"warning: shards are missing: {', '.join(missing)}")


@dataclass(frozen=True)
class DeriveCommand:
    """Derive a resolution schedule from a spectrum, with predicted cost and error.

    Example: ssd derive spectrum.npz -o schedule.json --tolerance 0.1 --report schedule.png
    """

    spectrum: Positional[str] = "spectrum.npz"
    """File written by `ssd spectrum`."""
    output: Output = "schedule.json"
    """File to write."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    criterion: Literal["snr", "information", "bits", "signal-fraction", "budget"] = "snr"
    """What must be small in the discarded band; or the least error that a budget buys."""
    tolerance: float = 0.1
    """How small: largest snr, share of the information, bits per pixel; or, for `budget`, the mean
    cost of a network call over a full-resolution call. `signal-fraction` takes none."""
    calls: int | None = None
    """With `budget`: plan so many network calls, resolutions and steps together."""
    noise: Literal["matched", "paper"] = "matched"
    """Keep the information of the kept band at a change, or keep the noise."""
    operator: Literal["box", "dct", "bilinear", "lanczos"] = "box"
    """How a change downsamples."""
    base: Literal["linear", "cosine"] = "linear"
    """Noise schedule of the full-resolution chain."""
    steps: int = 1000
    """Number of diffusion steps T."""
    report: str | None = None
    """Picture to write: spectrum, snr with the staircase, information."""

    def run(self) -> None:
        """Run the command."""
        from theory.derive import derive_schedule
        from theory.files import check_writable
        from theory.noise import NoiseSchedule
        from theory.oracle import with_predictions
        from theory.planning import plan_sampling
        from theory.report import check_picture_name, save_report
        from theory.schedules import halved_levels
        from theory.spectrum import Spectrum

        spectrum = Spectrum.load(self.spectrum)
        levels = halved_levels(spectrum.resolution, self.levels)
        check_writable(self.output)
        if self.report is not None:
            check_picture_name(self.report)
            check_writable(self.report)
        base = NoiseSchedule.named(self.base, self.steps)
        if self.calls is None:
            schedule = derive_schedule(
                spectrum,
                base,
                levels,
                self.criterion,
                self.tolerance,
                self.noise,
                self.operator,
            )
        elif self.criterion != "budget" or self.noise != "matched":
            raise InputError("--calls: goes with --criterion budget and matched noise")
        else:
            schedule = plan_sampling(
                spectrum, base, levels, self.calls, self.tolerance, operator=self.operator
            ).schedule
        schedule = with_predictions(schedule, spectrum)
        schedule.save(self.output)
        if self.report is not None:
            save_report(self.report, schedule, spectrum)
        _describe(self.output, schedule)


@dataclass(frozen=True)
class ScheduleShow:
    """Read a schedule file, check it, and print what it says.

    Example: ssd schedule show schedule.json
    """

    file: Positional[str]
    """Schedule to read."""

    def run(self) -> None:
        """Run the command."""
        from theory.schedules import ResolutionSchedule

        _describe(self.file, ResolutionSchedule.load(self.file))


@dataclass(frozen=True)
class SchedulePaper:
    """Write one of the schedules that the paper sets by hand.

    Example: ssd schedule paper ConvexDecay_0.5 --resolution 64 --levels 4 -o paper.json
    """

    name: Positional[str]
    """equal, ConvexDecay_GAMMA, SigmoidLikeDecay_GAMMA or TanhLikeDecay_GAMMA."""
    resolution: int = 64
    """Full resolution in pixels."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    noise: Literal["matched", "paper"] = "paper"
    """Noise after a change."""
    operator: Literal["box", "dct", "bilinear", "lanczos"] = "bilinear"
    """How a change downsamples."""
    base: Literal["linear", "cosine"] = "linear"
    """Noise schedule of the full-resolution chain."""
    steps: int = 1000
    """Number of diffusion steps T."""
    output: Output = "schedule.json"
    """File to write."""

    def run(self) -> None:
        """Run the command."""
        from theory.noise import NoiseSchedule
        from theory.schedules import ResolutionSchedule

        schedule = ResolutionSchedule.paper(
            self.resolution,
            self.levels,
            self.name,
            NoiseSchedule.named(self.base, self.steps),
            self.noise,
            self.operator,
        )
        schedule.save(self.output)
        _describe(self.output, schedule)


@dataclass(frozen=True)
class ScheduleCommand:
    """Read a schedule, or write one of the paper's."""

    action: (
        Annotated[ScheduleShow, subcommand("show")] | Annotated[SchedulePaper, subcommand("paper")]
    )

    def run(self) -> None:
        """Run the command."""
        self.action.run()


_stored: dict[str, Any] = {}  # what --config, or the configuration of a resumed run, says


def _stored_options() -> TrainConfig:
    return TrainConfig(**{name: value for name, value in _stored.items() if name != "data"})


@dataclass(frozen=True)
class TrainCommand:
    """Train a Flexi-UNet on images and a schedule.

    Example: ssd train --data photos/ --schedule schedule.json -o run --steps 20000
    """

    data: str | None = field(default_factory=lambda: _stored.get("data"))
    """Images as in `ssd spectrum`; by default those that the schedule was derived from."""
    schedule: str = "schedule.json"
    """Schedule to train on."""
    output: Output = "run"
    """Run directory to write; must be new unless --resume."""
    config: str | None = None
    """YAML file of the options below; the command line goes before it."""
    resume: bool = False
    """Go on from the last checkpoint, with the run's own schedule and options."""
    resize: bool = False
    """Reduce images that are squares of another size than the schedule's resolution."""
    options: TrainConfig = field(default_factory=_stored_options)

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_new_folder
        from theory.schedules import ResolutionSchedule

        run = Path(self.output)
        schedule = ResolutionSchedule.load(run / "schedule.json" if self.resume else self.schedule)
        data = self.data or schedule.derivation.get("source")
        if not data:
            raise InputError(f"{self.schedule}: does not name its data; give them with --data")
        if not self.resume:
            check_new_folder(run)
        from .data import open_images

        if not (self.resume or self.resize or data == schedule.derivation.get("source")):
            _refuse_other_size(str(data), schedule.resolution, self.schedule)
        source = open_images(
            str(data), schedule.resolution, limit=self.options.limit, seed=self.options.seed
        )
        images = source.load(progress=True)
        from .training import Trainer

        Trainer(images, schedule, run, self.options, str(data), self.resume).train()
        print(f"{run}: trained to step {self.options.steps}; try `ssd sample {run}`")


@dataclass(frozen=True)
class SampleCommand:
    """Generate images with a trained model.

    Example: ssd sample run -n 64 --steps 50 --eta 0 --seed 0 -o samples.png
    """

    run_directory: Annotated[Positional[str], arg(name="run")] = "run"
    """Run directory or model directory."""
    number: Annotated[int, arg(aliases=["-n"])] = 64
    """Number of images."""
    steps: int = 50
    """Network calls; both sides of every change are always visited."""
    eta: float = 0.0
    """0 deterministic, 1 ancestral."""
    seed: int = 0
    """The same seed gives the same images."""
    output: Output = "samples.png"
    """A .png (grid), an .npz (uint8 array `images`), or a new folder of PNG files."""
    batch: int = 64
    """Images that run through the network at once."""

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_new_folder, check_writable
        from theory.posterior import check_eta

        model = Path(self.run_directory)
        if (model / "model").is_dir():
            model = model / "model"
        if not model.is_dir():
            raise InputError(f"{self.run_directory}: no such run; train one with `ssd train`")
        check_eta(self.eta)
        if self.number < 1 or self.batch < 1 or self.seed < 0:
            raise InputError("--number and --batch must be at least 1, --seed at least 0")
        suffix = Path(self.output).suffix.lower()
        if suffix in (".png", ".npz"):
            check_writable(self.output)
        elif suffix:
            raise InputError(f"{self.output}: end in .png or .npz, or name a folder")
        else:
            check_new_folder(self.output)
        import torch

        from .pipeline import ScaleSpacePipeline

        pipeline = ScaleSpacePipeline.from_pretrained(model)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        images = pipeline.to(device)(
            self.number,
            self.steps,
            self.eta,
            torch.Generator().manual_seed(self.seed),
            output_type="np",
            max_batch=self.batch,
            progress=True,
        ).images
        _write_images(images, self.output, suffix)
        calls = len(pipeline.scheduler.timesteps)
        print(f"{self.output}: {self.number} images, {calls} network calls each")


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
        from .bench import bench_schedules

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
        from .bench import bench_pareto

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
        from .bench import bench_spectrum

        bench_spectrum(self.resolution, self.batches, self.repeats)


@dataclass(frozen=True)
class BenchCommand:
    """Measure and compare; every figure that the README quotes comes from here."""

    action: (
        Annotated[BenchSchedules, subcommand("schedules")]
        | Annotated[BenchPareto, subcommand("pareto")]
        | Annotated[BenchSpectrum, subcommand("spectrum")]
    )

    def run(self) -> None:
        """Run the command."""
        self.action.run()


@dataclass(frozen=True)
class DemoCommand:
    """Run the main job on the built-in photographs, end to end, in a few minutes.

    Example: ssd demo -o runs/demo
    """

    output: Output = "runs/demo"
    """New folder for everything that is written."""
    steps: int = 1000
    """Training steps."""
    seed: int = 0
    """Of crops, weights, training and samples."""

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_new_folder

        check_new_folder(self.output)  # before torch is imported
        from .demo import demo

        demo(self.output, self.steps, self.seed)


_MERGE = "spectrum-merge"  # reached as `spectrum merge`; a folder of that name as ./merge

Command = (
    Annotated[SpectrumCommand, subcommand("spectrum")]
    | Annotated[MergeCommand, subcommand(_MERGE)]
    | Annotated[DeriveCommand, subcommand("derive")]
    | Annotated[ScheduleCommand, subcommand("schedule")]
    | Annotated[TrainCommand, subcommand("train")]
    | Annotated[SampleCommand, subcommand("sample")]
    | Annotated[BenchCommand, subcommand("bench")]
    | Annotated[DemoCommand, subcommand("demo")]
)


def main(arguments: list[str] | None = None) -> None:
    """Run `ssd`; exits with code 2 and one line on bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:2] == ["spectrum", "merge"]:
            arguments = [_MERGE, *arguments[2:]]
        _overlay(arguments)
        command: Any = tyro.cli(
            Command,
            prog="ssd",
            description="Derive when a diffusion chain may run small; train and sample on that.",
            args=arguments,
            config=(OmitArgPrefixes, FlagCreatePairsOff),
        )
        command.run()
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os._exit(1)
        print(f"ssd: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ssd: interrupted", file=sys.stderr)
        sys.exit(130)


def _overlay(arguments: list[str]) -> None:
    """Make the options of --config, or of the run to resume, the defaults of the command line."""
    _stored.clear()
    if not arguments or arguments[0] != "train":
        return
    given = dict(pairwise(arguments))
    given.update((a.split("=", 1)[0], a.split("=", 1)[1]) for a in arguments if "=" in a)
    path: str | Path | None = given.get("--config")
    if "--resume" in arguments:
        path = Path(given.get("-o") or given.get("--output") or "run") / "config.yaml"
    if path is not None:
        _stored.update(read_config(path))


def _refuse_other_size(data: str, resolution: int, schedule: str) -> None:
    """Refuse square images of another size: most likely the schedule was made for other data.

    Data that the schedule was derived from pass, as its spectrum was measured at that resolution.
    """
    from .data import open_images

    if data == "photos":
        return
    open_images(data, resolution)  # a wrong path is reported as what it is
    try:
        size = open_images(data, None).resolution
    except InputError:
        return  # not square: there is no size of their own that could be meant
    if size > resolution:
        raise InputError(
            f"{data}: images have {size} px, {schedule} has resolution {resolution}; derive a "
            f"schedule from their spectrum, or reduce them with --resize"
        )


def _write_images(images: Any, output: str, suffix: str) -> None:
    import numpy as np
    from PIL import Image

    from theory.files import atomic_path

    from .data import save_grid

    if suffix == ".npz":
        with atomic_path(output) as temporary:
            np.savez_compressed(temporary, images=images)
    elif suffix == ".png":
        save_grid(images, output)
    else:
        folder = Path(output)
        aside = folder.with_name(f".{folder.name}.partial")
        try:
            aside.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(images):
                Image.fromarray(image).save(aside / f"{i:06d}.png")
            aside.replace(folder)
        finally:
            if aside.is_dir():
                for file in aside.iterdir():
                    file.unlink()
                aside.rmdir()


def _check_npz(path: str) -> None:
    if Path(path).suffix != ".npz":
        raise InputError(f"{path}: a spectrum's file name must end in .npz")


def _describe_spectrum(path: str, spectrum: Any) -> None:
    from theory.spectral_fit import spectral_exponents, spectrum_warnings
    from theory.spectrum import octave_power

    print(f"{path}: {spectrum.count} images of {spectrum.resolution} px")
    total = spectrum.power.sum()
    if total == 0:
        print("warning: the images are all the same")
        return
    share = octave_power(spectrum.power) / total
    print("share of power per octave, lowest first: " + " ".join(f"{v:.4f}" for v in share))
    if spectrum.resolution >= 4:
        print(f"exponent, with 95 % intervals: {spectral_exponents(spectrum)}")
    for warning in spectrum_warnings(spectrum):
        print(f"warning: {warning}")


def _describe(path: str, schedule: Any) -> None:
    print(f"{path}: {schedule.num_steps} steps, {schedule.noise_mode} noise, {schedule.operator}")
    bounds = [0, *schedule.changes, schedule.num_steps]
    for start, end in pairwise(bounds):
        print(f"  {schedule.resolutions[start]:4d} px  t = {start} … {end - 1}")
    origin = {k: v for k, v in schedule.derivation.items() if v is not None}
    for title, notes in (("from", origin), ("predicted", dict(schedule.predicted))):
        if notes:
            print(f"  {title}: " + ", ".join(f"{k} {_short(v)}" for k, v in notes.items()))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)[:12] + "…" if len(str(value)) == 64 else str(value)


if __name__ == "__main__":
    main()
