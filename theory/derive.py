"""Deriving a resolution schedule from a spectrum: when is a smaller state enough?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .errors import InputError
from .information import band_mask, discarded_information, gaussian_information
from .noise import NoiseSchedule
from .schedules import ResolutionSchedule, check_levels
from .spectrum import Spectrum

_Excess = Callable[[Spectrum, np.ndarray, int], np.ndarray]


def _discarded_snr(spectrum: Spectrum, snr: np.ndarray, level: int) -> np.ndarray:
    """Largest ``snr S_k`` among the discarded coefficients."""
    return snr * spectrum.power[~band_mask(spectrum.resolution, level)].max(initial=0.0)


def _discarded_share(spectrum: Spectrum, snr: np.ndarray, level: int) -> np.ndarray:
    """Discarded information as a share of all that the state holds."""
    total = np.asarray(gaussian_information(spectrum, snr))
    lost = np.asarray(discarded_information(spectrum, snr, level))
    return np.divide(lost, total, out=np.zeros_like(lost), where=total > 0)


def _discarded_bits(spectrum: Spectrum, snr: np.ndarray, level: int) -> np.ndarray:
    """Discarded information in bits per pixel of the full image, all colours together."""
    return np.asarray(discarded_information(spectrum, snr, level)) / spectrum.resolution**2


_CRITERIA: dict[str, _Excess] = {
    "snr": _discarded_snr,
    "information": _discarded_share,
    "bits": _discarded_bits,
}

CRITERIA = tuple(_CRITERIA)
"""Names of the criteria."""


def derive_schedule(
    spectrum: Spectrum,
    noise: NoiseSchedule,
    levels: Sequence[int] = (64, 32, 16, 8),
    criterion: str = "snr",
    tolerance: float = 0.1,
    noise_mode: str = "matched",
    operator: str = "box",
) -> ResolutionSchedule:
    """Smallest resolutions that a criterion allows, step by step (mathematics §5).

    A level ``r`` is enough at step ``t`` of the full-resolution chain when what a state of ``r``
    pixels would lack is at most ``tolerance``. Smaller levels are only entered for good: a level is
    in use from the first step after which it stays enough.

    Parameters
    ----------
    spectrum : Spectrum
        Of the dataset, at full resolution ``levels[0]``.
    noise : NoiseSchedule
        The base chain.
    levels : sequence of int
        Allowed resolutions in pixels, falling.
    criterion : {"snr", "information", "bits"}
        What is measured of the discarded band: its largest ``snr_t S_k``; its information as a
        share of ``I_G(t)``; its information in bits per pixel of the full image.
    tolerance : float
        At least 0, in the criterion's unit.
    noise_mode : {"matched", "paper"}
    operator : {"box", "dct", "bilinear", "lanczos"}
        How a change downsamples. The criteria count the ideal band of each level.

    Returns
    -------
    ResolutionSchedule

    Raises
    ------
    InputError
        For an unknown criterion, a negative tolerance, or levels that do not begin with the
        spectrum's resolution.
    """
    levels = check_levels(levels)
    if criterion not in _CRITERIA:
        raise InputError(f"criterion {criterion!r}: unknown; choose from {', '.join(CRITERIA)}")
    if not 0 <= tolerance < np.inf:
        raise InputError(f"tolerance {tolerance}: must be a number of at least 0")
    if levels[0] != spectrum.resolution:
        raise InputError(
            f"levels {list(levels)}: must begin with the spectrum's resolution, "
            f"{spectrum.resolution}"
        )
    excess = _CRITERIA[criterion]
    resolutions = np.full(len(noise), levels[0])
    for level in levels[1:]:
        lacking = excess(spectrum, noise.snr, level) > tolerance
        first = len(noise) - int(np.argmax(lacking[::-1])) if lacking.any() else 0
        # Step 0 ends the chain at full resolution whatever the criterion allows.
        entered = np.arange(len(noise)) >= max(first, 1)
        resolutions = np.where(entered, level, resolutions)
    return ResolutionSchedule.from_noise(
        resolutions,
        noise,
        noise_mode,
        operator,
        levels=levels,
        derivation={
            "criterion": criterion,
            "tolerance": float(tolerance),
            "base": noise.name,
            "spectrum_sha256": spectrum.sha256,
            "source": spectrum.meta.get("source"),
        },
    )
