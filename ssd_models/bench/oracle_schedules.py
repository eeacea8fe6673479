"""`ssd bench schedules` and `ssd bench pareto`: cost and exact Gaussian error of schedules."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from theory.oracle.plans import pareto_front, plan_sampling
from theory.oracle.report import oracle_errors, oracle_report
from theory.schedule.costs import chain_costs
from theory.schedule.derivation import derive_schedule
from theory.schedule.levels import halved_levels
from theory.schedule.noise import NoiseSchedule
from theory.schedule.paper import PAPER
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .machine import machine
from .report import Report, Row, Table
from .schedules import changes_json, changes_text


def compare(paths: Sequence[str], num_levels: int, calls: int, steps: int) -> Report:
    """Cost and exact Gaussian error of schedules on each spectrum, and transfer between spectra."""
    noise = NoiseSchedule.linear(steps)
    spectra = {_name(path, paths): Spectrum.load(path) for path in paths}
    tables = [
        Table(
            f"schedules {name}",
            compare_schedules(spectrum, noise, num_levels, calls),
            f"{name}: {spectrum.count} images, {spectrum.resolution} px",
            {"changes": " ".join},
        )
        for name, spectrum in spectra.items()
    ]
    heading = (
        f"Oracle, relative W2²; linear noise, T = {steps}, {num_levels} levels. Chains of all "
        "steps are ancestral,\nplans of few calls deterministic. Cost in full-resolution calls "
        "of the paper's network.\n`times less`: the paper's error over this one."
    )
    if len({spectrum.resolution for spectrum in spectra.values()}) > 1:
        heading += "\nNo transfer: the spectra have different resolutions."
    elif len(spectra) > 1:
        tables.append(_transfer(spectra, noise, num_levels))
    return Report(
        benchmark="schedules",
        heading=heading,
        setting={
            "spectra": {name: _described(spectrum) for name, spectrum in spectra.items()},
            "levels": num_levels,
            "calls": calls,
            "steps": steps,
            "machine": machine(),
        },
        tables=tables,
    )


def compare_schedules(
    spectrum: Spectrum, noise: NoiseSchedule, num_levels: int = 4, calls: int = 25
) -> list[Row]:
    """Compare full resolution, the paper's schedule, derived ones and plans of few calls.

    Chains of all steps are ancestral, plans deterministic. The mean cost of a call in the budget
    schedule and the plans is at most that of the paper's schedule. The paper resizes by `bilinear`,
    whose exact error can be computed at small sizes only, so its schedule is compared with `dct`.

    Parameters
    ----------
    spectrum : Spectrum
        Its resolution can be halved ``num_levels − 1`` times.
    noise : NoiseSchedule
    num_levels : int
    calls : int
        Network calls of the plans.

    Returns
    -------
    list of dict
        ``schedule`` (name), ``calls``, ``cost`` (of all calls, in full-resolution calls), ``error``
        (relative W2²), ``times_less`` (the paper's error divided by this one) and ``changes``.
    """
    size = spectrum.resolution
    levels = halved_levels(size, num_levels)
    table = chain_costs(levels)[1]
    paper = ResolutionSchedule.paper(size, num_levels, PAPER, noise, operator="dct")
    budget = paper.chain_cost(table)
    matched = ResolutionSchedule.from_noise(paper.resolutions, noise, levels=levels)
    chains = {
        "full resolution": ResolutionSchedule.full_resolution(size, noise),
        f"paper, {PAPER}, dct": paper,
        "same changes, matched noise": matched,
        "derived, snr <= 0.1": derive_schedule(spectrum, noise, levels, "snr"),
        "derived, snr <= 0.3": derive_schedule(spectrum, noise, levels, "snr", 0.3),
        "lossless, tau = 0.1": derive_schedule(spectrum, noise, levels, tolerance=0.1),
        "lossless, tau = 1": derive_schedule(spectrum, noise, levels),
        "budget: the paper's cost": derive_schedule(spectrum, noise, levels, "budget", budget),
    }
    found = [
        (
            name,
            len(noise),
            schedule.chain_cost(table) * len(noise),
            oracle_report(schedule, spectrum).relative_w2,
            schedule,
        )
        for name, schedule in chains.items()
    ]
    for order in (1, 2):
        plan = plan_sampling(spectrum, noise, levels, calls, budget, order)
        name = f"budget: {calls} calls, order {order}"
        found.append((name, calls, plan.cost, plan.error, plan.schedule))
    papers = next(error for _, _, _, error, schedule in found if schedule is paper)
    return [
        {
            "schedule": name,
            "calls": number,
            "cost": cost,
            "error": error,
            "times_less": papers / error,
            "changes": changes_json(schedule),
        }
        for name, number, cost, error, schedule in found
    ]


def transfer_errors(
    spectra: Mapping[str, Spectrum],
    noise: NoiseSchedule,
    levels: Sequence[int],
    criterion: str = "snr",
    tolerance: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of the schedule derived on each dataset, and its exact Gaussian error on all of them.

    Parameters
    ----------
    spectra : mapping of n names to Spectrum
        All of the resolution ``levels[0]``.
    noise, levels, criterion, tolerance
        As in `theory.derive_schedule`.

    Returns
    -------
    costs : (n,) float64
        Mean cost of a call of each dataset's schedule, in full-resolution calls.
    errors : (n, n) float64
        Entry ``(a, b)``: relative W2² on data ``b`` of the schedule derived on ``a``, for ancestral
        chains of all steps.

    Raises
    ------
    InputError
        If the spectra differ in resolution.
    """
    if len({s.resolution for s in spectra.values()}) > 1:
        raise InputError("transfer: the spectra have different resolutions; measure them at one")
    schedules = [derive_schedule(s, noise, levels, criterion, tolerance) for s in spectra.values()]
    table = chain_costs(levels)[1]
    costs = np.array([schedule.chain_cost(table) for schedule in schedules])
    errors = [oracle_errors(schedules, spectrum) for spectrum in spectra.values()]
    return costs, np.array(errors).T


def _transfer(spectra: Mapping[str, Spectrum], noise: NoiseSchedule, num_levels: int) -> Table:
    size = next(iter(spectra.values())).resolution
    costs, errors = transfer_errors(spectra, noise, halved_levels(size, num_levels))
    rows = [
        {"derived_on": name, "cost": cost, **dict(zip(spectra, row, strict=True))}
        for name, cost, row in zip(spectra, costs.tolist(), errors.tolist(), strict=True)
    ]
    caption = (
        "Transfer, snr <= 0.1: error on the data of a column of the schedule derived on a row's"
    )
    return Table("transfer", rows, caption)


def _name(path: str, paths: Sequence[str]) -> str:
    """Stem of the file name, or the path if stems are not distinct."""
    if list(paths).count(path) > 1:
        raise InputError(f"{path}: is given twice")
    stem = Path(path).stem
    return stem if [Path(p).stem for p in paths].count(stem) == 1 else path


def _described(spectrum: Spectrum) -> dict[str, object]:
    return {
        "images": spectrum.count,
        "resolution": spectrum.resolution,
        "sha256": spectrum.sha256,
    }


def pareto(
    path: str,
    num_levels: int,
    calls: Sequence[int],
    costs: Sequence[float],
    order: int,
    steps: int,
) -> Report:
    """Pareto front of sampling plans on one spectrum."""
    spectrum, noise = Spectrum.load(path), NoiseSchedule.linear(steps)
    levels = halved_levels(spectrum.resolution, num_levels)
    shown = tqdm(calls, unit="number of calls", leave=False, disable=not sys.stderr.isatty())
    front = pareto_front(spectrum, noise, levels, shown, costs, order)
    if not front:
        raise InputError("bench pareto: no chain is that cheap; raise --costs or --calls")
    rows = [
        {
            "calls": plan.num_calls,
            "cost": plan.cost,
            "error": plan.error,
            "changes_text": changes_text(plan.schedule),
            "changes": changes_json(plan.schedule),
            "steps": list(plan.steps),
        }
        for plan in front
    ]
    return Report(
        benchmark="pareto",
        heading=(
            f"{path}: {spectrum.resolution} px, {num_levels} levels, linear noise, T = {steps}, "
            f"order {order}.\nCost in full-resolution calls of the paper's network; error: "
            "relative W2²."
        ),
        setting={
            "spectrum": _described(spectrum),
            "levels": num_levels,
            "calls": list(calls),
            "costs": list(costs),
            "order": order,
            "steps": steps,
            "machine": machine(),
        },
        tables=[Table("plans", rows, forms={"changes": None, "steps": None})],
    )
