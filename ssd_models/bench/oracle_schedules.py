"""`ssd bench schedules` and `ssd bench pareto`: cost and exact Gaussian error of schedules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from theory.oracle.plans import pareto_front
from theory.oracle.side_by_side import ComparedSchedule, compare_schedules, transfer_errors
from theory.schedule.levels import halved_levels
from theory.schedule.noise import NoiseSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .machine import machine
from .report import Column, Report, Row, Table
from .schedules import changes_json, changes_text

_SCHEDULE_COLUMNS = (
    Column("schedule", "  schedule", lambda name: f"  {name}"),
    Column("calls", "calls", "d"),
    Column("cost", "cost", ".1f"),
    Column("error", "error", ".2e"),
    Column("times_less", "times less", ".1f"),
    Column("changes", "changes at", lambda changes: " ".join(changes) or "-"),
)
_PLAN_COLUMNS = (
    Column("calls", "calls", lambda calls: f"{calls:5d}"),
    Column("cost", "cost", ".2f"),
    Column("error", "error", ".2e"),
    Column("changes_text", "changes at"),
)


def compare(paths: Sequence[str], num_levels: int, calls: int, steps: int) -> Report:
    """Cost and exact Gaussian error of schedules on each spectrum, and transfer between them."""
    noise = NoiseSchedule.linear(steps)
    spectra = {_name(path, paths): Spectrum.load(path) for path in paths}
    tables = []
    for name, spectrum in spectra.items():
        rows = compare_schedules(spectrum, noise, num_levels, calls)
        caption = f"{name}: {spectrum.count} images, {spectrum.resolution} px"
        key = f"schedules {name}"
        tables.append(Table(key, _SCHEDULE_COLUMNS, _schedule_rows(rows), caption))
    lines = []
    if len({spectrum.resolution for spectrum in spectra.values()}) > 1:
        lines = ["no transfer: the spectra have different resolutions"]
    elif len(spectra) > 1:
        tables.append(_transfer(spectra, noise, num_levels))
    return Report(
        benchmark="schedules",
        heading=(
            f"Oracle, relative W2²; linear noise, T = {steps}, {num_levels} levels. Chains of all "
            "steps are ancestral,\nplans of few calls deterministic. Cost in full-resolution calls "
            "of the paper's network.\n`times less`: the paper's error over this one."
        ),
        setting={
            "spectra": {name: _described(spectrum) for name, spectrum in spectra.items()},
            "levels": num_levels,
            "calls": calls,
            "steps": steps,
            "machine": machine(),
        },
        tables=tables,
        lines=lines,
    )


def _schedule_rows(rows: Sequence[ComparedSchedule]) -> list[Row]:
    paper = next(row for row in rows if row.name.startswith("paper"))
    return [
        {
            "schedule": row.name,
            "calls": row.calls,
            "cost": row.cost,
            "error": row.error,
            "times_less": paper.error / row.error,
            "changes": changes_json(row.schedule),
        }
        for row in rows
    ]


def _transfer(spectra: dict[str, Spectrum], noise: NoiseSchedule, num_levels: int) -> Table:
    size = next(iter(spectra.values())).resolution
    costs, errors = transfer_errors(spectra, noise, halved_levels(size, num_levels))
    rows = [
        {"derived_on": name, "cost": cost, **dict(zip(spectra, row, strict=True))}
        for name, cost, row in zip(spectra, costs.tolist(), errors.tolist(), strict=True)
    ]
    columns = [
        Column("derived_on", "  derived on", lambda name: f"  {name[:24]}"),
        Column("cost", "cost", ".3f"),
        *(Column(name, name[:12], ".2e") for name in spectra),
    ]
    caption = (
        "Transfer, snr <= 0.1: error on the data of a column of the schedule derived on a row's"
    )
    return Table("transfer", columns, rows, caption)


def _name(path: str, paths: Sequence[str]) -> str:
    """File's stem, or the path where stems are not distinct."""
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
        tables=[Table("plans", _PLAN_COLUMNS, rows)],
    )
