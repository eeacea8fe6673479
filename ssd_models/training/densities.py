"""Probability densities over the diffusion steps that training draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from theory.support.errors import InputError

if TYPE_CHECKING:  # not imported at run time, so that the command line starts faster
    from theory.schedule.resolution import ResolutionSchedule


def _steps(schedule: ResolutionSchedule) -> np.ndarray:
    """Uniform in the step, as in DDPM (Ho et al. 2020)."""
    return np.ones(schedule.num_steps)


def _pixels(schedule: ResolutionSchedule) -> np.ndarray:
    """Proportional to the number of pixels of the step's state."""
    return schedule.resolutions.astype(np.float64) ** 2


def _mixed(schedule: ResolutionSchedule) -> np.ndarray:
    """Half uniform in the step, half uniform in the log-snr of the full resolution.

    The log-snr falls fastest at little noise. Those steps, which determine the highest octaves and
    mostly run at full resolution, are therefore drawn more often than under "steps".
    """
    logsnr = np.log(schedule.base_snr)
    lengths = np.abs(np.gradient(logsnr)) if len(logsnr) > 1 else np.ones(1)
    return 1 / len(logsnr) + lengths / lengths.sum()


DENSITIES: dict[str, Callable[[ResolutionSchedule], np.ndarray]] = {
    "steps": _steps,
    "pixels": _pixels,
    "mixed": _mixed,
}
"""All densities by name: functions of a schedule that return (T,) positive weights."""


def step_density(schedule: ResolutionSchedule, name: str) -> np.ndarray:
    """Probability of each step under a density of `DENSITIES`, (T,).

    Raises
    ------
    InputError
        If there is no density of that name.
    """
    if name not in DENSITIES:
        raise InputError(f"density {name!r}: choose from {', '.join(DENSITIES)}")
    density = DENSITIES[name](schedule)
    return density / density.sum()
