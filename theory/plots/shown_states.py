"""States of a chain as pictures: at full resolution, and at the resolution of a schedule.

Both are made of the same image and the same noise, so that what a change of resolution leaves out
is all that the two differ in.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.fft import dctn, idctn

from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum


def lifted(schedule: ResolutionSchedule) -> ResolutionSchedule:
    """The chain at full resolution with the same noise, fading and blur as a schedule's."""
    snr = schedule.base_snr
    return replace(
        schedule,
        resolutions=np.full(len(schedule), schedule.resolution),
        alpha=np.sqrt(snr / (1 + snr)),
        sigma=np.sqrt(1 / (1 + snr)),
        levels=(schedule.resolution,),
        operator="dct",
        predicted={},
    )


def noisy_state(
    schedule: ResolutionSchedule, clean: np.ndarray, noise: np.ndarray, t: int
) -> np.ndarray:
    """State of an image at step ``t``, (r_t, r_t, C) float64.

    Parameters
    ----------
    schedule : ResolutionSchedule
    clean : (R, R, C) float array in [-1, 1]
    noise : (R, R, C) float array
        White. The state takes its lowest ``r_t × r_t`` DCT coefficients, which are white there.
    t : int
    """
    side, axes = int(schedule.resolutions[t]), (0, 1)
    drawn = dctn(noise, axes=axes, norm="ortho")[:side, :side] * schedule.sigma[t]
    if schedule.mixes_frequencies:
        matrix = schedule.path(None, t).matrix()
        signal = schedule.alpha[t] * np.einsum("ij,jkc,lk->ilc", matrix, clean, matrix)
        return signal + idctn(drawn, axes=axes, norm="ortho")
    gains = schedule.signal_gains(t)[:side, :side, None]
    kept = gains * dctn(clean, axes=axes, norm="ortho")[:side, :side]
    return idctn(kept + drawn, axes=axes, norm="ortho")


def shown_state(schedule: ResolutionSchedule, state: np.ndarray, t: int) -> np.ndarray:
    """A state as uint8: the values from ``-(a_t + σ_t)`` to ``a_t + σ_t``, clipped beyond."""
    half = float(schedule.alpha[t] + schedule.sigma[t])
    return to_uint8(state / half)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Values from -1 to 1 as 0 to 255, clipped beyond."""
    return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)


def shown_steps(schedule: ResolutionSchedule, parts: int = 20) -> list[int]:
    """Steps that stand for a chain: even ones, the last, and both sides of every change."""
    last = len(schedule) - 1
    return sorted({*range(0, last, max(1, (last + 1) // parts)), last, *schedule.change_sides})


def gaussian_draws(spectrum: Spectrum, count: int, seed: int = 0) -> np.ndarray:
    """Draws of the Gaussian field of a spectrum, around its mean: (count, R, R, C) float64."""
    white = np.random.default_rng(seed).standard_normal((count, *spectrum.power.shape))
    components = idctn(white * np.sqrt(spectrum.power), axes=(1, 2), norm="ortho")
    return spectrum.mean + components @ spectrum.colour_basis.T
