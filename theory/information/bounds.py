"""How many bits a noisy image can hold: Gaussian bounds from second-order statistics.

All results are in bits. ``snr`` is the per-pixel ratio of squared amplitudes ``a²/σ²``.

"A smaller image holds no less information" has two readings, which are kept apart (mathematics §4).
*Total*: the information of the noisy state (`gaussian_information`), compared with the size of a
small image's file (`theory.information.thumbnails`). *Sufficiency*: the part of the noisy state's
information that a smaller state lacks (`theory.information.discarded`,
`theory.schedule.derivation.matched_resolution`).
"""

from __future__ import annotations

import itertools
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
    """Mask of the DCT coefficients that an image of ``resolution`` pixels keeps: (size, size)."""
    return shell_index(size) < resolution


def channel_bits(power: np.ndarray, snr: float | np.ndarray) -> float | np.ndarray:
    """Capacity of parallel Gaussian channels, ``½ Σ_S log2(1 + snr S)`` bits, for each snr."""
    flat = power[power > 0]
    snr = check_snr(snr)
    bits = np.array([0.5 / np.log(2) * np.log1p(value * flat).sum() for value in snr.ravel()])
    return float(bits[0]) if snr.ndim == 0 else bits.reshape(snr.shape)


def gaussian_information(spectrum: Spectrum, snr: float | np.ndarray) -> float | np.ndarray:
    """Upper bound on the information of a noisy image about the clean one (mathematics §4).

    ``I_G = ½ Σ log2(1 + snr S_k)``, the information if the DCT coefficients were Gaussian and
    independent. No distribution of the same covariance has more, as the Gaussian maximizes the
    entropy of the noisy image, and correlations only lower the bound (Hadamard's inequality), by
    `hadamard_gap`.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array
        ``a²/σ²``, not negative.

    Returns
    -------
    float or array of the shape of ``snr``
        Bits per image, summed over pixels and colours.

    Raises
    ------
    InputError
        If ``snr`` is negative or NaN.
    """
    return channel_bits(spectrum.power, snr)


def covariance_information(covariance: np.ndarray, snr: float | np.ndarray) -> float | np.ndarray:
    """Gaussian bound with all correlations, ``½ log2 det(I + snr Σ)`` bits (mathematics §4).

    Parameters
    ----------
    covariance : (D, D) array
        Covariance of whole images, ``D = R² C`` values each; symmetric, no negative eigenvalue.
    snr : float or array
        ``a²/σ²``, not negative.

    Returns
    -------
    float or array of the shape of ``snr``
        Bits per image.

    Raises
    ------
    InputError
        If the matrix is not a covariance, or ``snr`` is negative or NaN.
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
    """Bits by which `gaussian_information` exceeds `covariance_information`, on the same images.

    Parameters
    ----------
    images : (N, R, R, C) float array in [-1, 1]
        ``N`` must be much larger than ``R² C``: the sample covariance of few images makes the gap
        too large.
    snr : float or array
        ``a²/σ²``, not negative.

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
    """`gaussian_information` of each frequency index ``max(k1, k2)``: (T,) snr to (T, R) bits.

    The sum from index ``r`` on is `theory.discarded_information` of downsampling by `dct` to ``r``.
    """
    size = spectrum.resolution
    snr = check_snr(snr)
    shell = shell_index(size).ravel()
    order = np.argsort(shell, kind="stable")
    power = spectrum.power.reshape(size * size, -1)[order].ravel()
    first = np.arange(size) ** 2 * spectrum.channels  # each colour has r² coefficients below r
    result = np.empty((len(snr), size))
    for i in range(0, len(snr), 64):
        bits = np.log1p(snr[i : i + 64, None] * power) * (0.5 / np.log(2))
        result[i : i + 64] = np.add.reduceat(bits, first, axis=1)
    return result


def band_information(spectrum: Spectrum, snr: float | np.ndarray) -> np.ndarray:
    """`gaussian_information` of each octave and colour component.

    As the coefficients are taken as independent, the entries sum to ``I_G``, and each is also what
    its band adds once the other bands are known.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array of shape (...)
        ``a²/σ²``, not negative.

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
    """`gaussian_information` of states of given resolutions and signal-to-noise ratios.

    A state has the lowest ``r × r`` coefficients, scaled by ``r/R`` (downsampling by `dct`).

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
    """`gaussian_information` of a schedule's states, ``½ Σ log2(1 + m_k² S_k / σ²)``.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Other operators than `dct` are treated as `dct`.
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
    schedule.check_spectrum(spectrum)
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
    """Share of pixels or coefficients in which the signal is larger than the noise.

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

    Raises
    ------
    InputError
        If the kind is unknown or does not fit the data, or ``snr`` is negative or NaN.
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
