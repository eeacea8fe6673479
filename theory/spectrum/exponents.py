"""How steeply power falls with frequency, and how precisely the images tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ..support.errors import InputError
from .bands import radial_bins, radial_power
from .moments import jackknife, symmetric
from .spectrum import Spectrum

_EXPONENTS = np.linspace(-12, 16, 561)  # grid on which exponents are sought


@dataclass(frozen=True, eq=False)
class SpectralExponents:
    """Fall-off of power with frequency, ``S ∝ 1/|k|^exponent``, with 95 % intervals.

    Octave ``i`` holds the radii ``hypot(k1, k2)`` from ``2^i`` to ``2^(i+1)``.
    """

    edges: np.ndarray  # (octaves + 1,): cycles per pixel, radius/(2R)
    exponent: np.ndarray  # (octaves,)
    interval: np.ndarray  # (octaves, 2)
    overall: float  # least squares over the half octaves from radius 2 to R
    overall_interval: tuple[float, float]

    def __str__(self) -> str:
        parts = [
            f"{value:.2f} [{low:.2f}, {high:.2f}]"
            for value, (low, high) in zip(self.exponent, self.interval, strict=True)
        ]
        low, high = self.overall_interval
        return f"{self.overall:.2f} [{low:.2f}, {high:.2f}] in all; " + ", ".join(parts)


def spectral_exponents(spectrum: Spectrum) -> SpectralExponents:
    """Exponent of each octave and of the whole, colours summed, mean image removed.

    An octave's exponent is that of the power law whose mean powers in the octave's two halves have
    the measured ratio. Intervals are Student's, with the standard error of a jackknife over groups
    of images and one degree of freedom fewer than groups; the error of the log powers is carried to
    the exponents along its principal axes.

    Parameters
    ----------
    spectrum : Spectrum
        Measured from images of at least 4 pixels.

    Raises
    ------
    InputError
        If the spectrum was not measured from images, or is smaller than 4 pixels.
    """
    size = spectrum.resolution
    if size < 4:
        raise InputError(f"spectral_exponents: needs at least 4 pixels, got {size}")
    power, covariance, groups = _half_octaves(spectrum)
    number = np.bincount(radial_bins(size).ravel())[1:-1]
    log_power = np.log(np.maximum(power / number, np.finfo(float).tiny))
    variances, axes = np.linalg.eigh(ratio(covariance, np.outer(power, power)))
    errors = (axes * np.sqrt(variances.clip(min=0))).T  # a row for each principal axis

    octaves = len(number) // 2
    fitted = _fit(np.concatenate([log_power[None], log_power + errors, log_power - errors]), size)
    up, down = np.split(fitted[1:], 2)
    standard_error = np.sqrt(np.square((up - down) / 2).sum(axis=0))
    half_width = stdtrit(max(groups - 1, 1), 0.975) * standard_error
    interval = np.stack([fitted[0] - half_width, fitted[0] + half_width], axis=1)
    return SpectralExponents(
        edges=2.0 ** np.arange(octaves + 1) / (2 * size),
        exponent=fitted[0, :-1],
        interval=interval[:-1],
        overall=float(fitted[0, -1]),
        overall_interval=(float(interval[-1, 0]), float(interval[-1, 1])),
    )


def _fit(log_power: np.ndarray, size: int) -> np.ndarray:
    """Exponents that fit log mean powers in half octaves.

    Parameters
    ----------
    log_power : (B, half octaves)
    size : int
        Side of the images.

    Returns
    -------
    (B, octaves + 1)
        Of each octave, and overall.
    """
    bins = radial_bins(size).ravel()[1:]
    index = np.arange(size)
    radius = np.hypot(index[:, None], index).ravel()[1:]
    number = np.bincount(bins)[1:-1]
    law = np.stack(  # log mean power of a power law in each half octave, by exponent
        [np.log(np.bincount(bins, radius**-exponent)[1:-1] / number) for exponent in _EXPONENTS]
    )
    octaves = len(number) // 2
    first, second = slice(0, 2 * octaves, 2), slice(1, 2 * octaves, 2)
    falls = law[:, first] - law[:, second]  # rise with the exponent
    measured = log_power[:, first] - log_power[:, second]
    slopes = [np.interp(measured[:, i], falls[:, i], _EXPONENTS) for i in range(octaves)]
    return np.stack([*slopes, _least_squares(log_power[:, 2:], law[:, 2:])], axis=1)


def _least_squares(log_power: np.ndarray, law: np.ndarray) -> np.ndarray:
    """Exponents with the least squared misfit in log power, the level left free: (B,)."""
    measured = log_power - log_power.mean(axis=1, keepdims=True)
    expected = law - law.mean(axis=1, keepdims=True)  # (exponents, bins)
    misfit = ((measured[:, None, :] - expected) ** 2).sum(axis=2)  # (B, exponents)
    best = np.clip(np.argmin(misfit, axis=1), 1, len(_EXPONENTS) - 2)
    row = np.arange(len(best))
    left, middle, right = misfit[row, best - 1], misfit[row, best], misfit[row, best + 1]
    curve = left - 2 * middle + right  # vertex of the parabola through the three
    step = np.divide(left - right, 2 * curve, out=np.zeros_like(curve), where=curve > 0)
    return _EXPONENTS[best] + step.clip(-1, 1) * (_EXPONENTS[1] - _EXPONENTS[0])


def radial_octave_power(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Power in each radial octave and its relative standard error: two arrays (octaves,).

    Octaves are those of `SpectralExponents`, colours summed. The error is the jackknife's over
    groups of images; it falls with the root of their number.

    Raises
    ------
    InputError
        If the spectrum was not measured from images.
    """
    halves, covariance, _ = _half_octaves(spectrum)
    octaves = len(halves) // 2
    pairs = np.repeat(np.eye(octaves), 2, axis=1)  # (octaves, 2 octaves)
    power = pairs @ halves[: 2 * octaves]
    covariance = covariance[: 2 * octaves, : 2 * octaves]
    variance = np.einsum("oi,ij,oj->o", pairs, covariance, pairs)
    return power, ratio(np.sqrt(variance.clip(min=0)), power)


def _half_octaves(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray, int]:
    """Power by half octave, without constant and corner; its covariance; number of groups."""
    if spectrum.moments is None:
        raise InputError(
            "this spectrum was not measured from images, or by an earlier version: its file has no "
            "moments of them"
        )
    radial, groups = spectrum.moments.radial, spectrum.moments.groups
    power = radial_power(spectrum.power.sum(axis=-1))
    covariance = symmetric(jackknife(radial, groups), len(power))
    return power[1:-1], covariance[1:-1, 1:-1], groups


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``, zero where b is not positive."""
    return np.divide(a, b, out=np.zeros(np.shape(b)), where=np.asarray(b) > 0)
