"""What changes of resolution cost: divergence of the sampler's state from the truth, in nats.

At a change from a smaller state to a larger one a sampler puts white noise where the truth is
signal and noise. For any data that costs

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
    """What one change of resolution costs, nats an image."""

    step: int  # t, the first at the lower resolution
    before: int  # pixels a side, of the state at t − 1
    after: int  # of that at t
    gaussian: float  # KL(truth ‖ sampler's state) of Gaussian data with the spectrum
    bound: float  # the most that it can be for any data with the spectrum


def change_divergence(schedule: ResolutionSchedule, spectrum: Spectrum) -> list[ChangeDivergence]:
    """What each change of a schedule's resolution costs Gaussian data, and any data at most.

    Of the state on the less noisy side of the change. Exactly zero with an attenuation: the band
    that opens then begins with no signal. With the paper's noise a change takes information from
    the band that it keeps as well, as if a share of its signal opened; that is counted too.

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
    """What one change of resolution costs real images by trained networks, nats an image."""

    step: int  # t, the first at the lower resolution
    before: int  # pixels a side, of the state at t − 1
    after: int  # of that at t
    nats: float
    standard_error: float  # from image to image


def measured_divergence(
    schedule: ResolutionSchedule, measured: MeasuredInformation, across: Sequence[np.ndarray]
) -> list[MeasuredDivergence]:
    """What each change costs the images that networks were measured on, estimated.

    ``½ snr E‖x_H − x̂_H(y_L)‖² − I_H``. The first term takes the squared error of a network that
    predicts the band that opens from the smaller state; it is too large by what the network does
    not see there. ``I_H = ½ ∫ E‖x_H − x̂_H(y)‖² d snr`` takes the errors of a network of full
    resolution in that band, down the chain to noise (`MeasuredInformation`). Given less than the
    whole small state those are larger than what D asks for, so the second term is too large as
    well. Neither is a bound on D; their difference is an estimate of it.

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
        The standard error adds the squares of that of ``across`` and that of all of the measured
        bits at this snr.

    Raises
    ------
    InputError
        If the schedule is another kind, resolutions differ or shapes do not fit.
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
    """What all changes of a schedule cost, in words."""
    if bound == 0:
        return "changes of resolution lose nothing, whatever the data"
    return (
        f"changes of resolution cost {gaussian:.2g} nats an image of Gaussian data, "
        f"other data up to {bound:.2g}"
    )
