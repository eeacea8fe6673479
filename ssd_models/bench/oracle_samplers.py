"""`ssd bench samplers`: exact Gaussian error and cost of samplers by their number of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from theory.oracle.plans import plan_sampling
from theory.oracle.report import oracle_report
from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps
from theory.schedule.costs import chain_costs
from theory.schedule.derivation import derive_schedule
from theory.schedule.levels import halved_levels
from theory.schedule.noise import NoiseSchedule
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .machine import machine
from .report import Column, Report, Row, Table
from .schedules import changes_json, one_level, paper

Costs = Mapping[tuple[int, int], float]
_PLANNED_COST = 0.5  # of a mean call of plans that choose the schedule too
_SOLVER = "DPM-Solver++(2M)"
_CHAIN_COLUMNS = (
    Column("chain", "  1000 ancestral steps", lambda name: f"  {name}, 1000 ancestral steps"),
    Column("error", "error", ".2e"),
    Column("cost", "cost", ".0f"),
    Column("changes", "changes at", lambda changes: " ".join(changes) or "none"),
)


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
    _Row(_SOLVER, 2, 0.0, "uniform", "network"),
    _Row(_SOLVER, 2, 0.0, "edm", "network"),
    _Row(_SOLVER, 2, 0.0, "logsnr", "network"),
    _Row(_SOLVER, 2, 0.0, "planned", "network"),
    _Row(_SOLVER, 2, 0.0, "logsnr", "free"),
    _Row(_SOLVER, 2, 0.0, "planned", "free"),
)


def measure_samplers(
    paths: Sequence[str], calls: Sequence[int], tolerance: float, num_levels: int
) -> Report:
    """Exact Gaussian error and cost of samplers by their number of network calls."""
    tables = []
    for path in paths:
        tables += _of_spectrum(path, Spectrum.load(path), calls, tolerance, num_levels)
    return Report(
        benchmark="samplers",
        heading=(
            "Oracle, relative W2² (cost of all calls, those at changes too, in full-resolution "
            f"calls\nof the paper's network); linear noise, T = 1000, {num_levels} levels. A chain "
            "that must visit more steps\nthan asked is left out."
        ),
        setting={
            "spectra": list(paths),
            "calls": list(calls),
            "tolerance": tolerance,
            "levels": num_levels,
            "machine": machine(),
        },
        tables=tables,
    )


def _of_spectrum(
    path: str, spectrum: Spectrum, calls: Sequence[int], tolerance: float, num_levels: int
) -> list[Table]:
    noise = NoiseSchedule.linear()
    levels = halved_levels(spectrum.resolution, num_levels)
    table = chain_costs(levels)[1]
    schedule = derive_schedule(spectrum, noise, levels, tolerance=tolerance, criterion="snr")
    chains: dict[str, ResolutionSchedule] = {
        "DDPM, full resolution": one_level(levels[0]),
        "paper, dct": paper(levels[0], num_levels).with_operator("dct"),
        f"derived, snr <= {tolerance:g}": schedule,
    }
    chain_rows: list[Row] = [
        {
            "chain": name,
            "error": oracle_report(chain, spectrum).relative_w2,
            "cost": chain.chain_cost(table) * len(noise),
            "changes": changes_json(chain),
        }
        for name, chain in chains.items()
    ]
    columns = [
        Column("sampler", "  sampler", lambda name: f"  {name:29s}"),
        Column("spacing", "spacing"),
        Column("changes", "changes"),
        *(Column(str(n), f"{n} calls", _cell) for n in calls),
    ]
    given = [
        {
            "sampler": row.name,
            "spacing": row.spacing,
            "changes": row.changes,
            **{str(n): _evaluate(row, schedule, spectrum, table, n) for n in calls},
        }
        for row in _ROWS
    ]
    planned = [
        {
            "sampler": _SOLVER,
            "spacing": "planned",
            "changes": changes,
            **{str(n): _plan(spectrum, noise, levels, n, changes) for n in calls},
        }
        for changes in ("network", "free")
    ]
    caption = f"schedule and steps planned together, mean call at most {_PLANNED_COST:g}:"
    return [
        Table(
            f"chains {path}",
            _CHAIN_COLUMNS,
            chain_rows,
            f"{path}: {spectrum.count} images, {spectrum.resolution} px",
        ),
        Table(f"samplers {path}", columns, given, "on the derived schedule, matched noise:"),
        Table(f"planned {path}", columns, planned, caption),
    ]


def _cell(found: Mapping[str, float]) -> str:
    return f"{found['error']:.1e} ({found['cost']:.2f})"


def _evaluate(
    row: _Row, schedule: ResolutionSchedule, spectrum: Spectrum, table: Costs, calls: int
) -> dict[str, float] | None:
    sampler = Sampler(row.eta, row.order, row.changes, row.variance)
    steps = select_steps(schedule, calls, row.spacing, sampler, spectrum)
    if len(steps) != calls:
        return None
    report = oracle_report(
        schedule,
        spectrum,
        steps,
        row.eta,
        order=row.order,
        spectral_variance=row.variance,
        changes=row.changes,
    )
    cost = chain_cost(schedule, steps, row.changes, table)
    return {"error": report.relative_w2, "cost": cost}


def _plan(
    spectrum: Spectrum, noise: NoiseSchedule, levels: Sequence[int], calls: int, changes: str
) -> dict[str, float] | None:
    try:
        plan = plan_sampling(spectrum, noise, levels, calls, _PLANNED_COST, changes=changes)
    except InputError:
        return None
    return {"error": plan.error, "cost": plan.cost}


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
        ``{(resolution in, resolution out): cost}``, see `theory.schedule.costs.chain_costs`.
    """
    at = [int(r) for r in schedule.resolutions[list(steps)]]
    if changes == "free":
        return sum(table[r, r] for r in at)
    return sum(table[pair] for pair in pairwise([*at, schedule.resolution]))
