"""What changes of resolution cost: divergence of the sampler's state from the truth, in nats.

At a change from a smaller state to a larger one a sampler puts white noise where the truth is
signal and noise. For any data that costs

    D = ½ (m²/σ²) E‖x_H − E[x_H | y_L]‖² − I(x_H; y_H | y_L)

with ``x_H`` the band that opens and ``y_L`` the smaller state: less than ``½ Σ ρ_k``, and for
Gaussian data ``½ Σ [ρ_k − ln(1 + ρ_k)]``, with ``ρ_k = m_k² S_k / σ²`` (mathematics §8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .schedules import ResolutionSchedule
from .spectrum import Spectrum


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
    if spectrum.resolution != schedule.resolution:
        raise InputError(
            f"spectrum: has resolution {spectrum.resolution}, the schedule has "
            f"{schedule.resolution}"
        )
    if schedule.mixes_frequencies:
        raise InputError(
            f"operator {schedule.operator!r}: mixes DCT coefficients, so that no band of its own "
            "opens; use operator 'dct'"
        )
    # Signal over noise of a coefficient that both states have, by the base chain's, up to a factor.
    kept = schedule.snr * schedule.resolutions**2 / schedule.base_snr
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


def described_divergence(gaussian: float, bound: float) -> str:
    """What all changes of a schedule cost, in words."""
    if bound == 0:
        return "changes of resolution lose nothing, whatever the data"
    return (
        f"changes of resolution cost {gaussian:.2g} nats an image of Gaussian data, "
        f"other data up to {bound:.2g}"
    )
