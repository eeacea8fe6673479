"""`ssd derive` and `ssd schedule`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from theory.support.errors import InputError

from ..data.forms import DATA_HELP
from .options import File, OptionalPath, Output


@dataclass(frozen=True)
class DeriveCommand:
    """Derive a resolution schedule from a spectrum, with predicted cost and error.

    Example: ssd derive spectrum.npz -o schedule.json --tolerance 0.1 --report schedule.html
    """

    spectrum: Annotated[Positional[str], arg(metavar="[SPECTRUM]")] = "spectrum.npz"
    """File written by `ssd spectrum`."""
    from_run: Annotated[
        str | None,
        arg(
            metavar="RUN",
            help="Run directory with a result of `ssd information`: use the measured bits in place "
            "of the Gaussian bound, and the spectrum of the run; with criterion information or "
            "bits.",
        ),
    ] = None
    output: Output = "schedule.json"
    """File to write."""
    levels: Annotated[
        tuple[int, ...],
        arg(
            metavar="N | R R/2 …",
            help="Number of resolutions R, R/2, R/4, …, or the resolutions in pixels; by default "
            "as many as the network for R takes.",
        ),
    ] = ()
    criterion: str = "water-filling"
    """`water-filling` attenuates frequencies to zero before they are left out, so that changes are
    lossless for any data; `snr`, `divergence`, `information`, `bits` and `signal-fraction` limit
    what a change discards; `budget` minimizes the error at a given cost."""
    tolerance: Annotated[
        float | None,
        arg(
            help="`water-filling`: from 0 (full resolution) to 1 (default, smallest resolutions). "
            "Others, 0.1 by default: largest discarded snr (`snr`), nats (`divergence`), share of "
            "the information or bits per pixel; for `budget` the mean cost of a network call "
            "relative to full resolution. `signal-fraction` takes none."
        ),
    ] = None
    smoothness: float = 2.0
    """With `water-filling`: exponent of the attenuation, at least 1; larger is smoother."""
    calls: int | None = None
    """With `budget`: number of network calls; optimizes resolutions and steps jointly."""
    changes: Literal["network", "free"] = "network"
    """With --calls: treatment of changes in the plan, see `ssd sample --changes`."""
    noise: Literal["matched", "paper"] = "matched"
    """Noise after a change of resolution: `matched` keeps the snr of the kept band, `paper` the
    noise of the full-resolution chain."""
    operator: str = "dct"
    """How a change downsamples: `dct`, `box`, `bilinear` or `lanczos`."""
    base: Literal["linear", "cosine", "spectrum"] = "linear"
    """Noise schedule of the full-resolution chain; `spectrum` covers the range of the data's
    spectrum."""
    steps: int = 1000
    """Number of diffusion steps T."""
    largest_snr: float | None = None
    """Leave out steps of a larger signal-to-noise ratio; the last prediction is then made there."""
    report: OptionalPath = None
    """Picture or HTML page to write: spectrum, snr and resolution of each step, information; a page
    also shows noisy states of images."""
    images: Annotated[
        str | None,
        arg(
            metavar="DATA",
            help=f"Images whose noisy states a page shows. {DATA_HELP} By default samples of "
            "the Gaussian field of the spectrum.",
        ),
    ] = None

    def run(self) -> None:
        """Run the command."""
        from theory.oracle.plans import plan_sampling
        from theory.oracle.predictions import with_predictions
        from theory.schedule.derivation import default_tolerance, derive_schedule
        from theory.schedule.levels import choose_levels
        from theory.schedule.noise import NoiseSchedule
        from theory.support.files import check_writable

        spectrum, measured = self._sources()
        own = choose_levels(spectrum.resolution)
        given = self.levels[0] if len(self.levels) == 1 else self.levels
        levels = choose_levels(spectrum.resolution, given) if self.levels else own
        check_writable(self.output)
        shown = self._check_report(spectrum)
        base = NoiseSchedule.named(self.base, self.steps, spectrum)
        if self.largest_snr is not None:
            base = base.below(self.largest_snr)
        if self.calls is None:
            schedule = derive_schedule(
                spectrum,
                base,
                levels,
                self.criterion,
                self.tolerance,
                self.smoothness,
                self.noise,
                self.operator,
                measured,
            )
        elif self.criterion != "budget" or self.noise != "matched":
            raise InputError("--calls: goes with --criterion budget and matched noise")
        else:
            schedule = plan_sampling(
                spectrum,
                base,
                levels,
                self.calls,
                default_tolerance("budget") if self.tolerance is None else self.tolerance,
                operator=self.operator,
                changes=self.changes,
            ).schedule
        schedule = with_predictions(schedule, spectrum)
        schedule.save(self.output)
        if self.report is not None:
            self._save_report(self.report, schedule, spectrum, shown)
        _describe(self.output, schedule)
        drawn = "" if self.report is None else f"drawn in {self.report}; "
        if beyond := [level for level in levels if level not in own]:
            print(f"  warning: `ssd train` has no network for levels {beyond}, of {list(own)} only")
        print(f"  {drawn}train on it with `ssd train --schedule {self.output}`")

    def _check_report(self, spectrum: Any) -> Any:
        """Check that the report can be written; return its images in [-1, 1], or None."""
        from theory.plots.schedule import check_picture_name
        from theory.plots.schedule_page import is_page
        from theory.plots.states_section import SHOWN_IMAGES
        from theory.support.files import check_writable

        page = self.report is not None and is_page(self.report)
        if self.images is not None and not page:
            raise InputError("--images: are shown on a page; give --report a name ending in .html")
        if self.report is not None:
            check_picture_name(self.report, page=True)
            check_writable(self.report)
        if self.images is None:
            return None
        from ..data.opening import open_images, to_float
        from ..data.unusable import Skipped

        source = open_images(self.images, spectrum.resolution, limit=SHOWN_IMAGES)
        if source.channels != spectrum.channels:
            raise InputError(
                f"--images {self.images}: have {source.channels} channels, the spectrum "
                f"{spectrum.channels}"
            )
        skipped: list[Skipped] = []
        shown = source.load(skipped=skipped)
        for image in skipped:
            print(f"warning: --images {self.images}: left out {image}", file=sys.stderr)
        return to_float(shown)

    def _save_report(self, path: str, schedule: Any, spectrum: Any, images: Any) -> None:
        from theory.plots.schedule import save_report
        from theory.plots.schedule_page import is_page, save_schedule_page

        if is_page(path):
            save_schedule_page(path, schedule, spectrum, images, self.images or "")
        else:
            save_report(path, schedule, spectrum)

    def _sources(self) -> tuple[Any, Any]:
        """The spectrum, and the measured information of --from-run or None."""
        from theory.spectrum.spectrum import Spectrum

        if self.from_run is None:
            return Spectrum.load(self.spectrum), None
        from theory.information.measured import MeasuredInformation

        if self.criterion not in ("information", "bits"):
            raise InputError("--from-run: goes with --criterion information or bits")
        run = Path(self.from_run)
        spectrum = Spectrum.load(run / "model" / "spectrum.npz")
        return spectrum, MeasuredInformation.load(run / "information.json", spectrum)


@dataclass(frozen=True)
class ScheduleShow:
    """Read a schedule file, check it, and print a summary.

    Example: ssd schedule show schedule.json
    """

    file: Positional[File]
    """Schedule to read."""

    def run(self) -> None:
        """Run the command."""
        from theory.schedule.resolution import ResolutionSchedule

        _describe(self.file, ResolutionSchedule.load(self.file))


@dataclass(frozen=True)
class SchedulePaper:
    """Write one of the paper's named schedules.

    Example: ssd schedule paper ConvexDecay_0.5 --resolution 64 --levels 4 -o paper.json
    """

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """equal, ConvexDecay_GAMMA, SigmoidLikeDecay_GAMMA or TanhLikeDecay_GAMMA."""
    resolution: int = 64
    """Full resolution in pixels."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    noise: Literal["matched", "paper"] = "paper"
    """Noise after a change of resolution, see `ssd derive`."""
    operator: str = "bilinear"
    """How a change downsamples, see `ssd derive`."""
    base: Literal["linear", "cosine"] = "linear"
    """Noise schedule of the full-resolution chain."""
    steps: int = 1000
    """Number of diffusion steps T."""
    output: Output = "schedule.json"
    """File to write."""

    def run(self) -> None:
        """Run the command."""
        from theory.schedule.noise import NoiseSchedule
        from theory.schedule.resolution import ResolutionSchedule

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
    """Show a schedule file, or write one of the paper's schedules.

    For an example of each: `ssd schedule NAME --help`.
    """


SCHEDULES: dict[str, type] = {"show": ScheduleShow, "paper": SchedulePaper}


def _describe(path: str, schedule: Any) -> None:
    from theory.information.divergence import described_divergence

    print(f"{path}: {schedule.num_steps} steps, {schedule.noise_mode} noise, {schedule.operator}")
    bounds = [0, *schedule.changes, schedule.num_steps]
    for start, end in pairwise(bounds):
        print(f"  {schedule.resolutions[start]:4d} px  t = {start} … {end - 1}")
    origin = {k: v for k, v in schedule.derivation.items() if v is not None}
    if origin:
        print(f"  from: {_listed(origin)}")
    predicted = dict(schedule.predicted)
    if (cost := predicted.pop("chain_cost_ratio", None)) is not None:
        model = predicted.pop("cost_model", "the default cost model")
        print(f"  a mean call costs {_short(cost, '.3f')} of one at full resolution ({model})")
    error = predicted.pop("oracle_error", None)
    full = predicted.pop("oracle_error_full_resolution", None)
    beside = "" if full is None else f", at full resolution {_short(full)}"
    if error is not None:
        print(f"  all steps of a perfect denoiser err {_short(error)} (relative W2²){beside}")
    elif full is not None:
        print(f"  the error with operator {schedule.operator} is known at small sizes only{beside}")
    match predicted.pop("change_divergence_nats", None):
        case [int() | float() as gaussian, int() | float() as bound]:
            print(f"  {described_divergence(gaussian, bound)}")
    if predicted:
        print(f"  predicted: {_listed(predicted)}")


def _listed(notes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in notes.items())


def _short(value: Any, form: str = ".4g") -> str:
    if isinstance(value, float):
        return format(value, form)
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, dict):
        return f"({_listed(value)})"
    return str(value)[:12] + "…" if len(str(value)) == 64 else str(value)
