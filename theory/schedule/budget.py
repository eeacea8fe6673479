"""Criterion "budget": the resolutions with the least oracle error within a cost.

With matched noise and operator `dct` a coefficient's reverse chain does not depend on the state's
resolution, only on the step at which its band opens. The oracle's error is then a sum over bands of
functions of their opening steps, and so is the cost, so that a dynamic program is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..spectrum.bands import shell_index, squared_radius
from ..spectrum.spectrum import Spectrum, check_power
from ..support.errors import InputError
from .attenuation import Attenuation
from .costs import chain_costs
from .noise import NoiseSchedule
from .resolution import ResolutionSchedule
from .reverse_step import reverse_gains

_UNITS = 4000  # cost is counted in whole units of 1/4000 of the full-resolution chain's
_BINS = 48  # powers that stand for all coefficients of a band


def binned_powers(
    spectrum: Spectrum, levels: Sequence[int], attenuation: Attenuation | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Group the coefficients of a spectrum, for fast approximate sums over all of them.

    The coefficients of each band between levels are grouped by power into up to 48 groups, even in
    the logarithm. With an attenuation each group is divided in the same way by envelope.

    Parameters
    ----------
    spectrum : Spectrum
    levels : sequence of int
        Edges of the bands, in pixels.
    attenuation : Attenuation, optional

    Returns
    -------
    power, shell, count, squared_radius : (K,) arrays, sorted by shell
        For each group its mean power; the smallest shell ``max(k1, k2)`` of its band; the number of
        its coefficients; their mean ``k1² + k2²``.

    Raises
    ------
    InputError
        If the spectrum has no power.
    """
    check_power(spectrum)
    shell = np.repeat(shell_index(spectrum.resolution).ravel(), spectrum.channels)
    flat, radius = spectrum.power.ravel(), squared_radius(spectrum.power)
    groups = []
    for low, high in pairwise([0, *sorted(levels)]):
        own = (shell >= low) & (shell < high) & (flat > 0)
        if not own.any():
            continue
        group = _bins(flat[own], _BINS)
        if attenuation is not None:  # the envelope falls with the radius, so bins are rings
            group = group * (_BINS + 1) + _bins(attenuation.envelope(radius[own]), _BINS)
        _, group, count = np.unique(group, return_inverse=True, return_counts=True)
        means = [np.bincount(group, values[own]) / count for values in (flat, radius)]
        groups.append((means[0], np.full(len(count), low), count, means[1]))
    power, shells, counts, radii = (np.concatenate(parts) for parts in zip(*groups, strict=True))
    return power, shells, counts, radii


def _bins(values: np.ndarray, number: int) -> np.ndarray:
    """Bin of each value, even in its logarithm, from 0 to ``number − 1``; ``number`` for zeros."""
    bins, positive = np.full(values.shape, number), values > 0
    logs = np.log(values[positive])
    if logs.size:
        width = (logs.max() - logs.min()) / number or 1.0
        bins[positive] = np.minimum((logs - logs.min()) // width, number - 1)
    return bins


def opening_errors(spectrum: Spectrum, noise: NoiseSchedule, levels: Sequence[int]) -> np.ndarray:
    """Relative W2² of each band as a function of the step at which the ancestral chain opens it.

    Parameters
    ----------
    spectrum : Spectrum
    noise : NoiseSchedule
        T steps, all visited.
    levels : sequence of L int
        Falling; the spectrum's resolution first.

    Returns
    -------
    (L − 1, T + 1) float64
        Entry ``(b, t)``: of the band from ``levels[b + 1]`` to ``levels[b]`` when steps from ``t``
        on run below ``levels[b]``; ``t = T`` is a chain that has the band from its start.
    """
    power, shell, count, _ = binned_powers(spectrum, levels)
    a, sigma = noise.alpha[:, None], noise.sigma[:, None]
    marginal = a**2 * power + sigma**2  # (T, K)
    wiener = a * power / marginal
    gain, fresh = reverse_gains((a[1:], sigma[1:]), (a[:-1], sigma[:-1]), 1.0, 1.0)
    factor = a[:-1] * wiener[1:] + gain * (1 - a[1:] * wiener[1:])
    growth = factor**2 * marginal[1:] / marginal[:-1]  # of δ from t + 1 to t
    local = growth - 1 + fresh / marginal[:-1]
    # δ of the last state is slope[t] δ_t + offset[t] for the state at t.
    slope, offset = np.ones_like(marginal), np.zeros_like(marginal)
    for t in range(1, len(noise)):
        slope[t] = slope[t - 1] * growth[t - 1]
        offset[t] = offset[t - 1] + slope[t - 1] * local[t - 1]
    opened = slope * (sigma**2 / marginal - 1) + offset  # opened at t: noise alone in the state
    delta = np.concatenate([opened[:1], opened[:-1], offset[-1:]])[1:]  # by the step before: t + 1
    delta = np.concatenate([np.full_like(delta[:1], np.nan), delta])
    kept = a[0] ** 2 * power / marginal[0]  # share of the variance in the clean prediction
    error = count * power * (np.sqrt(np.maximum(kept * (1 + delta), 0)) - 1) ** 2  # (T + 1, K)
    bands = [
        error[:, (shell >= low) & (shell < high)].sum(axis=1) for high, low in pairwise(levels)
    ]
    result = np.stack(bands) / spectrum.power.sum() if bands else np.empty((0, len(noise) + 1))
    result[:, 0] = np.inf  # step 0 is at full resolution
    return result


def budget_resolutions(
    spectrum: Spectrum,
    noise: NoiseSchedule,
    levels: Sequence[int],
    budget: float,
) -> np.ndarray:
    """Resolutions of all T steps with the least oracle error within a mean cost.

    The error is that of the ancestral chain of all steps. A change that skips a level costs more
    than the search assumes; with few steps, where a single one is a large share of the cost, a
    chain of less error may therefore be missed.

    Parameters
    ----------
    spectrum : Spectrum
    noise : NoiseSchedule
    levels : sequence of int
        Falling; the spectrum's resolution first.
    budget : float
        Largest mean cost of a call, in full-resolution calls (`theory.schedule.costs.chain_costs`).

    Returns
    -------
    (T,) int

    Raises
    ------
    InputError
        If no chain over the levels is that cheap.
    """
    table = chain_costs(levels)[1]
    errors = opening_errors(spectrum, noise, levels)
    savings = _savings(levels, len(noise), table)
    need = (1 - budget / table[levels[0], levels[0]]) * _UNITS
    few = 3 * len(levels)  # a skipped level's change may cost a little more than assumed
    for extra in (*range(few), *(few << i for i in range(1, _UNITS.bit_length()))):
        openings = _least_error(errors, savings, need + extra)
        if openings is None:
            break
        level = (np.arange(len(noise)) >= np.array(openings, int)[:, None]).sum(axis=0)
        resolutions = np.array(levels)[level]
        chain = ResolutionSchedule.from_noise(resolutions, noise, levels=tuple(levels))
        if chain.chain_cost(table) <= budget:
            return resolutions
    least = np.array([levels[0], *[levels[-1]] * (len(noise) - 1)])
    cheapest = ResolutionSchedule.from_noise(least, noise, levels=tuple(levels)).chain_cost(table)
    if cheapest <= budget:
        return least
    raise InputError(
        f"budget {budget}: a chain over {list(levels)} costs at least {cheapest:.4g} of full "
        "resolution; raise the budget or add smaller levels"
    )


def _savings(
    levels: Sequence[int], steps: int, table: Mapping[tuple[int, int], float]
) -> np.ndarray:
    """Cost saved by one level lower from step ``t`` on, in units of `_UNITS`: (L − 1, T + 1)."""
    t = np.arange(steps + 1)
    rows = []
    for high, low in pairwise(levels):
        saved = (steps - t) * (table[high, high] - table[low, low])
        rows.append(saved - (t < steps) * (table[low, high] - table[low, low]))
    return np.array(rows).reshape(-1, steps + 1) * _UNITS / (steps * table[levels[0], levels[0]])


def _least_error(errors: np.ndarray, savings: np.ndarray, need: float) -> list[int] | None:
    """Opening steps ``t_1 ≤ t_2 ≤ …`` with least total error that save at least ``need`` units."""
    target = max(int(np.ceil(need)), 0)
    units = np.floor(savings + 1e-9).clip(min=0).astype(int)
    bands, columns = errors.shape
    best = np.full((columns, target + 1), np.inf)  # by this band's opening step and units saved
    best[0, 0] = 0.0
    choices = []
    for band in range(bands):
        # Least error so far over earlier openings, and which opening that is.
        running = np.minimum.accumulate(best, axis=0)
        improved = best == running
        which = np.where(improved, np.arange(columns)[:, None], 0)
        choices.append((np.maximum.accumulate(which, axis=0), running))
        best = np.full_like(best, np.inf)
        for t in range(1, columns):
            saved = min(units[band, t], target)
            row = running[t] + errors[band, t]
            best[t, saved:target] = row[: target - saved]
            best[t, target] = row[target - saved :].min()  # more than needed counts as enough
    t = int(np.argmin(best[:, target]))
    if not np.isfinite(best[t, target]):
        return None
    openings = []
    left = target
    for band in range(bands - 1, -1, -1):
        openings.append(t)
        which, running = choices[band]
        saved = min(units[band, t], target)
        if left == target:
            left = target - saved + int(np.argmin(running[t, target - saved :]))
        else:
            left -= saved
        t = int(which[t, left])
    return openings[::-1]
