"""How many bits a noisy image can hold: Gaussian bounds from second-order statistics.

All results are in bits. ``snr`` is the per-pixel ratio of squared amplitudes ``a²/σ²``.

Two readings of "no more information" stay apart. *Total*: the noisy state holds at most so many
bits in all (`gaussian_information`), which may be no more than a small image's file
(`theory.information.thumbnails`). *Sufficiency*: a smaller state keeps all but so many bits of what
the noisy state holds (`theory.information.discarded`,
`theory.schedule.derivation.matched_resolution`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigvalsh
from scipy.special import erf

from ..spectrum.bands import octave_edges, shell_index
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError

if TYPE_CHECKING:  # schedules are derived from information
    from ..schedule.resolution import ResolutionSchedule


def band_mask(size: int, resolution: int) -> np.ndarray:
    """(size, size) bool: the DCT coefficients that an image of ``resolution`` pixels keeps."""
    return shell_index(size) < resolution


def channel_bits(power: np.ndarray, snr: float | np.ndarray) -> float | np.ndarray:
    """Bits of parallel Gaussian channels, ``½ Σ log2(1 + snr S)`` over all ``S``, for each snr."""
    flat = power[power > 0]
    snr = check_snr(snr)
    bits = np.array([0.5 / np.log(2) * np.log1p(value * flat).sum() for value in snr.ravel()])
    return float(bits[0]) if snr.ndim == 0 else bits.reshape(snr.shape)


def gaussian_information(spectrum: Spectrum, snr: float | np.ndarray) -> float | np.ndarray:
    """Information of a noisy image about the clean one, if the data were Gaussian: an upper bound.

    ``I_G = ½ Σ log2(1 + snr S_k)`` bits per image. The Gaussian maximizes the output's entropy, so
    no image distribution with this covariance has more; taking the DCT coefficients as independent
    only raises the bound (Hadamard's inequality), by what `hadamard_gap` says.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array
        ``a²/σ²``, not negative.

    Returns
    -------
    float or array of the shape of ``snr``
        Bits per image, all pixels and colours together.
    """
    return channel_bits(spectrum.power, snr)


def covariance_information(covariance: np.ndarray, snr: float | np.ndarray) -> float | np.ndarray:
    """``½ log2 det(I + snr Σ)``: the Gaussian bound with every correlation, in bits per image.

    Parameters
    ----------
    covariance : (D, D) array
        Of whole images, symmetric, no negative eigenvalue. ``D = R² C`` limits it to small images.
    snr : float or array
        ``a²/σ²``, not negative.

    Returns
    -------
    float or array of the shape of ``snr``

    Raises
    ------
    InputError
        If the matrix is not a covariance.
    """
    covariance = np.asarray(covariance, np.float64)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise InputError(f"covariance: needs shape (D, D), got {covariance.shape}")
    if not np.allclose(covariance, covariance.T, atol=1e-8 * np.abs(covariance).max(initial=0)):
        raise InputError("covariance: must be symmetric")
    values = eigvalsh(covariance)
    if values[0] < -1e-8 * max(values[-1], 0):
        raise InputError("covariance: has a negative eigenvalue")
    return channel_bits(values, snr)


def hadamard_gap(images: np.ndarray, snr: float | np.ndarray) -> float | np.ndarray:
    """Bits by which the diagonal Gaussian bound exceeds the exact one, on the same images.

    Parameters
    ----------
    images : (N, R, R, C) float array in [-1, 1]
        Small: the exact bound needs the covariance of ``R² C`` values, and many more images than
        that, as the sample covariance of few images makes the gap too large.
    snr : float or array

    Returns
    -------
    float or array of the shape of ``snr``
        ``I_diagonal − I_exact ≥ 0``, bits per image.
    """
    spectrum = Spectrum.from_images(images)
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    exact = covariance_information(np.cov(flat, rowvar=False), snr)
    return gaussian_information(spectrum, snr) - exact


def shell_information(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """`gaussian_information` split over the frequency index ``max(k1, k2)``: (T,) to (T, R) bits.

    The sum from index ``r`` on is `theory.discarded_information` of an ideal downsampling to ``r``.
    """
    return sum_by_shell(spectrum, snr, lambda value, power: np.log1p(value * power)) * (
        0.5 / np.log(2)
    )


def sum_by_shell(
    spectrum: Spectrum,
    snr: np.ndarray,
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Sum ``function(snr, S_k)`` over coefficients with each index ``max(k1, k2)``: (T,) to (T, R).

    Colours are summed as well.
    """
    size = spectrum.resolution
    snr = check_snr(snr)
    shell = shell_index(size).ravel()
    order = np.argsort(shell, kind="stable")
    power = spectrum.power.reshape(size * size, -1)[order].ravel()
    first = np.arange(size) ** 2 * spectrum.channels  # each colour has r² coefficients below r
    result = np.empty((len(snr), size))
    for i in range(0, len(snr), 64):
        values = function(snr[i : i + 64, None], power)
        result[i : i + 64] = np.add.reduceat(values, first, axis=1)
    return result


def band_information(spectrum: Spectrum, snr: float | np.ndarray) -> np.ndarray:
    """`gaussian_information` split over octaves and colour components.

    Entry ``(i, c)`` is what octave ``i`` of colour ``c`` adds once the lower octaves and the
    stronger colours are known: for independent coefficients the terms of the chain rule are the
    bands' own, and they sum to ``I_G``.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array of shape (...)

    Returns
    -------
    (..., octaves, C) float64, bits per image, lowest octave first
    """
    snr = check_snr(snr)
    edges = octave_edges(spectrum.resolution)
    parts = [
        spectrum.power[band_mask(spectrum.resolution, high) & ~band_mask(spectrum.resolution, low)]
        for low, high in itertools.pairwise(edges)
    ]
    bits = [[channel_bits(part[:, c], snr) for c in range(spectrum.channels)] for part in parts]
    return np.moveaxis(np.array(bits), (0, 1), (-2, -1))


def state_information(spectrum: Spectrum, snr: np.ndarray, resolutions: np.ndarray) -> np.ndarray:
    """``I_G`` of states at their own resolution and noise, such as a schedule makes them.

    The state keeps the lowest ``r × r`` coefficients, scaled by ``r/R`` (an ideal downsampling).

    Parameters
    ----------
    spectrum : Spectrum
    snr : (T,) array
        ``a_t²/σ_t²`` per pixel of the state.
    resolutions : (T,) int array
        Side ``r_t`` of the state in pixels.

    Returns
    -------
    (T,) float64, bits per image
    """
    bits = np.empty(len(resolutions))
    for resolution in np.unique(resolutions):
        at = resolutions == resolution
        kept = spectrum.power[:resolution, :resolution] * (resolution / spectrum.resolution) ** 2
        bits[at] = channel_bits(kept, np.asarray(snr)[at])
    return bits


def schedule_information(schedule: ResolutionSchedule, spectrum: Spectrum) -> np.ndarray:
    """``I_G`` of a schedule's states, with their own noise: ``½ Σ log2(1 + m_k² S_k / σ²)``.

    Parameters
    ----------
    schedule : ResolutionSchedule
        States of operators other than `dct` are taken as ideal bands.
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.

    Returns
    -------
    (T,) float64, bits per image

    Raises
    ------
    InputError
        If the resolutions differ, or blurred states mix DCT coefficients.
    """
    if spectrum.resolution != schedule.resolution:
        raise InputError(
            f"spectrum: has resolution {spectrum.resolution}, the schedule has "
            f"{schedule.resolution}"
        )
    if schedule.attenuation is None and not schedule.blurs:
        return state_information(spectrum, schedule.snr, schedule.resolutions)
    bits = np.empty(len(schedule))
    for t, side in enumerate(schedule.resolutions.tolist()):
        power = schedule.transfer(t)[:, :, None] ** 2 * spectrum.power[:side, :side]
        bits[t] = channel_bits(power, schedule.snr[t])
    return bits


def signal_dominated_fraction(
    data: Spectrum | np.ndarray, snr: float | np.ndarray, kind: str = "pixels"
) -> float | np.ndarray:
    """Share of pixels (or coefficients) in which the signal outweighs the noise.

    Parameters
    ----------
    data : Spectrum or array
        A spectrum, or pixel values in [-1, 1] of any shape (``kind="pixels"`` only).
    snr : float or array
        ``a²/σ²``, not negative.
    kind : {"pixels", "coefficients"}
        ``"pixels"``: the expected share with ``|a x0| > |σ ε|``, ε standard normal. For a spectrum
        the pixels are taken as Gaussian with the mean pixel variance ``d²``, which gives
        ``(2/π) arctan(√snr d)``; for pixel values it is the mean of ``erf(√snr |x0| / √2)``.
        ``"coefficients"``: the share of DCT coefficients with ``snr S_k > 1``.

    Returns
    -------
    float or array of the shape of ``snr``, in [0, 1]
    """
    snr = check_snr(snr)
    root = np.sqrt(snr)
    if kind == "coefficients" and isinstance(data, Spectrum):
        flat = np.sort(data.power, axis=None)
        with np.errstate(divide="ignore"):
            share = 1 - np.searchsorted(flat, 1 / snr, side="right") / flat.size
    elif kind == "pixels" and isinstance(data, Spectrum):
        share = 2 / np.pi * np.arctan(root * np.sqrt(data.power.mean()))
    elif kind == "pixels":
        # Images of 8 bits have few distinct values.
        magnitude, count = np.unique(np.abs(np.asarray(data, np.float64)), return_counts=True)
        magnitude /= np.sqrt(2)
        share = np.array([erf(r * magnitude) @ count for r in root.ravel()]).reshape(root.shape)
        share /= count.sum()
    else:
        raise InputError(
            f"signal_dominated_fraction: kind {kind!r} is not possible here; use 'pixels', "
            "or 'coefficients' with a Spectrum"
        )
    return float(share) if snr.ndim == 0 else np.asarray(share)


def check_snr(snr: float | np.ndarray) -> np.ndarray:
    """Return ``snr`` as a float64 array; `InputError` if a value is negative or NaN."""
    snr = np.asarray(snr, dtype=np.float64)
    if not (snr >= 0).all():
        raise InputError("snr: must not be negative or NaN")
    return snr
