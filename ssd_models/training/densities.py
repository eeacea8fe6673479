"""Probability densities over the diffusion steps that training draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from theory.support.errors import InputError

if TYPE_CHECKING:  # not imported at run time, so that the command line starts faster
    from theory.schedule.resolution import ResolutionSchedule
    from theory.spectrum.spectrum import Spectrum

_Measured = Callable[[], "Spectrum | None"]


def _steps(schedule: ResolutionSchedule, spectrum: _Measured) -> np.ndarray:
    """Uniform in the step, as in DDPM (Ho et al. 2020)."""
    return np.ones(schedule.num_steps)


def _pixels(schedule: ResolutionSchedule, spectrum: _Measured) -> np.ndarray:
    """Proportional to the number of pixels of the step's state."""
    return schedule.resolutions.astype(np.float64) ** 2


def _mixed(schedule: ResolutionSchedule, spectrum: _Measured) -> np.ndarray:
    """Half uniform in the step, half uniform in the log-snr of the full resolution.

    The log-snr falls fastest at little noise. Those steps, which determine the highest octaves and
    mostly run at full resolution, are therefore drawn more often than under "steps".
    """
    logsnr = np.log(schedule.base_snr)
    lengths = np.abs(np.gradient(logsnr)) if len(logsnr) > 1 else np.ones(1)
    return 1 / len(logsnr) + lengths / lengths.sum()


def _information(schedule: ResolutionSchedule, spectrum: _Measured) -> np.ndarray:
    """Square root of the bits that a step adds over the cost of its network call.

    Errors that fall like one over the number n of images seen at a noise level, weighed by the bits
    of that level, have the least sum at a given cost with such n. Bits are those of Gaussian data
    of the spectrum, cost is that of `theory.schedule.costs.chain_costs`.
    """
    from theory.information.bounds import schedule_information
    from theory.schedule.costs import chain_costs

    measured = spectrum()
    if measured is None:
        raise InputError("density 'information': needs at least two different training images")
    bits = schedule_information(schedule, measured)
    added = np.abs(np.gradient(bits)) if len(bits) > 1 else np.ones(1)
    _, table = chain_costs(schedule.levels)
    paths = zip(schedule.resolutions.tolist(), schedule.output_resolutions.tolist(), strict=True)
    density = np.sqrt(added / [table[path] for path in paths])
    return np.maximum(density, 1e-3 * density.mean())  # every step can be drawn


DENSITIES: dict[str, Callable[[ResolutionSchedule, _Measured], np.ndarray]] = {
    "steps": _steps,
    "pixels": _pixels,
    "mixed": _mixed,
    "information": _information,
}
"""All densities by name; arguments as those of `step_density`, return (T,) positive weights."""


def step_density(schedule: ResolutionSchedule, name: str, spectrum: _Measured) -> np.ndarray:
    """Probability of each step under a density of `DENSITIES`, (T,).

    Parameters
    ----------
    schedule : ResolutionSchedule
    name : str
    spectrum : callable
        Returns the spectrum of the training images, or None if there is none; called only by
        densities that depend on the data.

    Raises
    ------
    InputError
        If there is no density of that name, or it needs a spectrum and there is none.
    """
    if name not in DENSITIES:
        raise InputError(f"density {name!r}: choose from {', '.join(DENSITIES)}")
    density = DENSITIES[name](schedule, spectrum)
    return density / density.sum()
