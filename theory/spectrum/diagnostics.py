"""What a measured spectrum says of its dataset: exponents, faults of its making, convergence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..support.errors import InputError
from .moments import Moments, radial_bins
from .spectrum import Spectrum, octave_power

_FEW = 8  # images below which a bootstrap over them says little
_EXPONENTS = np.linspace(-12, 16, 561)  # among which exponents are looked for, and between


@dataclass(frozen=True)
class SpectralExponents:
    """Fall-off of power with frequency, ``S ∝ 1/|k|^exponent``, with 95 % intervals.

    Octave ``i`` holds the radii ``hypot(k1, k2)`` from ``2^i`` to ``2^(i+1)``.
    """

    edges: np.ndarray  # (octaves + 1,): cycles per pixel, radius/(2R)
    exponent: np.ndarray  # (octaves,)
    interval: np.ndarray  # (octaves, 2): bootstrap over images, percentiles 2.5 and 97.5
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

    An octave's exponent is that of the power law whose mean powers over the coefficients of its two
    halves have the measured ratio. Intervals come from 200 Poisson-bootstrap replicates over images
    (Hanley & MacGibbon 2006), drawn while measuring.

    Raises
    ------
    InputError
        If the spectrum was not measured from images, or is smaller than 4 pixels.
    """
    moments = _moments(spectrum)
    size = spectrum.resolution
    if size < 4:
        raise InputError(f"spectral_exponents: needs at least 4 pixels, got {size}")
    bins = radial_bins(size)
    index = np.arange(size)
    radius = np.hypot(index[:, None], index).ravel()[1:]
    count = np.bincount(bins.ravel())[1:-1]  # neither the constant nor the corner
    power = _replicates(moments) / count
    log_power = np.log(np.maximum(power, np.finfo(float).tiny))  # (1 + B, half octaves)
    law = np.stack(  # log mean power of a power law in each half octave, by exponent
        [
            np.log(np.bincount(bins.ravel()[1:] - 1, radius**-exponent)[: len(count)] / count)
            for exponent in _EXPONENTS
        ]
    )
    octaves = len(count) // 2
    first, second = slice(0, 2 * octaves, 2), slice(1, 2 * octaves, 2)
    falls = law[:, first] - law[:, second]  # rise with the exponent
    measured = log_power[:, first] - log_power[:, second]
    slopes = np.stack(
        [np.interp(measured[:, i], falls[:, i], _EXPONENTS) for i in range(octaves)], axis=1
    )
    overall = _least_squares(log_power[:, 2:], law[:, 2:])
    low, high = np.percentile(overall[1:], [2.5, 97.5])
    return SpectralExponents(
        edges=2.0 ** np.arange(octaves + 1) / (2 * size),
        exponent=slopes[0],
        interval=np.percentile(slopes[1:], [2.5, 97.5], axis=0).T,
        overall=float(overall[0]),
        overall_interval=(float(low), float(high)),
    )


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


def octave_standard_error(spectrum: Spectrum) -> np.ndarray:
    """Relative standard error of the power of each radial octave, from the bootstrap: (octaves,).

    Octave ``i`` as in `SpectralExponents`. It falls with the root of the number of images.
    """
    moments = _moments(spectrum)
    halves = _replicates(moments)
    octaves = halves.shape[1] // 2
    power = halves[:, : 2 * octaves].reshape(len(halves), octaves, 2).sum(axis=2)
    return _ratio(power[1:].std(axis=0, ddof=1), power[0])


def images_needed(spectrum: Spectrum, relative_error: float = 0.02) -> int:
    """Images after which every octave's power is known to that relative standard error."""
    if not 0 < relative_error < 1:
        raise InputError(f"relative error {relative_error}: must lie between 0 and 1")
    worst = float(octave_standard_error(spectrum).max())
    return int(np.ceil(spectrum.count * (worst / relative_error) ** 2))


def high_frequency_share(spectrum: Spectrum) -> float:
    """Share of power above ¼ cycle per pixel, of all but the constant coefficient."""
    index = np.arange(spectrum.resolution)
    high = np.hypot(index[:, None], index) > spectrum.resolution / 2
    power = spectrum.power.sum(axis=-1)
    return float(_ratio(power[high].sum(), power.sum() - power[0, 0]))


def chroma_ratio(spectrum: Spectrum) -> np.ndarray:
    """Power of the weaker colour components over the strongest one's, per octave: (octaves,)."""
    power = [octave_power(spectrum.power[..., c : c + 1]) for c in range(spectrum.channels)]
    return _ratio(np.sum(power[1:], axis=0), power[0])


def spectrum_warnings(spectrum: Spectrum) -> list[str]:
    """Signs that the pixels are not what an ideal camera saw, a line each.

    * Aliased: detail beyond the pixel grid was folded back, so power falls less steeply in the last
      octave than in the one before. The exponent's step, for photographs reduced without a filter
      −0.8, by averaging two pixels of four −0.6, by box +0.2, by Lanczos +0.9; Tiny-ImageNet −1.0.
    * Colour missing: JPEG with halved colour planes (4:2:0) takes colour out of the last octave.
      Its share there over that two octaves below: halved planes 0.17, full planes 0.47, no JPEG
      0.68; Tiny-ImageNet 0.06, aligned faces 0.39.
    * No detail: blurred or enlarged images. The last octave's exponent: enlarged twofold 7.2,
      aligned faces 4.9, photographs 3.5.

    ``figures/dataset_faults.py`` measures these.

    * Few images, below 8: intervals are too narrow (of two images they are points).

    Spectra that were not measured, or are below 16 pixels, give none.
    """
    if spectrum.moments is None or spectrum.resolution < 16:
        return []
    warnings = []
    if spectrum.count < _FEW:
        warnings.append(
            f"few images: {spectrum.count} say little of a dataset; intervals are too narrow"
        )
    fit = spectral_exponents(spectrum)
    last, before = fit.exponent[-1], fit.exponent[-2]
    if last < before - 0.4 and fit.interval[-1, 1] < fit.interval[-2, 0]:
        warnings.append(
            f"aliased: power falls as 1/f^{before:.1f} and in the last octave only as "
            f"1/f^{last:.1f} ({high_frequency_share(spectrum):.1%} of it above 1/4 cycle per "
            "pixel); the images were reduced without a filter, and their finest detail is false"
        )
    if last > 6:
        warnings.append(
            f"no fine detail: power falls as 1/f^{last:.1f} in the last octave; the images were "
            "blurred or enlarged, and half the resolution would hold them"
        )
    if spectrum.channels > 1:
        ratio = chroma_ratio(spectrum)
        if ratio[-1] < 0.25 * ratio[-3]:
            warnings.append(
                f"colour detail missing: the weaker colours have {ratio[-1]:.1%} of the strongest "
                f"one's power in the last octave, {ratio[-3]:.1%} two octaves below; JPEG with "
                "halved colour planes looks like this"
            )
    return warnings


@dataclass(frozen=True)
class Convergence:
    """How a spectrum settles as images are added."""

    counts: np.ndarray  # (J,): images, doubling
    power: np.ndarray  # (J, octaves): power per radial octave
    standard_error: np.ndarray  # (J, octaves): relative, from the bootstrap


def convergence(images: np.ndarray, smallest: int = 64) -> Convergence:
    """Power per octave of the first 64, 128, 256, … images and of all: how many are enough?

    Every image is measured once.

    Parameters
    ----------
    images : (N, R, R, C) float array in [-1, 1]
        In random order.
    smallest : int
        First count, at least 16; N must be at least twice that.
    """
    if smallest < 16 or len(images) < 2 * smallest:
        raise InputError(
            f"convergence: needs at least {2 * max(smallest, 16)} images, got {len(images)}"
        )
    doublings = int(np.log2(len(images) / smallest))
    counts = [smallest * 2**j for j in range(doublings + 1)]
    if counts[-1] != len(images):
        counts.append(len(images))
    total: Spectrum | None = None
    power, error = [], []
    for start, end in pairwise([0, *counts]):
        part = Spectrum.from_images(images[start:end])
        total = part if total is None else total.merge(part)
        halves = _replicates(_moments(total))[0]
        octaves = len(halves) // 2
        power.append(halves[: 2 * octaves].reshape(octaves, 2).sum(axis=1))
        error.append(octave_standard_error(total))
    return Convergence(np.array(counts), np.array(power), np.array(error))


def _replicates(moments: Moments) -> np.ndarray:
    """Mean power of an image in each half octave: of all, then of each replicate that has images.

    Of few images a replicate may have none, at two every seventh.
    """
    weighted = moments.weights > 0
    return moments.shells.value[weighted, 1:-1] / moments.weights[weighted, None]


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``, zero where b is."""
    return np.divide(a, b, out=np.zeros(np.shape(b)), where=np.asarray(b) > 0)


def _moments(spectrum: Spectrum) -> Moments:
    if spectrum.moments is None:
        raise InputError("this spectrum was not measured from images (it has no sums over them)")
    return spectrum.moments
