"""Sampling with few network calls: resolutions and steps chosen together.

A plan is a resolution schedule and the steps of it that a deterministic sampler visits. A dynamic
program (`theory.oracle.routes`) chooses a route through (step, level) with a given number of calls
and cost, by an approximate error; its steps are then shifted to lower the oracle's exact error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..schedule.derivation import derivation
from ..schedule.levels import check_first_level, check_levels
from ..schedule.noise import NoiseSchedule, matched_amplitudes
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .dense import LARGEST
from .recursion import Chains, amplitude_error, propagate
from .refinement import LONGEST, refine_steps, stretch
from .report import oracle_report
from .routes import Route, RouteSearch
from .sampler import Sampler


@dataclass(frozen=True)
class SamplingPlan:
    """A schedule, the steps to visit on it, their cost and the oracle's error."""

    schedule: ResolutionSchedule
    steps: tuple[int, ...]  # falling
    order: int  # of the deterministic solver
    cost: float  # of all calls, in full-resolution calls
    error: float  # the oracle's relative W2²

    @property
    def num_calls(self) -> int:
        """Number of network calls."""
        return len(self.steps)


def plan_sampling(
    spectrum: Spectrum,
    noise: NoiseSchedule,
    levels: Sequence[int],
    calls: int,
    cost: float | None = None,
    order: int = 2,
    operator: str = "dct",
    changes: str = "network",
) -> SamplingPlan:
    """Choose resolutions and steps with the least oracle error for a number of calls and a cost.

    Parameters
    ----------
    spectrum : Spectrum
    noise : NoiseSchedule
        Base chain; its T steps are those that can be visited.
    levels : sequence of int
        Allowed resolutions, falling; the spectrum's first. Not all need be used.
    calls : int
        Number of network calls, including those at changes of resolution.
    cost : float, optional
        Largest mean cost of a call, in full-resolution calls. Without it all states are at full
        resolution, as smaller states cannot lower the error.
    order : {1, 2}
        Of the deterministic solver, see `theory.oracle.sampler.Sampler`.
    operator : str
        How a change downsamples. The plan is always the one for `dct`; its error is that of this
        operator, for which other operators than `dct` need at most 32 pixels.
    changes : {"network", "free"}
        See `theory.oracle.sampler.Sampler`.

    Returns
    -------
    SamplingPlan
        Its schedule has matched noise and records the plan in ``derivation["plan"]``.

    Raises
    ------
    InputError
        If no chain has this number of calls or is within the cost, or the operator has no exact
        error at this size.
    """
    planner = _Planner(spectrum, noise, levels, order, operator, changes)
    _check_calls(calls, noise)
    return planner.best(calls, cost)


def _check_calls(calls: int, noise: NoiseSchedule) -> None:
    if not 1 <= calls <= len(noise):
        raise InputError(f"calls {calls}: must lie between 1 and the chain's {len(noise)} steps")


def pareto_front(
    spectrum: Spectrum,
    noise: NoiseSchedule,
    levels: Sequence[int],
    calls: Iterable[int],
    costs_per_call: Iterable[float],
    order: int = 2,
    changes: str = "network",
) -> list[SamplingPlan]:
    """Plans to which no other plan is better in both total cost and error, cheapest first.

    Parameters
    ----------
    calls : iterable of int
        Numbers of calls to try.
    costs_per_call : iterable of float
        Mean costs of a call to try with each number; those that no chain meets are left out.
    spectrum, noise, levels, order, changes
        As in `plan_sampling`.

    Returns
    -------
    list of SamplingPlan

    Raises
    ------
    InputError
        If the chain has fewer steps than a number of calls, or as `plan_sampling`.
    """
    planner = _Planner(spectrum, noise, levels, order, "dct", changes)
    plans = []
    costs = tuple(costs_per_call)
    for number in calls:
        _check_calls(number, noise)
        for cost in costs:
            with suppress(InputError):  # no chain is within the cost
                plans.append(planner.best(number, cost))
    plans.sort(key=lambda plan: (plan.cost, plan.error))
    front: list[SamplingPlan] = []
    for plan in plans:
        if not front or plan.error < front[-1].error:
            front.append(plan)
    return front


class _Planner:
    """Plans for one spectrum, noise and set of levels; caches the plan of each route."""

    def __init__(
        self,
        spectrum: Spectrum,
        noise: NoiseSchedule,
        levels: Sequence[int],
        order: int,
        operator: str,
        changes: str,
    ):
        self.levels = check_levels(levels)
        check_first_level(self.levels, spectrum.resolution)
        self.sampler = Sampler(order=order, changes=changes)
        if operator != "dct" and self.levels[0] > LARGEST:
            raise InputError(
                f"operator {operator!r}: has no exact error above {LARGEST} pixels; plan for 'dct'"
            )
        self.spectrum, self.noise, self.operator = spectrum, noise, operator
        self.search = RouteSearch(spectrum, noise, self.levels, self.sampler.free)
        # Errors of single moves are approximate, so routes by first-order ones are tried too.
        self.move_errors = [self.search.move_errors(o) for o in dict.fromkeys((order, 1))]
        self.refined: dict[Route, SamplingPlan] = {}

    def best(self, calls: int, cost: float | None) -> SamplingPlan:
        """Plan with the least error among the refined routes within ``cost``."""
        routes = [self.search.best_route(calls, cost, errors) for errors in self.move_errors]
        for route in routes:
            if route not in self.refined:
                self.refined[route] = self.refine(route)
        return min((self.refined[route] for route in routes), key=lambda plan: plan.error)

    def refine(self, route: Route) -> SamplingPlan:
        """Shift the steps of a route as long as that lowers the oracle's error."""
        level = [lv for _, lv in route]

        def routes(chains: Sequence[Sequence[int]]) -> list[Route]:
            return [tuple(zip(chain, level, strict=True)) for chain in chains]

        limit = self._stretch(route)
        steps, _ = refine_steps(
            [step for step, _ in route],
            # Both sides of a change with a call of its own move together.
            [[i] for i in range(1, len(route) - 1)] if self.sampler.free else _groups(route)[1:-1],
            lambda chains: self._error(routes(chains)),
            lambda chain: self._stretch(routes([chain])[0]) <= limit,
        )
        return self._plan(routes([steps])[0])

    def _stretch(self, route: Route) -> float:
        """`stretch` of a route; the two sides of a change with its own call count as one step."""
        if self.sampler.order == 1:
            return LONGEST
        places = [a for a, b in pairwise(route) if self.sampler.free or a[1] == b[1]] + [route[-1]]
        return stretch(np.log(self.noise.snr)[[step for step, _ in places]])

    def _error(self, routes: Sequence[Route]) -> np.ndarray:
        """Oracle error of routes of equal length, on the binned spectrum, for operator `dct`."""
        steps = np.array([[t for t, _ in route] for route in routes]).T
        level = np.array([[lv for _, lv in route] for route in routes]).T
        resolution = np.array(self.levels)[level]
        snr = self.noise.snr[steps]
        alpha, sigma = matched_amplitudes(snr, (resolution / self.levels[0]) ** 2)
        chains = Chains(resolution, alpha, sigma, snr, self.levels[0])
        delta = propagate(chains, self.search.power, self.search.shell, self.sampler)[0]
        return amplitude_error(delta) ** 2 @ self.search.weight

    def _plan(self, route: Route) -> SamplingPlan:
        resolutions = np.full(len(self.noise), self.levels[route[0][1]])
        for (_, before), (step, after) in pairwise(route):
            if before != after:
                resolutions[: step + 1] = self.levels[after]
        steps = tuple(step for step, _ in route)
        schedule = ResolutionSchedule.from_noise(
            resolutions,
            self.noise,
            operator=self.operator,
            levels=self.levels,
            derivation=derivation(
                self.spectrum, self.noise, "budget", self.search.mean_cost(route)
            ),
        )
        order, changes = self.sampler.order, self.sampler.changes
        error = oracle_report(
            schedule, self.spectrum, steps, 0.0, order=order, changes=changes
        ).relative_w2
        plan: dict[str, Any] = {"steps": list(steps), "order": order, "eta": 0.0}
        plan["changes"] = changes
        plan |= {"cost": self.search.total_cost(route), "oracle_error": error}
        schedule = replace(schedule, derivation={**schedule.derivation, "plan": plan})
        return SamplingPlan(schedule, steps, order, plan["cost"], error)


def _groups(route: Route) -> list[list[int]]:
    """Indices of a route's states, with the two sides of each change in one group."""
    groups = [[0]]
    for i, (before, after) in enumerate(pairwise(route)):
        if before[1] != after[1]:
            groups[-1].append(i + 1)
        else:
            groups.append([i + 1])
    return groups
