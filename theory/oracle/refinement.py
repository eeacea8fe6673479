"""Coordinate descent on the steps of a chain, many trials at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

_SHIFTS = (-64, -32, -16, -8, -4, -2, -1, 1, 2, 4, 8, 16, 32, 64)
_SWEEPS = 200
LONGEST = 2.0
"""Largest ratio of a second-order step's length to that of the step before it: at this ratio the
sampler may amplify a network's error threefold."""

Steps = tuple[int, ...]  # falling


def refine_steps(
    steps: Sequence[int],
    groups: Sequence[Sequence[int]],
    errors: Callable[[Sequence[Steps]], np.ndarray],
    allowed: Callable[[Steps], bool] = lambda steps: True,
) -> tuple[Steps, float]:
    """Shift the steps of a chain as long as that lowers its error.

    Parameters
    ----------
    steps : sequence of int, falling
    groups : sequence of sequences of int
        Indices of the steps that may move; those of a group move together.
    errors : callable
        Function from a list of chains of this length to their errors.
    allowed : callable
        Whether a chain may be used.

    Returns
    -------
    steps : tuple of int
    error : float
    """
    current = tuple(steps)
    best = float(errors([current])[0])
    for _ in range(_SWEEPS):
        moved = [
            (g, shift, shifted)
            for g in range(len(groups))
            for shift in _SHIFTS
            if (shifted := _shift(current, groups, {g: shift})) is not None and allowed(shifted)
        ]
        if not moved:
            break
        gains: dict[int, tuple[float, int]] = {}
        found = errors([shifted for _, _, shifted in moved])
        for (g, shift, _), error in zip(moved, found, strict=True):
            if error < gains.get(g, (best, 0))[0]:
                gains[g] = (float(error), shift)
        if not gains:
            break
        # Apply all shifts that help, those of every other group, or the most helpful one.
        single = min(gains, key=lambda g: gains[g][0])
        trials = [
            {g: gains[g][1] for g in gains if chosen(g)}
            for chosen in (
                lambda g: True,
                lambda g: g % 2 == 0,
                lambda g: g % 2 == 1,
                lambda g, single=single: g == single,
            )
        ]
        chains = [
            chain
            for trial in trials
            if trial and (chain := _shift(current, groups, trial)) is not None and allowed(chain)
        ]
        found = errors(chains)
        chosen_chain = int(np.argmin(found))
        if found[chosen_chain] >= best * (1 - 1e-4):
            break
        current, best = chains[chosen_chain], float(found[chosen_chain])
    return current, best


def stretch(logsnr: np.ndarray) -> float:
    """Largest ratio of a step's length in log-snr to that of the one before, at least `LONGEST`."""
    lengths = np.diff(logsnr)
    return max(LONGEST, *(lengths[1:] / lengths[:-1]).tolist(), LONGEST)


def _shift(
    steps: Steps, groups: Sequence[Sequence[int]], shifts: Mapping[int, int]
) -> Steps | None:
    """Chain with some groups shifted; None if steps would coincide, cross or become negative."""
    moved = list(steps)
    for group, shift in shifts.items():
        for i in groups[group]:
            moved[i] += shift
    if moved[-1] < 0 or any(after >= before for before, after in pairwise(moved)):
        return None
    return tuple(moved)
