"""Choosing the steps that a sampler visits: evenly spaced on some axis, or planned."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ..schedule.budget import binned_powers
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .recursion import Chains, amplitude_error, propagate
from .refinement import Steps, refine_steps, stretch
from .report import visited_steps
from .sampler import DDIM, SECOND_ORDER, Sampler

_RHO = 7.0  # Karras et al. 2022, section 3

_AXES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uniform": lambda snr: np.arange(float(len(snr))),
    "logsnr": lambda snr: -np.log(snr),
    "edm": lambda snr: snr ** (-0.5 / _RHO),
}
SPACINGS = (*_AXES, "alpha", "planned")
"""Names of the spacings, see `select_steps`."""


def select_steps(
    schedule: ResolutionSchedule,
    num_steps: int | None = None,
    spacing: str = "logsnr",
    sampler: Sampler = DDIM,
    spectrum: Spectrum | None = None,
    last_snr: float | None = None,
) -> list[int]:
    """Choose the steps of a sampler: the first, the last, those that changes need, and others.

    Parameters
    ----------
    schedule : ResolutionSchedule
    num_steps : int, optional
        Number of network calls; all steps by default. If it is below the number of mandatory
        steps, those are returned.
    spacing : {"uniform", "logsnr", "edm", "alpha", "planned"}
        How the steps are spread, see the table below.
    sampler : Sampler
        With free changes the step just after every change is visited; otherwise those on both
        sides, as the network predicts across a change from the step just before it. "planned" steps
        depend on its order and ``eta`` as well.
    spectrum : Spectrum, optional
        Of the data; needed for "alpha", and for "planned" unless the schedule has a plan.
    last_snr : float, optional
        Ends the chain at the noisiest step whose signal-to-noise ratio (`base_snr`) is at least
        this, in place of step 0; the prediction there is the image. Infinity is as None. Not with
        "planned".

    Returns
    -------
    list of int, falling

    Notes
    -----
    | spacing | even steps of |
    | --- | --- |
    | uniform | the step index |
    | logsnr | the log-snr of the full-resolution chain, which is continuous across changes |
    | edm | ``(σ/a)^(1/7)`` of that chain (Karras et al. 2022, eq. 5) |
    | alpha | the mean over DCT coefficients of ``asinh √(snr_k S_k)`` |
    | planned | nothing: steps are shifted to lower the oracle's error (`plan_steps`) |

    "alpha" is the coordinate in which `ssd_models.sampling.whitened.sample_whitened` integrates.
    "planned" returns the steps of the schedule's plan (`theory.plan_sampling`) if it has one for
    this number of calls, or no number is given.

    Raises
    ------
    InputError
        If an option is unknown, the number is out of range, the spectrum is missing, or the spacing
        needs a snr that falls at every step and the schedule's does not.
    """
    if spacing not in SPACINGS:
        raise InputError(f"spacing {spacing!r}: unknown; choose from {', '.join(SPACINGS)}")
    first, last = schedule.num_steps - 1, last_step(schedule, last_snr)
    if last and spacing == "planned":
        raise InputError("last_snr: planned steps end at step 0; choose another spacing")
    sampler = sampler.on(schedule)
    own = schedule.derivation.get("plan", {})
    if spacing == "planned" and own.get("changes", "network") == sampler.changes:
        steps = [int(t) for t in own.get("steps", [])]
        if steps and num_steps in (None, len(steps)):
            return visited_steps(schedule, steps)
    if num_steps is None:
        if spacing == "planned":
            raise InputError("spacing 'planned': give a number of steps, the schedule has no plan")
        return list(range(first, last - 1, -1))
    if not 1 <= num_steps <= schedule.num_steps:
        raise InputError(
            f"{num_steps} sampling steps: must be between 1 and the schedule's {first + 1}"
        )
    needed = {t for t in mandatory_steps(schedule, sampler) if t > last} | {last}
    if spacing == "planned":
        if spectrum is None:
            raise InputError("spacing 'planned': needs the spectrum of the data")
        return plan_steps(schedule, spectrum, num_steps, sampler)[0]
    snr = schedule.base_snr
    if spacing != "uniform" and (np.diff(snr) >= 0).any():
        raise InputError(
            f"spacing {spacing!r}: the schedule's snr does not fall at every step; use 'uniform'"
        )
    if spacing == "alpha":
        if spectrum is None:
            raise InputError("spacing 'alpha': needs the spectrum of the data")
        axis = -mean_alpha(schedule, spectrum)
    else:
        axis = _AXES[spacing](snr)
    return _evenly(axis, sorted(needed), num_steps)


def last_step(schedule: ResolutionSchedule, snr: float | None) -> int:
    """Noisiest step whose `base_snr` is at least ``snr``; 0 for None and infinity.

    Raises
    ------
    InputError
        If no step of full resolution has that signal-to-noise ratio.
    """
    if snr is None or snr == math.inf:
        return 0
    there = np.flatnonzero(schedule.base_snr >= snr)
    if not snr > 0 or not len(there) or schedule.resolutions[there[-1]] < schedule.resolution:
        least = schedule.base_snr[schedule.resolutions == schedule.resolution].min()
        raise InputError(
            f"last_snr {snr:g}: states of full resolution have signal-to-noise ratios from "
            f"{least:.3g} to {schedule.base_snr.max():.3g}"
        )
    return int(there[-1])


def mean_alpha(schedule: ResolutionSchedule, spectrum: Spectrum) -> np.ndarray:
    """Mean over the data's DCT coefficients of ``α = asinh √(snr_k S_k)`` at each step, (T,).

    ``snr_k`` is the squared signal amplitude over the noise's variance of coefficient k in the
    state, zero where the state has none (mathematics §8). Coefficients of a band are grouped by
    power (`theory.schedule.budget.binned_powers`).

    Parameters
    ----------
    schedule : ResolutionSchedule
        Without blur.
    spectrum : Spectrum
        Of the data, at the schedule's resolution.

    Raises
    ------
    InputError
        If the schedule blurs, or the resolutions differ.
    """
    power, shell, count, radius = _grouped(schedule, spectrum, "spacing 'alpha'")
    ratio = schedule.kept_band_snr[:, None] * power * (shell < schedule.resolutions[:, None])
    if schedule.attenuation is not None:
        envelope = schedule.attenuation.envelope(radius)
        ratio *= schedule.attenuation.gain(schedule.base_snr[:, None], envelope) ** 2
    return np.arcsinh(np.sqrt(ratio)) @ count / count.sum()


def mandatory_steps(schedule: ResolutionSchedule, sampler: Sampler = DDIM) -> set[int]:
    """Steps that a sampler must visit: the first, the last, and those that changes need."""
    sides = schedule.change_sides
    if sampler.on(schedule).free:
        sides = {t - 1 for t in schedule.changes}
    return {0, schedule.num_steps - 1} | sides


def plan_steps(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    num_steps: int,
    sampler: Sampler = SECOND_ORDER,
) -> tuple[list[int], float]:
    """Steps of a given schedule that lower the oracle's error, by coordinate descent.

    The descent starts from each even spacing, and the best result is returned.
    `theory.plan_sampling` chooses the schedule as well.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Without blur.
    spectrum : Spectrum
        Of the data, at the schedule's resolution.
    num_steps, sampler
        As in `select_steps`. At order 2 no step becomes longer than twice the one before it, in
        log-snr, unless the even spacing has such a step.

    Returns
    -------
    steps : list of int, falling
    error : float
        Relative W2², with coefficients grouped by power and every operator treated as `dct`.

    Raises
    ------
    InputError
        If the schedule blurs, or the resolutions differ.
    """
    power, shell, count, radius = _grouped(schedule, spectrum, "plan_steps")
    sampler = sampler.on(schedule)
    fixed = {0, schedule.num_steps - 1} | (set() if sampler.free else schedule.change_sides)
    logsnr = np.log(schedule.base_snr)

    def errors(chains: Sequence[Steps]) -> np.ndarray:
        states = Chains.of([schedule] * len(chains), chains)
        delta = propagate(states, power, shell, sampler, squared_radius=radius)[0]
        return amplitude_error(delta) ** 2 @ (count * power) / spectrum.power.sum()

    def lengths(steps: Steps) -> float:
        if sampler.order == 1:
            return 0.0
        first_sides = set() if sampler.free else set(schedule.changes)
        return stretch(logsnr[[t for t in steps if t not in first_sides]])

    found = []
    for axis in _AXES:
        steps = select_steps(schedule, num_steps, axis, sampler)
        groups = [[i] for i, t in enumerate(steps) if t not in fixed]
        limit = lengths(tuple(steps))

        def short(chain: Steps, limit: float = limit) -> bool:
            return lengths(chain) <= limit

        found.append(refine_steps(steps, groups, errors, short))
    best, error = min(found, key=lambda pair: pair[1])
    return list(best), error


def _grouped(
    schedule: ResolutionSchedule, spectrum: Spectrum, who: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`binned_powers` of a schedule's bands, or `InputError` naming ``who`` if they do not fit."""
    schedule.check_spectrum(spectrum)
    if schedule.blurs:
        raise InputError(f"{who}: needs a schedule without blur")
    return binned_powers(spectrum, schedule.levels, schedule.attenuation)


def _evenly(axis: np.ndarray, needed: list[int], num_steps: int) -> list[int]:
    """The needed steps and others between them, evenly spaced on ``axis`` (T,)."""
    # Each further step goes to the segment with the widest gaps.
    inner = dict.fromkeys(pairwise(needed), 0)
    heap = [(-(axis[b] - axis[a]), a, b) for a, b in inner if b - a > 1]
    heapq.heapify(heap)
    for _ in range(num_steps - len(needed)):
        if not heap:
            break
        _, a, b = heapq.heappop(heap)
        inner[a, b] += 1
        if inner[a, b] < b - a - 1:
            heapq.heappush(heap, (-(axis[b] - axis[a]) / (inner[a, b] + 1), a, b))
    chosen = set(needed)
    for (a, b), count in inner.items():
        position = np.linspace(axis[a], axis[b], count + 2)[1:-1]
        steps = np.rint(np.interp(position, axis[a : b + 1], np.arange(a, b + 1))).astype(int)
        order = np.arange(count)  # steps that rounding made equal are pushed apart inside (a, b)
        steps = np.maximum.accumulate(np.maximum(steps, a + 1) - order) + order
        steps = np.minimum(steps, b - count + order)
        chosen.update(steps.tolist())
    return sorted(chosen, reverse=True)
