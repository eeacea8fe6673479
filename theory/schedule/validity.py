"""What makes a resolution schedule valid: checks of its entries (mathematics §2 and §8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..support.errors import InputError

if TYPE_CHECKING:
    from .attenuation import Attenuation
    from .resolution import ResolutionSchedule

_ROUNDING = 1e-9  # relative; a matched change by box or dct meets the validity bound with equality


def check_steps(schedule: ResolutionSchedule) -> None:
    """Check resolutions, blurs, amplitudes and the validity of every step.

    Raises
    ------
    InputError
        If a resolution grows or is not a level, a blur falls, amplitudes are not on the unit
        circle, or ``σ_t² < (a_t/a_s)² σ_s² λ_max(M Mᵀ)``. The first such entry is named.
    """
    r, a, sigma, blur = schedule.resolutions, schedule.alpha, schedule.sigma, schedule.blur
    levels = schedule.levels
    if r[0] != levels[0]:
        raise InputError(
            f"resolutions[0] = {r[0]}: the least noisy step must have full resolution, {levels[0]}"
        )
    _refuse_first(
        ~np.isin(r, levels),
        lambda t: f"resolutions[{t}] = {r[t]}: is not one of the levels {list(levels)}",
    )
    _refuse_first(
        np.diff(r, prepend=r[:1]) > 0,
        lambda t: (
            f"resolutions[{t}] = {r[t]}: must not be larger than resolutions[{t - 1}] = {r[t - 1]}"
        ),
    )
    _refuse_first(
        ~np.isfinite(blur) | (np.diff(blur, prepend=0.0) < 0),
        lambda t: f"blur[{t}] = {blur[t]}: must be finite, and not smaller than the one before",
    )
    with np.errstate(invalid="ignore"):
        off_circle = ~(np.abs(a**2 + sigma**2 - 1) < 1e-8) | ~(a > 0) | ~(sigma > 0)
    _refuse_first(
        off_circle,
        lambda t: (
            f"alpha[{t}] = {a[t]}, sigma[{t}] = {sigma[t]}: both must be positive, "
            "with alpha² + sigma² = 1"
        ),
    )
    least = (a[1:] / a[:-1]) ** 2 * sigma[:-1] ** 2 * schedule.change_gains[1:]
    _refuse_first(
        np.append(False, sigma[1:] ** 2 < least * (1 - _ROUNDING)),
        lambda t: (
            f"step {t - 1} -> {t} ({r[t - 1]} -> {r[t]} pixels): is not a valid step, "
            f"sigma² = {sigma[t] ** 2:.6g} where at least {least[t - 1]:.6g} is needed"
        ),
    )


def check_attenuated_states(schedule: ResolutionSchedule, attenuation: Attenuation) -> None:
    """Check that every coefficient that a state leaves out is attenuated to zero there.

    Raises
    ------
    InputError
        If one is not, the signal-to-noise ratio rises, or operator, noise mode or blur do not
        allow an attenuation.
    """
    if schedule.operator != "dct" or schedule.noise_mode != "matched" or schedule.blurs:
        raise InputError("attenuation: needs operator 'dct', matched noise and no blur")
    snr, r = schedule.base_snr, schedule.resolutions
    _refuse_first(
        np.append(False, np.diff(snr) > 0),
        lambda t: f"alpha[{t}]: the signal-to-noise ratio must not rise with an attenuation",
    )
    # The largest envelope outside a state is at its nearest frequency, (r, 0).
    outside = np.where(r < schedule.resolution, attenuation.envelope(r.astype(float) ** 2), 0.0)
    _refuse_first(
        attenuation.gain(snr, outside) > 0,
        lambda t: (
            f"resolutions[{t}] = {r[t]}: leaves out coefficients that the attenuation has not "
            "brought to zero"
        ),
    )


def _refuse_first(wrong: np.ndarray, message: Callable[[int], str]) -> None:
    """Raise `InputError` with the message for the first wrong step, if there is one."""
    if wrong.any():
        raise InputError(message(int(np.argmax(wrong))))
