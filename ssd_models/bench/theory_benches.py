"""The measurements behind `ssd bench`: each prints its setting and compares in one run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.fft import dctn
from tqdm import tqdm

from theory.comparison import compare_schedules, transfer_errors
from theory.errors import InputError
from theory.noise import NoiseSchedule
from theory.planning import pareto_front
from theory.schedules import halved_levels
from theory.spectrum import Spectrum

from .timing import Job, median_seconds


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


def bench_pareto(
    path: str,
    num_levels: int,
    calls: Sequence[int],
    costs: Sequence[float],
    order: int,
    steps: int,
) -> None:
    """Print the Pareto front of sampling plans on one spectrum."""
    spectrum, noise = Spectrum.load(path), NoiseSchedule.linear(steps)
    levels = halved_levels(spectrum.resolution, num_levels)
    shown = tqdm(calls, unit="number of calls", leave=False, disable=not sys.stderr.isatty())
    front = pareto_front(spectrum, noise, levels, shown, costs, order)
    if not front:
        raise InputError("bench pareto: no chain is that cheap; raise --costs or --calls")
    print(
        f"{path}: {spectrum.resolution} px, {num_levels} levels, linear noise, T = {steps}, "
        f"order {order}.\nCost in full-resolution calls of the paper's network; error: relative "
        "W2²."
    )
    print(f"{'calls':>5s} {'cost':>7s} {'error':>9s}  changes at")
    for plan in front:
        changes = ", ".join(f"{t}: {a}->{b}" for t, (a, b) in plan.schedule.changes.items())
        print(f"{plan.num_calls:5d} {plan.cost:7.2f} {plan.error:9.2e}  {changes or '-'}")


def bench_spectrum(resolution: int, batches: int, repeats: int) -> None:
    """Print images per second of `Spectrum.from_images` and of `scipy.fft.dctn` on the same."""
    if min(resolution, batches, repeats) < 1:
        raise InputError("bench spectrum: resolution, batches and repeats must be at least 1")
    rng = np.random.default_rng(0)
    shape = (1024, resolution, resolution, 3)
    print(
        f"{batches} batches of 1024 images, {resolution} px, 3 channels; {os.cpu_count()} cores; "
        f"median of {repeats} turns"
    )
    print(f"{'input':8s} {'measured':28s} {'images/s':>9s} {'over dctn':>9s}")
    for dtype in (np.float32, np.float64):
        images = [rng.uniform(-1, 1, shape).astype(dtype) for _ in range(batches)]
        rates = {
            name: 1024 * batches / seconds for name, seconds in _medians(images, repeats).items()
        }
        for name, rate in rates.items():
            ratio = rate / rates["scipy.fft.dctn"]
            print(f"{np.dtype(dtype).name:8s} {name:28s} {rate:9.0f} {ratio:9.2f}")


def _medians(images: list[np.ndarray], repeats: int) -> dict[str, float]:
    """Median seconds of the DCT and of the spectrum."""
    jobs: dict[str, Job] = {
        "scipy.fft.dctn": lambda: [dctn(x, axes=(1, 2), norm="ortho") for x in images],
        "scipy.fft.dctn, all cores": lambda: [
            dctn(x, axes=(1, 2), norm="ortho", workers=-1) for x in images
        ],
        "spectrum, one thread": lambda: Spectrum.from_images(images, threads=1),
        "spectrum": lambda: Spectrum.from_images(images),
    }
    return median_seconds(jobs, repeats)
