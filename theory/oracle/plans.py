"""Few network calls, well spent: resolutions and steps together, by dynamic programming.

A plan is a resolution schedule and the steps of it that a deterministic sampler visits. For
deterministic steps a coefficient's amplitude error is a product of one factor a step, so a sum over
steps stands for the oracle's error closely enough to choose a path through (step, resolution) with
a given number of calls and cost. The path is then refined on the oracle's error itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..schedule.budget import binned_powers
from ..schedule.costs import chain_costs
from ..schedule.derivation import derivation
from ..schedule.levels import check_first_level, check_levels
from ..schedule.noise import NoiseSchedule, matched_amplitudes
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .dense import LARGEST
from .recursion import Chains, amplitude_error, half_step_ratio, propagate
from .refinement import LONGEST, refine_steps, stretch
from .report import oracle_report
from .sampler import Sampler

_CANDIDATES = 128  # steps between which the dynamic program chooses; refinement takes all
_COST_TRIALS = 24  # prices of cost that are tried to meet a budget


@dataclass(frozen=True)
class SamplingPlan:
    """A schedule, the steps to visit on it, and what that costs and errs."""

    schedule: ResolutionSchedule
    steps: tuple[int, ...]  # falling
    order: int  # of the deterministic solver
    cost: float  # of all calls, in full-resolution calls
    error: float  # the oracle's relative W2²

    @property
    def num_calls(self) -> int:
        """Network calls."""
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
    """Resolutions and steps with the least oracle error in so many calls at so much cost.

    Parameters
    ----------
    spectrum : Spectrum
    noise : NoiseSchedule
        Base chain; its T steps are those that can be visited.
    levels : sequence of int
        Allowed resolutions, falling; the spectrum's first. Not all need be used.
    calls : int
        Network calls; those at changes of resolution are among them.
    cost : float, optional
        Mean cost of a call, at most, in units of a full-resolution call. Without it full resolution
        is never left, as smaller states cannot err less.
    order : {1, 2}
        Of the deterministic solver (`theory.oracle.report.oracle_report`).
    operator : str
        How a change downsamples. Plans are those for `dct`; with another operator, up to 32 pixels,
        the error that is reported is its own.
    changes : {"network", "free"}
        Whether the network is called across each change, on both of whose sides a step then lies,
        or changes cost nothing (`theory.oracle_report`).

    Returns
    -------
    SamplingPlan
        Its schedule has matched noise and names the plan in ``derivation["plan"]``.

    Raises
    ------
    InputError
        If the calls or the cost are too few for any chain, or the operator has no exact error at
        this size.
    """
    planner = _Planner(spectrum, noise, levels, order, operator, changes)
    if not 1 <= calls <= len(noise):
        raise InputError(f"calls {calls}: must lie between 1 and the chain's {len(noise)} steps")
    return planner.best(calls, cost)


def pareto_front(
    spectrum: Spectrum,
    noise: NoiseSchedule,
    levels: Sequence[int],
    calls: Iterable[int],
    costs_per_call: Iterable[float],
    order: int = 2,
    changes: str = "network",
) -> list[SamplingPlan]:
    """Plans that no other one beats in both total cost and error, cheapest first.

    Parameters
    ----------
    calls : iterable of int
        Numbers of calls to try.
    costs_per_call : iterable of float
        Mean costs of a call to try with each; those that no chain meets are left out.
    spectrum, noise, levels, order, changes
        As in `plan_sampling`.
    """
    planner = _Planner(spectrum, noise, levels, order, "dct", changes)
    plans = []
    costs = tuple(costs_per_call)
    for number in calls:
        for cost in costs:
            with suppress(InputError):  # too little for any chain
                plans.append(planner.best(number, cost))
    plans.sort(key=lambda plan: (plan.cost, plan.error))
    front: list[SamplingPlan] = []
    for plan in plans:
        if not front or plan.error < front[-1].error:
            front.append(plan)
    return front


_Path = tuple[tuple[int, int], ...]  # (step, level) of each visited state, noisiest first
_MoveErrors = tuple[np.ndarray, np.ndarray]  # of plain steps and of openings, see _local_errors


class _Planner:
    """What does not depend on the number of calls or the budget."""

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
        self.free = self.sampler.free
        self.spectrum, self.noise, self.operator = spectrum, noise, operator
        self.table = chain_costs(self.levels)[1]
        self.power, self.shell, self.count, _ = binned_powers(spectrum, self.levels)
        self.total = float(spectrum.power.sum())
        self.logsnr = np.log(noise.snr)
        self.candidates = self._candidate_steps()
        # Errors of single moves are a stand-in, so paths by first-order ones are tried too.
        self.stand_ins = [self._local_errors(o) for o in dict.fromkeys((order, 1))]
        self.refined: dict[_Path, SamplingPlan] = {}

    def _candidate_steps(self) -> np.ndarray:
        """Steps spread evenly in log-snr from T − 1 down to 0, far enough apart for changes."""
        last = len(self.noise) - 1
        wanted = np.linspace(self.logsnr[last], self.logsnr[0], _CANDIDATES)
        steps = np.rint(np.interp(wanted, self.logsnr[::-1], np.arange(last, -1, -1))).astype(int)
        chosen = [last]
        for step in steps[1:-1].tolist():
            if chosen[-1] - step >= len(self.levels) and step >= len(self.levels):
                chosen.append(step)
        return np.array([*chosen, 0] if last else [0])

    def _local_errors(self, order: int) -> _MoveErrors:
        """Squared amplitude errors that single moves cause, weighted by power.

        Returns those of a step between two candidates at each level (L, m, m), infinite where it
        does not lead on; and those of opening the band above each level (L, m), level 0 empty.
        """
        snr = self.noise.snr[self.candidates]
        logsnr = np.log(snr)
        weight = self.count * self.power / self.total
        inside = np.array([self.shell < level for level in self.levels])  # (L, K)
        amplitude = _deterministic_step(logsnr[:, None, None], logsnr[:, None], self.power)
        if order == 2:
            second = _deterministic_step(
                logsnr[:, None, None],
                logsnr[:, None],
                self.power,
                2 * logsnr[:, None, None] - logsnr[:, None],
            )
            amplitude[1:] = second[1:]  # the first step has no history
        squared = (np.log(amplitude) ** 2) * weight  # (m, m, K)
        plain = np.einsum("ijk,lk->lij", squared, inside.astype(float))
        forward = np.arange(len(snr)) > np.arange(len(snr))[:, None]
        plain = np.where(forward, plain, np.inf)
        fresh = 0.25 * np.log1p(snr[:, None] * self.power) ** 2 * weight
        opened = np.zeros((len(self.levels), len(snr)))
        for level in range(1, len(self.levels)):
            band = inside[level - 1] & ~inside[level]
            opened[level] = fresh[:, band].sum(axis=1)
        return plain, opened

    def best(self, calls: int, cost: float | None) -> SamplingPlan:
        """Refine the path of each stand-in within ``cost``; the plan that errs least."""
        paths = [self.within(calls, cost, stand_in) for stand_in in self.stand_ins]
        for path in paths:
            if path not in self.refined:
                self.refined[path] = self.refine(path)
        return min((self.refined[path] for path in paths), key=lambda plan: plan.error)

    def within(self, calls: int, cost: float | None, errors: _MoveErrors) -> _Path:
        """Return the best path whose mean call costs at most ``cost``."""
        free = self._path(calls, 0.0, errors)
        if cost is None or self._mean_cost(free) <= cost:
            return free
        low, high = 1e-12, 1e12  # price of a full-resolution call, in units of error
        best: _Path | None = None
        for _ in range(_COST_TRIALS):
            price = np.sqrt(low * high)
            path = self._path(calls, float(price), errors)
            if self._mean_cost(path) <= cost:
                best, high = path, price
            else:
                low = price
        if best is None:
            cheapest = self._mean_cost(self._path(calls, 1e12, errors))
            raise InputError(
                f"cost {cost}: {calls} calls over {list(self.levels)} cost at least "
                f"{cheapest:.4g} full-resolution calls each; raise the cost or the calls"
            )
        return best

    def _path(self, calls: int, price: float, errors: _MoveErrors) -> _Path:
        """Path of exactly ``calls`` calls with the least error plus price times cost."""
        stay = np.array([self.table[r, r] for r in self.levels]) * price
        value = np.full((len(self.levels), len(self.candidates)), np.inf)
        value[0, -1] = stay[0]  # the last call, at step 0
        choices: list[np.ndarray] = []
        for _ in range(calls - 1):
            value, choice = self._extend(value, stay, price, errors)
            choices.append(choice)
        start = int(np.argmin(value[:, 0]))
        if not np.isfinite(value[start, 0]):
            raise InputError(
                f"calls {calls}: cannot lead from the first step to the last; the chain has "
                f"{len(self.noise)} steps, of which {len(self.candidates)} can be chosen"
            )
        return self._trace(choices[::-1], start)

    def _extend(
        self, value: np.ndarray, stay: np.ndarray, price: float, errors: _MoveErrors
    ) -> tuple[np.ndarray, np.ndarray]:
        """One more call before what ``value`` (L, m) holds; choices are level · m + place."""
        plain, opening = errors
        depth, size = value.shape
        new, choice = np.empty_like(value), np.empty((depth, size), int)
        here = np.arange(size)
        for level, resolution in enumerate(self.levels):
            to = np.argmin(plain[level] + value[level], axis=1)
            new[level] = plain[level][here, to] + value[level][to] + stay[level]
            choice[level] = level * size + to
            for above in range(level):
                opened = opening[above + 1 : level + 1].sum(axis=0)
                if self.free:  # on to another place, where the bands in between open
                    after = opened + value[above]
                    to = np.argmin(plain[level] + after, axis=1)
                    other = plain[level][here, to] + after[to] + stay[level]
                else:  # a call of its own, to the next step
                    to = here
                    other = opened + self.table[resolution, self.levels[above]] * price
                    other = other + value[above]
                    other[-1] = np.inf  # step 0 is at full resolution
                better = other < new[level]
                new[level] = np.where(better, other, new[level])
                choice[level] = np.where(better, above * size + to, choice[level])
        return new, choice

    def _trace(self, choices: list[np.ndarray], level: int) -> _Path:
        place, step = 0, int(self.candidates[0])
        path = [(step, level)]
        for choice in choices:
            above, to = divmod(int(choice[level, place]), len(self.candidates))
            if above != level and not self.free:
                step -= 1
            else:
                step = int(self.candidates[to])
            level, place = above, to
            path.append((step, level))
        return tuple(path)

    def _total_cost(self, path: _Path) -> float:
        resolutions = [self.levels[level] for _, level in path]
        if self.free:
            return sum(self.table[r, r] for r in resolutions)
        return sum(self.table[pair] for pair in pairwise([*resolutions, self.levels[0]]))

    def _mean_cost(self, path: _Path) -> float:
        return self._total_cost(path) / len(path)

    def refine(self, path: _Path) -> SamplingPlan:
        """Shift the steps of a path while that lowers the oracle's error."""
        level = [lv for _, lv in path]

        def paths(chains: Sequence[Sequence[int]]) -> list[_Path]:
            return [tuple(zip(chain, level, strict=True)) for chain in chains]

        limit = self._stretch(path)
        steps, _ = refine_steps(
            [step for step, _ in path],
            # Both sides of a change with a call of its own move together.
            [[i] for i in range(1, len(path) - 1)] if self.free else _groups(path)[1:-1],
            lambda chains: self._error(paths(chains)),
            lambda chain: self._stretch(paths([chain])[0]) <= limit,
        )
        return self._plan(paths([steps])[0])

    def _stretch(self, path: _Path) -> float:
        """See `stretch`; both sides of a change with a call of its own are one place."""
        if self.sampler.order == 1:
            return LONGEST
        places = [a for a, b in pairwise(path) if self.free or a[1] == b[1]] + [path[-1]]
        return stretch(self.logsnr[[step for step, _ in places]])

    def _error(self, paths: Sequence[_Path]) -> np.ndarray:
        """Oracle error of paths of one length, on the binned spectrum, ideal bands."""
        steps = np.array([[t for t, _ in path] for path in paths]).T
        level = np.array([[lv for _, lv in path] for path in paths]).T
        resolution = np.array(self.levels)[level]
        snr = self.noise.snr[steps]
        alpha, sigma = matched_amplitudes(snr, (resolution / self.levels[0]) ** 2)
        chains = Chains(resolution, alpha, sigma, snr, self.levels[0])
        delta = propagate(chains, self.power, self.shell, self.sampler)[0]
        return amplitude_error(delta) ** 2 @ (self.count * self.power) / self.total

    def _plan(self, path: _Path) -> SamplingPlan:
        resolutions = np.full(len(self.noise), self.levels[path[0][1]])
        for (_, before), (step, after) in pairwise(path):
            if before != after:
                resolutions[: step + 1] = self.levels[after]
        steps = tuple(step for step, _ in path)
        tolerance = self._mean_cost(path)
        schedule = ResolutionSchedule.from_noise(
            resolutions,
            self.noise,
            operator=self.operator,
            levels=self.levels,
            derivation=derivation(self.spectrum, self.noise, "budget", tolerance),
        )
        order, changes = self.sampler.order, self.sampler.changes
        error = oracle_report(
            schedule, self.spectrum, steps, 0.0, order=order, changes=changes
        ).relative_w2
        plan: dict[str, Any] = {"steps": list(steps), "order": order, "eta": 0.0}
        plan["changes"] = changes
        plan |= {"cost": self._total_cost(path), "oracle_error": error}
        schedule = replace(schedule, derivation={**schedule.derivation, "plan": plan})
        return SamplingPlan(schedule, steps, order, plan["cost"], error)


def _deterministic_step(
    logsnr_t: np.ndarray,
    logsnr_s: np.ndarray,
    power: np.ndarray,
    logsnr_before: np.ndarray | None = None,
) -> np.ndarray:
    """Generated over true amplitude after one exact-start step at constant resolution.

    First order, or second with the prediction at ``logsnr_before``.
    """

    def state(logsnr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        snr = np.exp(logsnr)
        a, sigma = np.sqrt(snr / (1 + snr)), np.sqrt(1 / (1 + snr))
        return a, sigma, np.sqrt(a**2 * power + sigma**2)

    a_t, sigma_t, deviation_t = state(logsnr_t)
    a_s, sigma_s, deviation_s = state(logsnr_s)
    prediction = a_t * power / deviation_t
    if logsnr_before is not None:
        a, _, deviation = state(logsnr_before)
        before = a * power / deviation
        ratio = half_step_ratio(*np.broadcast_arrays(logsnr_before, logsnr_t, logsnr_s))
        prediction = prediction + ratio * (prediction - before)
    new = a_s * prediction + sigma_s / sigma_t * (deviation_t - a_t * prediction)
    return np.maximum(new / deviation_s, 1e-6)


def _groups(path: _Path) -> list[list[int]]:
    """Indices of a path's states, the sides of changes together."""
    groups = [[0]]
    for i, (before, after) in enumerate(pairwise(path)):
        if before[1] != after[1]:
            groups[-1].append(i + 1)
        else:
            groups.append([i + 1])
    return groups
