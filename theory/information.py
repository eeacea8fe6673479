"""How many bits a noisy image can hold: Gaussian bounds from second-order statistics.

All results are in bits. ``snr`` is the per-pixel ratio of squared amplitudes ``a²/σ²``.

Two readings of "no more information" stay apart here. *Sufficiency*: a smaller state keeps all but
so many bits of what the noisy state holds (`discarded_information`). *Total*: the noisy state holds
at most so many bits in all (`gaussian_information`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from .errors import InputError
from .spectrum import Spectrum


def band_mask(size: int, resolution: int) -> np.ndarray:
    """(size, size) bool: the DCT coefficients that an image of ``resolution`` pixels keeps."""
    index = np.arange(size)
    return np.maximum(index[:, None], index) < resolution


def _bits(power: np.ndarray, snr: float | np.ndarray) -> float | np.ndarray:
    """½ Σ log2(1 + snr S) over all coefficients, for each snr."""
    flat = power[power > 0]
    snr = _check_snr(snr)
    bits = np.array([0.5 / np.log(2) * np.log1p(value * flat).sum() for value in snr.ravel()])
    return float(bits[0]) if snr.ndim == 0 else bits.reshape(snr.shape)


def gaussian_information(spectrum: Spectrum, snr: float | np.ndarray) -> float | np.ndarray:
    """Information of a noisy image about the clean one, if the data were Gaussian: an upper bound.

    ``I_G = ½ Σ log2(1 + snr S_k)`` bits per image. The Gaussian maximizes the output's entropy, so
    no image distribution with this covariance has more; taking the DCT coefficients as independent
    only raises the bound (Hadamard's inequality).

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
    return _bits(spectrum.power, snr)


def discarded_information(
    spectrum: Spectrum, snr: float | np.ndarray, resolution: int
) -> float | np.ndarray:
    """Bound on the information that is lost by keeping only ``resolution`` pixels of a noisy image.

    ``I(x0; x_t) − I(x0; M x_t) ≤ ½ Σ_{k discarded} log2(1 + snr S_k)``, for any data with this
    spectrum and an ideal (``dct``) downsampling, whose kept and discarded noises are independent.
    For the other operators it is an approximation: their bands overlap.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array
        ``a²/σ²`` of the state before downsampling, not negative.
    resolution : int
        Side of the kept image in pixels, from 1 to the spectrum's resolution.

    Returns
    -------
    float or array of the shape of ``snr``
        Bits per image.

    Raises
    ------
    InputError
        If ``resolution`` is out of range or ``snr`` is negative.
    """
    if not 1 <= resolution <= spectrum.resolution:
        raise InputError(
            f"resolution {resolution}: must lie between 1 and the spectrum's {spectrum.resolution}"
        )
    return _bits(spectrum.power[~band_mask(spectrum.resolution, resolution)], snr)


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
        bits[at] = _bits(kept, np.asarray(snr)[at])
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
    snr = _check_snr(snr)
    root = np.sqrt(snr)
    if kind == "coefficients" and isinstance(data, Spectrum):
        flat = np.sort(data.power, axis=None)
        with np.errstate(divide="ignore"):
            share = 1 - np.searchsorted(flat, 1 / snr, side="right") / flat.size
    elif kind == "pixels" and isinstance(data, Spectrum):
        share = 2 / np.pi * np.arctan(root * np.sqrt(data.power.mean()))
    elif kind == "pixels":
        magnitude = np.abs(np.asarray(data, np.float64)).ravel() / np.sqrt(2)
        share = np.array([erf(r * magnitude).mean() for r in root.ravel()]).reshape(root.shape)
    else:
        raise InputError(
            f"signal_dominated_fraction: kind {kind!r} is not possible here; use 'pixels', "
            "or 'coefficients' with a Spectrum"
        )
    return float(share) if snr.ndim == 0 else np.asarray(share)


def _check_snr(snr: float | np.ndarray) -> np.ndarray:
    snr = np.asarray(snr, dtype=np.float64)
    if not (snr >= 0).all():
        raise InputError("snr: must not be negative or NaN")
    return snr
