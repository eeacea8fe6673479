"""Measurements of samplers: their exact error by steps and cost, and the speed of their noise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from theory.costs import chain_costs
from theory.derive import derive_schedule
from theory.errors import InputError
from theory.noise import NoiseSchedule
from theory.oracle import oracle_report
from theory.planning import plan_sampling
from theory.schedules import ResolutionSchedule, halved_levels
from theory.spacing import select_steps
from theory.spectrum import Spectrum

from ..degradation import SeparableDegradation
from ..process import ScaleSpaceProcess
from .timing import median_seconds

Costs = Mapping[tuple[int, int], float]
_PLANNED_COST = 0.5  # of a mean call of plans that choose the schedule too


@dataclass(frozen=True)
class _Row:
    name: str
    order: int
    eta: float
    spacing: str
    changes: str
    variance: bool = False


_ROWS = (
    _Row("ancestral", 1, 1.0, "logsnr", "network"),
    _Row("ancestral, spectral variance", 1, 1.0, "logsnr", "network", True),
    _Row("DDIM", 1, 0.0, "logsnr", "network"),
    _Row("DPM-Solver++(2M)", 2, 0.0, "uniform", "network"),
    _Row("DPM-Solver++(2M)", 2, 0.0, "edm", "network"),
    _Row("DPM-Solver++(2M)", 2, 0.0, "logsnr", "network"),
    _Row("DPM-Solver++(2M)", 2, 0.0, "planned", "network"),
    _Row("DPM-Solver++(2M)", 2, 0.0, "logsnr", "free"),
    _Row("DPM-Solver++(2M)", 2, 0.0, "planned", "free"),
)


def bench_samplers(
    paths: Sequence[str], calls: Sequence[int], tolerance: float, num_levels: int
) -> None:
    """Print the exact Gaussian error and the cost of samplers by their number of network calls."""
    noise = NoiseSchedule.linear()
    print(
        "Oracle, relative W2² (cost of all calls, those at changes too, in full-resolution calls\n"
        f"of the paper's network); linear noise, T = 1000, {num_levels} levels. A chain that must "
        "visit more steps\nthan asked is left out."
    )
    for path in paths:
        spectrum = Spectrum.load(path)
        levels = halved_levels(spectrum.resolution, num_levels)
        table = chain_costs(levels)[1]
        schedule = derive_schedule(spectrum, noise, levels, tolerance=tolerance)
        print(f"\n{path}: {spectrum.count} images, {spectrum.resolution} px")
        for name, chain in (
            ("DDPM, full resolution", ResolutionSchedule.full_resolution(levels[0], noise)),
            ("paper", ResolutionSchedule.paper(levels[0], num_levels, "ConvexDecay_0.5", noise)),
            (f"derived, snr <= {tolerance:g}", schedule),
        ):
            error = oracle_report(chain, spectrum).relative_w2
            changes = " ".join(str(t) for t in chain.changes) or "none"
            cost = chain.chain_cost(table) * len(noise)
            print(f"  {name}, 1000 ancestral steps: {error:.2e} ({cost:.0f}), changes at {changes}")
        print("  on the derived schedule, matched noise:")
        head = _cells(f"{n} calls" for n in calls)
        print(f"  {'sampler':29s} {'spacing':8s} {'changes':8s}" + head)
        for row in _ROWS:
            shown = [_evaluate(row, schedule, spectrum, table, n) for n in calls]
            print(f"  {row.name:29s} {row.spacing:8s} {row.changes:8s}" + _cells(shown))
        print(f"  schedule and steps planned together, mean call at most {_PLANNED_COST:g}:")
        for changes in ("network", "free"):
            shown = [_plan(spectrum, noise, levels, n, changes) for n in calls]
            print(f"  {'DPM-Solver++(2M)':29s} {'planned':8s} {changes:8s}" + _cells(shown))


def _cells(texts: Iterable[str]) -> str:
    return "".join(f" {text:>16s}" for text in texts)


def _evaluate(
    row: _Row, schedule: ResolutionSchedule, spectrum: Spectrum, table: Costs, calls: int
) -> str:
    steps = select_steps(schedule, calls, row.spacing, row.changes, spectrum, row.order, row.eta)
    if len(steps) != calls:
        return "-"
    report = oracle_report(
        schedule,
        spectrum,
        steps,
        row.eta,
        order=row.order,
        spectral_variance=row.variance,
        changes=row.changes,
    )
    return f"{report.relative_w2:.1e} ({chain_cost(schedule, steps, row.changes, table):.2f})"


def _plan(
    spectrum: Spectrum, noise: NoiseSchedule, levels: Sequence[int], calls: int, changes: str
) -> str:
    try:
        plan = plan_sampling(spectrum, noise, levels, calls, _PLANNED_COST, changes=changes)
    except InputError:
        return "-"
    return f"{plan.error:.1e} ({plan.cost:.2f})"


def chain_cost(
    schedule: ResolutionSchedule, steps: Sequence[int], changes: str, table: Costs
) -> float:
    """Cost of all network calls of a chain, in the unit of ``table``.

    Parameters
    ----------
    schedule : ResolutionSchedule
    steps : sequence of int, falling
    changes : {"network", "free"}
    table : mapping
        ``{(resolution in, resolution out): cost}``, see `theory.costs.chain_costs`.
    """
    at = [int(r) for r in schedule.resolutions[list(steps)]]
    if changes == "free":
        return sum(table[r, r] for r in at)
    return sum(table[pair] for pair in pairwise([*at, schedule.resolution]))


def bench_posterior(
    operator: str, small: int, batch: int, channels: int, iterations: int, repeats: int
) -> None:
    """Print the time of posterior noise at a change, exact and by Lanczos iterations an image."""
    if min(small, batch, channels, iterations, repeats) < 1:
        raise InputError("bench posterior: every number must be at least 1")
    noise = NoiseSchedule.linear()
    resolutions = np.repeat([2 * small, small], 500)
    schedule = ResolutionSchedule.from_noise(resolutions, noise, "paper", operator)
    process, t, s = ScaleSpaceProcess(schedule), 500, 499
    white = torch.randn(
        (batch, channels, 2 * small, 2 * small), generator=torch.Generator().manual_seed(0)
    )
    print(
        f"noise of the posterior at {small} -> {2 * small} px, {operator}, paper noise, batch "
        f"{batch} x {channels}, float32; {torch.get_num_threads()} threads of {os.cpu_count()}, "
        f"median of {repeats}"
    )
    jobs = {
        "exact, batched": lambda: process.posterior_noise(white, t, s),
        f"{iterations} Lanczos iterations an image": lambda: _lanczos_noise(
            process, white, t, s, iterations
        ),
    }
    exact, iterated = (job() for job in jobs.values())
    medians = median_seconds(jobs, repeats)
    fastest = min(medians.values())
    for name, median in medians.items():
        print(f"  {name:34s} {1000 * median:9.2f} ms  {median / fastest:7.1f}")
    off = float((exact - iterated).abs().max() / exact.abs().max())
    print(f"  largest difference between the two, over the largest value: {off:.1e}")


def _lanczos_noise(
    process: ScaleSpaceProcess, white: Tensor, t: int, s: int, iterations: int
) -> Tensor:
    """``sqrt(σ_s² I − κ² σ_t² MᵀM) ξ`` for one image after another, as done without the SVD of M.

    Lanczos iterations on the covariance, reorthogonalized, all channels of an image one vector.
    """
    schedule, degradation = process.schedule, process.degradation(s, t)
    assert isinstance(degradation, SeparableDegradation)
    variance = float(schedule.sigma[s]) ** 2
    kappa = float(schedule.alpha[t] / schedule.alpha[s]) * variance / float(schedule.sigma[t]) ** 2
    share = (kappa * float(schedule.sigma[t])) ** 2

    def covariance(x: Tensor) -> Tensor:
        return variance * x - share * degradation.adjoint(degradation.forward(x))

    out = []
    for image in white:
        norm = image.norm()
        basis = [(image / norm).reshape(-1)]
        diagonal, off = [], []
        for _ in range(iterations):
            w = covariance(basis[-1].reshape(image.shape)).reshape(-1)
            diagonal.append(w @ basis[-1])
            known = torch.stack(basis)
            w = w - known.T @ (known @ w)
            off.append(w.norm())
            if off[-1] < 1e-6 * variance:
                break
            basis.append(w / off[-1])
        k = len(diagonal)
        matrix = torch.diag(torch.stack(diagonal))
        if k > 1:
            side = torch.stack(off[: k - 1])
            matrix = matrix + torch.diag(side, 1) + torch.diag(side, -1)
        values, vectors = torch.linalg.eigh(matrix)
        weights = vectors @ (values.clamp_min(0).sqrt() * vectors[0])
        out.append((norm * (weights @ torch.stack(basis[:k]))).reshape(image.shape))
    return torch.stack(out)
