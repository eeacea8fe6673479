"""How often training draws each diffusion step: densities over the steps of a schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from theory.support.errors import InputError

if TYPE_CHECKING:  # the command line needs the names alone, and starts sooner so
    from theory.schedule.resolution import ResolutionSchedule


def _steps(schedule: ResolutionSchedule) -> np.ndarray:
    """Every step alike, as DDPM trains (Ho et al. 2020)."""
    return np.ones(schedule.num_steps)


def _pixels(schedule: ResolutionSchedule) -> np.ndarray:
    """In proportion to the pixels of the step's state."""
    return schedule.resolutions.astype(np.float64) ** 2


def _mixed(schedule: ResolutionSchedule) -> np.ndarray:
    """Half uniform in the step, half uniform in the log-snr of the full resolution.

    Log-snr falls fastest where there is little noise, so those steps, which decide the highest
    octaves and mostly run at full resolution, are drawn more often than by steps alone.
    """
    logsnr = np.log(schedule.base_snr)
    lengths = np.abs(np.gradient(logsnr)) if len(logsnr) > 1 else np.ones(1)
    return 1 / len(logsnr) + lengths / lengths.sum()


DENSITIES: dict[str, Callable[[ResolutionSchedule], np.ndarray]] = {
    "steps": _steps,
    "pixels": _pixels,
    "mixed": _mixed,
}
"""Every density by name, from a schedule to (T,) positive numbers in proportion to it."""


def step_density(schedule: ResolutionSchedule, name: str) -> np.ndarray:
    """Probability of each step under the density called ``name``, (T,).

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in DENSITIES:
        raise InputError(f"density {name!r}: choose from {', '.join(DENSITIES)}")
    density = DENSITIES[name](schedule)
    return density / density.sum()
