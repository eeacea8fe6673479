"""I-MMSE: information as the integral of the least denoising error (Guo, Shamai & Verdú 2005).

For ``y = √snr x0 + ε`` with white standard normal ε, ``dI/dsnr = ½ mmse(snr)`` in nats, where
``mmse(snr) = E‖x0 − E[x0|y]‖²`` is summed over all pixels. A diffusion state is such a channel, so
a denoiser's measured error per step says how much information about the image it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .bounds import check_snr, gaussian_information

_HERMITE = np.polynomial.hermite_e.hermegauss(200)  # nodes, weights of e^{−z²/2}


def gaussian_mmse(spectrum: Spectrum, snr: float | np.ndarray) -> float | np.ndarray:
    """Least error of denoising Gaussian data, ``Σ S_k / (1 + snr S_k)`` per image.

    It is the error of the best *linear* denoiser for any data with this spectrum, so an upper bound
    on the mmse.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array
        ``a²/σ²``, not negative.

    Returns
    -------
    float or array of the shape of ``snr``, in squared units of the [-1, 1] range
    """
    snr = check_snr(snr)
    power = spectrum.power.ravel()
    error = np.array([(power / (1 + value * power)).sum() for value in snr.ravel()])
    return float(error[0]) if snr.ndim == 0 else error.reshape(snr.shape)


def binary_mmse(snr: float | np.ndarray) -> float | np.ndarray:
    """Least error of denoising an input of ±1: ``1 − E tanh(snr + √snr Z)``."""
    return _binary(snr, lambda u, value: 1 - np.tanh(u))


def binary_information(snr: float | np.ndarray) -> float | np.ndarray:
    """Information of a noisy ±1, in bits: ``(snr − E ln cosh(snr + √snr Z)) / ln 2``.

    It is below ``½ log2(1 + snr)``, the Gaussian input's, and tends to 1 bit. By Gauss-Hermite
    quadrature with 200 nodes; accurate to 1e-6 for ``snr`` up to 100.
    """
    return _binary(snr, lambda u, value: (value - np.logaddexp(u, -u) + np.log(2)) / np.log(2))


def _binary(
    snr: float | np.ndarray, function: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float | np.ndarray:
    snr = check_snr(snr)
    nodes, weights = _HERMITE
    value = snr[..., None]
    mean = (function(value + np.sqrt(value) * nodes, value) * weights).sum(-1) / weights.sum()
    return float(mean) if snr.ndim == 0 else mean


@dataclass(frozen=True)
class InformationEstimate:
    """Information found by a denoiser, per measured snr."""

    snr: np.ndarray  # (T,), rising
    bits: np.ndarray  # (T,): per image
    standard_error: np.ndarray  # (T,): of ``bits``; NaN where the data do not tell


def information_from_errors(
    snr: np.ndarray,
    squared_error: np.ndarray,
    spectrum: Spectrum | None = None,
    standard_error: np.ndarray | None = None,
) -> InformationEstimate:
    """Integrate measured denoising errors: ``I(snr) = ∫ ½ mse dsnr / ln 2`` bits per image.

    A denoiser's error is at least the mmse, so apart from quadrature and sampling errors the result
    is at least the information that the noisy images hold; an ideal denoiser attains it.

    Below the smallest measured snr the error is taken as that of the Gaussian with ``spectrum``, or
    as constant without one. Between measurements the trapezoidal rule is used, in log-snr, with a
    spectrum on the difference to the Gaussian's error, whose own integral is known: exact for
    Gaussian data, and accurate where the difference is smooth.

    Parameters
    ----------
    snr : (T,) array
        Positive, distinct, in any order, at least two.
    squared_error : (T,) or (N, T) array
        Squared error summed over the pixels and colours of an image: its mean over images, or one
        row an image. With rows, the standard error is that of the images' integrals, which keeps
        the correlation between the steps of one image.
    spectrum : Spectrum, optional
        Of the data.
    standard_error : (T,) array, optional
        Of a mean ``squared_error``, independent from step to step.

    Raises
    ------
    InputError
        If shapes do not fit, or values are not positive and finite.
    """
    snr = np.asarray(snr, np.float64)
    squared_error = np.asarray(squared_error, np.float64)
    if snr.ndim != 1 or snr.size < 2 or not ((snr > 0) & np.isfinite(snr)).all():
        raise InputError("snr: needs at least two positive numbers in one axis")
    order = np.argsort(snr)
    snr = snr[order]
    if not (np.diff(snr) > 0).all():
        raise InputError("snr: the same value occurs twice")
    if squared_error.shape[-1:] != snr.shape or squared_error.ndim > 2:
        raise InputError(
            f"squared_error: needs shape ({snr.size},) or (N, {snr.size}), got "
            f"{squared_error.shape}"
        )
    if not ((squared_error >= 0) & np.isfinite(squared_error)).all():
        raise InputError("squared_error: must not be negative, infinite or NaN")
    if standard_error is not None and (
        squared_error.ndim == 2 or np.shape(standard_error) != snr.shape
    ):
        raise InputError(f"standard_error: goes with mean errors, and needs shape ({snr.size},)")
    rows = np.atleast_2d(squared_error)[:, order]
    if spectrum is None:
        known, difference = np.zeros_like(snr), rows
        below = 0.5 * snr[0] * rows[:, :1]
    else:
        known = np.asarray(gaussian_information(spectrum, snr))
        difference = rows - np.asarray(gaussian_mmse(spectrum, snr))
        below = np.zeros((len(rows), 1))
    weights = _trapezoid(snr)  # (T, T): integral up to each snr from the values
    integrals = known + (below + 0.5 * difference @ weights.T) / np.log(2)
    if len(rows) > 1:
        spread = integrals.std(axis=0, ddof=1) / np.sqrt(len(rows))
    elif standard_error is not None:
        error = np.asarray(standard_error, np.float64)[order]
        jacobian = 0.5 * weights
        if spectrum is None:
            jacobian = jacobian + 0.5 * snr[0] * np.eye(1, snr.size)
        spread = np.sqrt((jacobian**2) @ error**2) / np.log(2)
    else:
        spread = np.full(snr.size, np.nan)
    return InformationEstimate(snr, integrals.mean(axis=0), spread)


def _trapezoid(snr: np.ndarray) -> np.ndarray:
    """Row i integrates values at ``snr`` over dsnr = snr dlogsnr, from the first to the i-th."""
    half = np.diff(np.log(snr)) / 2
    each = np.zeros((snr.size - 1, snr.size))
    index = np.arange(snr.size - 1)
    each[index, index] = half * snr[:-1]
    each[index, index + 1] = half * snr[1:]
    return np.vstack([np.zeros(snr.size), np.cumsum(each, axis=0)])
