"""Routes through (step, level) with the least sum of errors at a number of calls and a cost.

A route is the sequence of states that a deterministic sampler visits. For deterministic steps a
coefficient's amplitude error is a product of one factor a step, so a sum over steps approximates
the oracle's error closely enough to choose a route by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..schedule.budget import binned_powers
from ..schedule.costs import chain_costs
from ..schedule.noise import NoiseSchedule, matched_amplitudes
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .recursion import half_step_ratio

_CANDIDATES = 128  # steps between which the dynamic program chooses
_COST_TRIALS = 24  # bisections of the price of cost

Route = tuple[tuple[int, int], ...]
"""(step, index of level) of each visited state, noisiest first."""
MoveErrors = tuple[np.ndarray, np.ndarray]
"""Errors of single moves, see `RouteSearch.move_errors`."""


class RouteSearch:
    """Search for routes over given levels.

    Parameters
    ----------
    spectrum : Spectrum
    noise : NoiseSchedule
        Base chain of T steps.
    levels : sequence of L int
        Falling; the spectrum's resolution first.
    free : bool
        Whether changes of resolution cost no call (`theory.oracle.sampler.Sampler`).
    """

    def __init__(self, spectrum: Spectrum, noise: NoiseSchedule, levels: Sequence[int], free: bool):
        self.noise, self.levels, self.free = noise, tuple(levels), free
        self.table = chain_costs(levels)[1]
        self.power, self.shell, self.count, _ = binned_powers(spectrum, levels)
        self.weight = self.count * self.power / float(spectrum.power.sum())
        self.candidates = self._candidate_steps()

    def _candidate_steps(self) -> np.ndarray:
        """Steps spread evenly in log-snr from T − 1 down to 0, far enough apart for changes."""
        last, logsnr = len(self.noise) - 1, np.log(self.noise.snr)
        wanted = np.linspace(logsnr[last], logsnr[0], _CANDIDATES)
        steps = np.rint(np.interp(wanted, logsnr[::-1], np.arange(last, -1, -1))).astype(int)
        chosen = [last]
        for step in steps[1:-1].tolist():
            if chosen[-1] - step >= len(self.levels) and step >= len(self.levels):
                chosen.append(step)
        return np.array([*chosen, 0] if last else [0])

    def move_errors(self, order: int) -> MoveErrors:
        """Squared amplitude errors that single moves cause, weighted by power.

        Parameters
        ----------
        order : {1, 2}
            Of the deterministic solver.

        Returns
        -------
        plain : (L, m, m) float64
            Of the step from candidate ``i`` to candidate ``j`` at each level; infinite unless ``j``
            is less noisy.
        opening : (L, m) float64
            Of opening, at each candidate, the band between a level and the next larger one; zero
            for the first level.
        """
        snr = self.noise.snr[self.candidates]
        logsnr = np.log(snr)
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
        squared = (np.log(amplitude) ** 2) * self.weight  # (m, m, K)
        plain = np.einsum("ijk,lk->lij", squared, inside.astype(float))
        forward = np.arange(len(snr)) > np.arange(len(snr))[:, None]
        plain = np.where(forward, plain, np.inf)
        fresh = 0.25 * np.log1p(snr[:, None] * self.power) ** 2 * self.weight
        opened = np.zeros((len(self.levels), len(snr)))
        for level in range(1, len(self.levels)):
            band = inside[level - 1] & ~inside[level]
            opened[level] = fresh[:, band].sum(axis=1)
        return plain, opened

    def best_route(self, calls: int, cost: float | None, errors: MoveErrors) -> Route:
        """Route of ``calls`` calls with the least sum of errors among those within a cost.

        The cost enters as a price, which is bisected until the route is just cheap enough.

        Parameters
        ----------
        calls : int
        cost : float, optional
            Largest mean cost of a call, in full-resolution calls.
        errors : MoveErrors

        Raises
        ------
        InputError
            If no route of that many calls exists or is cheap enough.
        """
        unpriced = self._route_at_price(calls, 0.0, errors)
        if cost is None or self.mean_cost(unpriced) <= cost:
            return unpriced
        low, high = 1e-12, 1e12  # price of a full-resolution call, in units of error
        best: Route | None = None
        for _ in range(_COST_TRIALS):
            price = np.sqrt(low * high)
            route = self._route_at_price(calls, float(price), errors)
            if self.mean_cost(route) <= cost:
                best, high = route, price
            else:
                low = price
        if best is None:
            cheapest = self.mean_cost(self._route_at_price(calls, 1e12, errors))
            raise InputError(
                f"cost {cost}: {calls} calls over {list(self.levels)} cost at least "
                f"{cheapest:.4g} full-resolution calls each; raise the cost or the calls"
            )
        return best

    def _route_at_price(self, calls: int, price: float, errors: MoveErrors) -> Route:
        """Route of exactly ``calls`` calls with the least error plus price times cost."""
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
        self, value: np.ndarray, stay: np.ndarray, price: float, errors: MoveErrors
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put one more call before the routes whose least error plus cost is ``value`` (L, m).

        Returns the new values, and for each state the one that follows it, as level · m + place.
        """
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

    def _trace(self, choices: list[np.ndarray], level: int) -> Route:
        """Follow the choices from the first step at ``level`` to the last."""
        place, step = 0, int(self.candidates[0])
        route = [(step, level)]
        for choice in choices:
            above, to = divmod(int(choice[level, place]), len(self.candidates))
            if above != level and not self.free:
                step -= 1
            else:
                step = int(self.candidates[to])
            level, place = above, to
            route.append((step, level))
        return tuple(route)

    def total_cost(self, route: Route) -> float:
        """Cost of all calls, in full-resolution calls."""
        resolutions = [self.levels[level] for _, level in route]
        if self.free:
            return sum(self.table[r, r] for r in resolutions)
        return sum(self.table[pair] for pair in pairwise([*resolutions, self.levels[0]]))

    def mean_cost(self, route: Route) -> float:
        """Mean cost of a call, in full-resolution calls."""
        return self.total_cost(route) / len(route)


def _deterministic_step(
    logsnr_t: np.ndarray,
    logsnr_s: np.ndarray,
    power: np.ndarray,
    logsnr_before: np.ndarray | None = None,
) -> np.ndarray:
    """Ratio of generated to true amplitude after one step from an exact state, at one resolution.

    Of first order, or of second with the prediction before at ``logsnr_before``.
    """

    def state(logsnr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, sigma = matched_amplitudes(np.exp(logsnr), 1.0)
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
