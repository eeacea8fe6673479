"""`ssd information`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from theory.support.errors import InputError
from theory.support.seeds import check_seed
from theory.support.tables import text_table

from ..data.forms import DATA_HELP
from .options import OptionalOutput, OptionalPath, Run

INFORMATION_FILE = "information.json"  # in a run directory


@dataclass(frozen=True)
class InformationCommand:
    """Measure the information of noisy states about the clean image with a trained network.

    Example: ssd information run --data photos/ --full run-ddpm --report information.png

    The network's denoising error on held-out images is integrated over steps to bits (I-MMSE) and
    compared with the Gaussian bound of the spectrum, by octave and for the band that each change of
    resolution discards. `ssd derive --from-run run` derives a schedule from the result.
    """

    run_directory: Positional[Run] = "run"
    """Run directory."""
    data: Annotated[
        str | None,
        arg(metavar="DATA", help=f"{DATA_HELP} By default the data that the run was trained on."),
    ] = None
    full: Annotated[str | None, arg(metavar="RUN")] = None
    """Run at full resolution on the same data, to measure the bands that changes discard too."""
    number: Annotated[int, arg(aliases=["-n"])] = 256
    """Most held-out images to use, evenly spread."""
    steps: int = 48
    """Number of steps to measure, evenly spaced in log-snr."""
    seed: int = 0
    """Seed of the noise."""
    batch: int = 64
    """Images per network call."""
    bf16: bool | None = None
    """Run the network in bfloat16; by default if the processor supports it."""
    output: OptionalOutput = None
    """JSON file to write; by default information.json in the run directory."""
    report: OptionalPath = None
    """Picture to write: bits against the bound, by octave, and bits lost at changes."""

    def run(self) -> None:
        """Run the command."""
        from theory.information.measured import losses_at_changes
        from theory.plots.information import save_information_report
        from theory.plots.schedule import check_picture_name
        from theory.support.files import check_writable

        check_seed(self.seed, "--seed")
        if min(self.number, self.batch) < 1 or self.steps < 2:
            raise InputError("-n and --batch must be at least 1, --steps at least 2")
        output = self.output or str(Path(self.run_directory) / INFORMATION_FILE)
        check_writable(output)
        if self.report is not None:
            check_picture_name(self.report)
            check_writable(self.report)
        schedule, measured = self._measure(self.run_directory)
        curves, losses = {"network": measured}, {"network": losses_at_changes(schedule, measured)}
        if self.full is not None:
            twin, other = self._measure(self.full)
            if twin.changes:
                raise InputError(
                    f"--full {self.full}: changes its resolution; give one that does not"
                )
            if other.spectrum.sha256 != measured.spectrum.sha256:
                raise InputError(f"--full {self.full}: was trained on other data")
            curves["full resolution"] = other
            losses["full resolution"] = losses_at_changes(schedule, other)
        measured.save(output)
        if self.report is not None:
            save_information_report(self.report, curves, losses)
        for name, curve in curves.items():
            _print_curve(name, curve)
        _print_losses(losses)
        print(f"\n{output}: {len(measured.steps)} steps on {measured.count} held-out images")

    def _measure(self, run: str) -> tuple[Any, Any]:
        from ..devices import compute_device, use_bf16
        from ..metrics.information import measure_information
        from ..sampling.pipeline import ScaleSpacePipeline
        from ..training.run_data import run_images
        from ..training.splits import evenly_spread

        real = run_images(run, self.data)
        if lacking := real.lacking():
            raise InputError(lacking)
        images = real.held_out
        chosen = images[evenly_spread(len(images), self.number)]
        device = compute_device()
        pipeline = ScaleSpacePipeline.from_pretrained(run).to(device)
        measured = measure_information(
            pipeline,
            chosen,
            self.steps,
            self.seed,
            self.batch,
            use_bf16(device, self.bf16),
            progress=True,
            meta={"source": str(run), "seed": self.seed},
        )
        return pipeline.scheduler.schedule, measured


def _print_curve(name: str, curve: Any) -> None:
    found, bound = curve.octaves()
    pixels = curve.spectrum.resolution**2
    print(
        f"\n{name}: bits per pixel of the full image, found (± 1.96 standard errors) and Gaussian "
        "bound;\nfound over Gaussian by octave, lowest first"
    )
    rows = [["t", "px", "snr", "found", "bound", "octaves"]]
    for i in range(0, len(curve.steps), max(len(curve.steps) // 16, 1)):
        share = [
            f"{a / b:5.2f}" if b > 1e-3 else "    -"
            for a, b in zip(found[i], bound[i], strict=True)
        ]
        spread = 1.96 * curve.standard_error[i] / pixels
        rows.append(
            [
                str(curve.steps[i]),
                str(curve.resolutions[i]),
                f"{curve.snr[i]:.3g}",
                f"{found[i].sum() / pixels:.4f} ± {spread:.4f}",
                f"{bound[i].sum() / pixels:.4f}",
                " ".join(share),
            ]
        )
    print(text_table(rows))


def _print_losses(losses: dict[str, Any]) -> None:
    rows = next(iter(losses.values()))
    if not rows:
        return
    print("\nlost at changes of resolution, bits per image")
    shown = [["t", "change", "Gaussian", *losses]]
    for i, loss in enumerate(rows):
        cells = (f"{found[i].found:.2f}" for found in losses.values())
        change = f"{loss.before}->{loss.after}"
        shown.append([str(loss.step), change, f"{loss.gaussian:.2f}", *cells])
    print(text_table(shown))
