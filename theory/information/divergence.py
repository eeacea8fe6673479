"""Divergence of a sampler's state from the true one at changes of resolution, in nats.

At a change from a smaller state to a larger one a sampler fills the new band with white noise,
where the true state has signal and noise. For any data the divergence is

    D = ½ (m²/σ²) E‖x_H − E[x_H | y_L]‖² − I(x_H; y_H | y_L)

with ``x_H`` the band that opens and ``y_L`` the smaller state: less than ``½ Σ ρ_k``, and for
Gaussian data ``½ Σ [ρ_k − ln(1 + ρ_k)]``, with ``ρ_k = m_k² S_k / σ²`` (mathematics §8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError

if TYPE_CHECKING:  # schedules are derived from information
    from ..schedule.resolution import ResolutionSchedule
    from .measured import MeasuredInformation


@dataclass(frozen=True)
class ChangeDivergence:
    """Divergence at one change of resolution, in nats per image."""

    step: int  # t, the first at the lower resolution
    before: int  # pixels a side, of the state at t − 1
    after: int  # of that at t
    gaussian: float  # KL(truth ‖ sampler's state) of Gaussian data with the spectrum
    bound: float  # upper bound for all data with the spectrum


def change_divergence(schedule: ResolutionSchedule, spectrum: Spectrum) -> list[ChangeDivergence]:
    """Divergence at each change of resolution: for Gaussian data, and a bound for all data.

    It is that of the state on the less noisy side of the change (mathematics §8), and exactly zero
    with an attenuation, as the new band then has no signal. With the paper's noise a change also
    takes information from the band that it keeps; that is counted as well.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Of the operator `dct`.
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.

    Returns
    -------
    list of ChangeDivergence, by rising step

    Raises
    ------
    InputError
        If the resolutions differ or the operator mixes DCT coefficients.
    """
    schedule.check_spectrum(spectrum)
    if schedule.mixes_frequencies:
        raise InputError(
            f"operator {schedule.operator!r}: mixes DCT coefficients, so that no band of its own "
            "opens; use operator 'dct'"
        )
    kept = schedule.kept_band_snr / schedule.base_snr  # falls where a change adds noise
    found = []
    for t, (before, after) in schedule.changes.items():
        gaussian = bound = 0.0
        if schedule.attenuation is None:
            gains = schedule.alpha[t - 1] * schedule.transfer(t - 1)[:, :, None]
            ratio = (gains / schedule.sigma[t - 1]) ** 2 * spectrum.power[:before, :before]
            share = np.zeros(ratio.shape)  # of the signal-to-noise ratio that stays
            share[:after, :after] = min(float(kept[t] / kept[t - 1]), 1.0)
            new = (1 - share) * ratio / (1 + share * ratio)  # given the smaller state
            gaussian = 0.5 * float((new - np.log1p(new)).sum())
            bound = 0.5 * float(((1 - share) * ratio).sum())
        found.append(ChangeDivergence(t, before, after, gaussian, bound))
    return found


@dataclass(frozen=True)
class MeasuredDivergence:
    """Divergence at one change of resolution for real images, estimated with trained networks."""

    step: int  # t, the first at the lower resolution
    before: int  # pixels a side, of the state at t − 1
    after: int  # of that at t
    nats: float  # per image
    standard_error: float  # of the mean over images


def measured_divergence(
    schedule: ResolutionSchedule, measured: MeasuredInformation, across: Sequence[np.ndarray]
) -> list[MeasuredDivergence]:
    """Estimate of the divergence ``D`` at each change for real images (mathematics §8).

    ``½ snr E‖x_H − x̂_H(y_L)‖² − I_H`` with ``I_H = ½ ∫ E‖x_H − x̂_H(y)‖² d snr``. In the first term
    a network predicts the new band from the smaller state; its error is above the least possible
    one, so the term is too large. In the second a network of full resolution predicts the same band
    from noisier states (`MeasuredInformation`); its errors are too large as well. The difference is
    therefore an estimate of ``D``, not a bound.

    Parameters
    ----------
    schedule : ResolutionSchedule
        With matched noise, operator `dct` and no attenuation.
    measured : MeasuredInformation
        Of a network of one level, at the schedule's full resolution.
    across : sequence of (N, before) arrays, one for each change, by rising step
        Squared errors by frequency of predictions across the change, from the first side:
        `ssd_models.metrics.denoising.denoising_errors` at ``list(schedule.changes)`` with
        ``paths="next"``.

    Returns
    -------
    list of MeasuredDivergence, by rising step
        The standard error combines that of ``across`` with that of the measured bits of all
        frequencies at this snr, as if they were independent.

    Raises
    ------
    InputError
        If the schedule has other noise, operator or attenuation, resolutions differ, or shapes do
        not fit.
    """
    schedule.check_spectrum(measured.spectrum)
    kept = schedule.kept_band_snr
    matched = np.allclose(kept, schedule.base_snr)
    if schedule.attenuation is not None or schedule.mixes_frequencies or not matched:
        raise InputError(
            "measured divergence: needs matched noise, operator 'dct' and no attenuation"
        )
    if len(across) != len(schedule.changes):
        raise InputError(f"across: has {len(across)} arrays for {len(schedule.changes)} changes")
    found = []
    for i, (t, (before, after)) in enumerate(schedule.changes.items()):
        if across[i].ndim != 2 or across[i].shape[1] != before or len(across[i]) < 2:
            raise InputError(
                f"across[{i}]: has shape {across[i].shape}, needs (N, {before}), at least two rows"
            )
        band = 0.5 * float(schedule.snr[t - 1]) * across[i][:, after:].sum(axis=1)
        bits = measured.shell_bits(kept[t - 1 : t])[0, after:before].sum()
        of_bits = np.interp(np.log(kept[t - 1]), np.log(measured.snr), measured.standard_error)
        spread = np.hypot(band.std(ddof=1) / np.sqrt(len(band)), np.log(2) * of_bits)
        nats = float(band.mean() - np.log(2) * bits)
        found.append(MeasuredDivergence(t, before, after, nats, float(spread)))
    return found


def described_divergence(gaussian: float, bound: float) -> str:
    """One sentence about the divergence of all changes of a schedule, in nats per image."""
    if bound == 0:
        return "changes of resolution lose nothing, whatever the data"
    return (
        f"changes of resolution cost {gaussian:.2g} nats an image of Gaussian data, "
        f"other data up to {bound:.2g}"
    )
