"""`ssd bench samplers`: exact Gaussian error and cost of samplers by number of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from theory.oracle.plans import plan_sampling
from theory.oracle.report import oracle_report
from theory.oracle.sampler import ANCESTRAL, DDIM, SECOND_ORDER, Sampler
from theory.oracle.steps import select_steps
from theory.schedule.costs import chain_costs
from theory.schedule.levels import halved_levels
from theory.schedule.noise import NoiseSchedule
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .machine import machine
from .report import Report, Row, Table
from .schedules import changes_json, derived, one_level, paper, path_calls, total_cost

Costs = Mapping[tuple[int, int], float]
_PLANNED_COST = 0.5  # mean cost of a call where schedule and steps are planned jointly
_SOLVER = "DPM-Solver++(2M)"
_SAMPLERS = (  # name, options, spacing of the steps
    ("ancestral", ANCESTRAL, "logsnr"),
    ("ancestral, spectral variance", Sampler(eta=1.0, spectral_variance=True), "logsnr"),
    ("DDIM", DDIM, "logsnr"),
    (_SOLVER, SECOND_ORDER, "uniform"),
    (_SOLVER, SECOND_ORDER, "edm"),
    (_SOLVER, SECOND_ORDER, "logsnr"),
    (_SOLVER, SECOND_ORDER, "planned"),
    (_SOLVER, Sampler(order=2, changes="free"), "logsnr"),
    (_SOLVER, Sampler(order=2, changes="free"), "planned"),
)


def measure_samplers(
    paths: Sequence[str], calls: Sequence[int], tolerance: float, num_levels: int
) -> Report:
    """Exact Gaussian error and cost of samplers by number of network calls."""
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
    schedule = derived(spectrum, num_levels, tolerance)
    chains = {
        "DDPM, full resolution": one_level(levels[0]),
        "paper, dct": paper(levels[0], num_levels).with_operator("dct"),
        f"derived, snr <= {tolerance:g}": schedule,
    }
    whole: list[Row] = [
        {
            "chain": name,
            "error": oracle_report(chain, spectrum).relative_w2,
            "cost": chain.chain_cost(table) * len(noise),
            "changes": changes_json(chain),
        }
        for name, chain in chains.items()
    ]
    given: list[Row] = [
        {
            "sampler": name,
            "spacing": spacing,
            "changes": sampler.on(schedule).changes,
            **{str(n): _evaluate(sampler, spacing, schedule, spectrum, table, n) for n in calls},
        }
        for name, sampler, spacing in _SAMPLERS
    ]
    planned: list[Row] = [
        {
            "sampler": _SOLVER,
            "spacing": "planned",
            "changes": changes,
            **{str(n): _plan(spectrum, noise, levels, n, changes) for n in calls},
        }
        for changes in ("network", "free")
    ]
    forms = {str(n): _error_and_cost for n in calls}
    return [
        Table(
            f"chains {path}",
            whole,
            f"{path}: {spectrum.count} images, {spectrum.resolution} px; 1000 ancestral steps",
            {"changes": " ".join},
        ),
        Table(
            f"samplers {path}",
            given,
            "on the derived schedule, matched noise, by number of calls:",
            forms,
        ),
        Table(
            f"planned {path}",
            planned,
            f"schedule and steps planned together, mean call at most {_PLANNED_COST:g}:",
            forms,
        ),
    ]


def _error_and_cost(found: Mapping[str, float]) -> str:
    return f"{found['error']:.1e} ({found['cost']:.2f})"


def _evaluate(
    sampler: Sampler,
    spacing: str,
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    table: Costs,
    calls: int,
) -> dict[str, float] | None:
    steps = select_steps(schedule, calls, spacing, sampler, spectrum)
    if len(steps) != calls:
        return None
    return {
        "error": oracle_report(schedule, spectrum, steps, **asdict(sampler)).relative_w2,
        "cost": total_cost(path_calls(schedule, steps, sampler.changes), table),
    }


def _plan(
    spectrum: Spectrum, noise: NoiseSchedule, levels: Sequence[int], calls: int, changes: str
) -> dict[str, float] | None:
    try:
        plan = plan_sampling(spectrum, noise, levels, calls, _PLANNED_COST, changes=changes)
    except InputError:
        return None
    return {"error": plan.error, "cost": plan.cost}
