"""The measurements behind `ssd bench`: each prints its setting and compares in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from theory.comparison import compare_schedules, transfer_errors
from theory.errors import InputError
from theory.noise import NoiseSchedule
from theory.schedules import halved_levels
from theory.spectrum import Spectrum


def bench_schedules(paths: Sequence[str], num_levels: int, calls: int, steps: int) -> None:
    """Print cost and exact Gaussian error of schedules on each spectrum, and transfer between."""
    noise = NoiseSchedule.linear(steps)
    spectra = {_name(path, paths): Spectrum.load(path) for path in paths}
    print(
        f"Oracle, relative W2²; linear noise, T = {steps}, {num_levels} levels. Chains of all "
        "steps are ancestral,\nplans of few calls deterministic. Cost in full-resolution calls of "
        "the paper's network.\n`times less`: the paper's error over this one."
    )
    for name, spectrum in spectra.items():
        rows = compare_schedules(spectrum, noise, num_levels, calls)
        paper = next(row for row in rows if row.name.startswith("paper"))
        print(f"\n{name}: {spectrum.count} images, {spectrum.resolution} px")
        print(f"  {'schedule':30s} {'calls':>5s} {'cost':>7s} {'error':>9s} {'times less':>10s}")
        for row in rows:
            changes = " ".join(str(t) for t in row.schedule.changes)
            print(
                f"  {row.name:30s} {row.calls:5d} {row.cost:7.1f} {row.error:9.2e} "
                f"{paper.error / row.error:10.1f}  changes at {changes or '-'}"
            )
    if len(spectra) > 1:
        _print_transfer(spectra, noise, num_levels)


def _print_transfer(spectra: dict[str, Spectrum], noise: NoiseSchedule, num_levels: int) -> None:
    sizes = {spectrum.resolution for spectrum in spectra.values()}
    if len(sizes) > 1:
        print("\nno transfer: the spectra have different resolutions")
        return
    costs, errors = transfer_errors(spectra, noise, halved_levels(sizes.pop(), num_levels))
    print(
        "\nTransfer, snr <= 0.1: error on the data of a column of the schedule derived on a row's"
    )
    print(f"  {'derived on':24s} {'cost':>6s} " + " ".join(f"{name[:12]:>12s}" for name in spectra))
    for name, cost, row in zip(spectra, costs, errors, strict=True):
        print(f"  {name[:24]:24s} {cost:6.3f} " + " ".join(f"{error:12.2e}" for error in row))


def _name(path: str, paths: Sequence[str]) -> str:
    """File's stem, or the path where stems are not distinct."""
    if list(paths).count(path) > 1:
        raise InputError(f"{path}: is given twice")
    stem = Path(path).stem
    return stem if [Path(p).stem for p in paths].count(stem) == 1 else path
