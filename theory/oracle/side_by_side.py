"""Schedules side by side on measured spectra: cost, error, and transfer from data to data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..schedule.costs import chain_costs
from ..schedule.derivation import derive_schedule
from ..schedule.levels import halved_levels
from ..schedule.noise import NoiseSchedule
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .plans import plan_sampling
from .report import oracle_errors, oracle_report

PAPER = "ConvexDecay_0.5"  # the paper's own choice


@dataclass(frozen=True)
class ComparedSchedule:
    """A schedule or plan, with its cost and the oracle's error."""

    name: str
    schedule: ResolutionSchedule
    calls: int
    cost: float  # of all calls, in full-resolution calls
    error: float  # relative W2²


def compare_schedules(
    spectrum: Spectrum, noise: NoiseSchedule, num_levels: int = 4, calls: int = 25
) -> list[ComparedSchedule]:
    """Compare full resolution, the paper's schedule, derived ones and plans on one spectrum.

    Chains of all steps are ancestral, plans deterministic. The budget schedule and the plans may
    cost as much per call as the paper's schedule. The paper's operator is `bilinear`, for which the
    error is only known at small sizes, so its schedule is evaluated with `dct`.

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
    list of ComparedSchedule
    """
    size = spectrum.resolution
    levels = halved_levels(size, num_levels)
    table = chain_costs(levels)[1]
    paper = ResolutionSchedule.paper(size, num_levels, PAPER, noise, operator="dct")
    budget = paper.chain_cost(table)
    chains = {
        "full resolution": ResolutionSchedule.full_resolution(size, noise),
        f"paper, {PAPER}, dct": paper,
        "same changes, matched noise": ResolutionSchedule.from_noise(
            paper.resolutions, noise, levels=levels
        ),
        "derived, snr <= 0.1": derive_schedule(spectrum, noise, levels, criterion="snr"),
        "derived, snr <= 0.3": derive_schedule(
            spectrum, noise, levels, tolerance=0.3, criterion="snr"
        ),
        "lossless, tau = 0.1": derive_schedule(spectrum, noise, levels, tolerance=0.1),
        "lossless, tau = 1": derive_schedule(spectrum, noise, levels),
        "budget: the paper's cost": derive_schedule(spectrum, noise, levels, "budget", budget),
    }
    steps = len(noise)
    rows = [
        ComparedSchedule(
            name,
            schedule,
            steps,
            schedule.chain_cost(table) * steps,
            oracle_report(schedule, spectrum).relative_w2,
        )
        for name, schedule in chains.items()
    ]
    for order in (1, 2):
        plan = plan_sampling(spectrum, noise, levels, calls, budget, order)
        name = f"budget: {calls} calls, order {order}"
        rows.append(ComparedSchedule(name, plan.schedule, calls, plan.cost, plan.error))
    return rows


def transfer_errors(
    spectra: Mapping[str, Spectrum],
    noise: NoiseSchedule,
    levels: Sequence[int],
    criterion: str = "snr",
    tolerance: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of the schedule derived on each dataset, and its error on every dataset.

    Parameters
    ----------
    spectra : mapping of n names to Spectrum
        All of the resolution ``levels[0]``.
    noise, levels, criterion, tolerance
        As in `theory.derive_schedule`.

    Returns
    -------
    costs : (n,) float64
        Mean call of each dataset's schedule, in full-resolution calls.
    errors : (n, n) float64
        Entry ``(a, b)``: relative W2² on data ``b`` of the schedule derived on ``a``, ancestral,
        all steps.

    Raises
    ------
    InputError
        If the spectra have different resolutions.
    """
    if len({s.resolution for s in spectra.values()}) > 1:
        raise InputError("transfer: the spectra have different resolutions; measure them at one")
    schedules = [derive_schedule(s, noise, levels, criterion, tolerance) for s in spectra.values()]
    table = chain_costs(levels)[1]
    costs = np.array([schedule.chain_cost(table) for schedule in schedules])
    errors = [oracle_errors(schedules, spectrum) for spectrum in spectra.values()]
    return costs, np.array(errors).T
