"""Power of generated images over that of real ones, octave by octave of frequency."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from theory.spectrum.bands import octave_edges, octave_power
from theory.support.cores import available_cores

from ..data.opening import to_float
from .checks import check_images, check_pair
from .estimates import GROUPS, Estimate, jackknife

_CHUNK = 2**22  # values that are transformed at once


def octave_features(images: np.ndarray) -> np.ndarray:
    """Power of each image in each octave, about the mean image of the set.

    Parameters
    ----------
    images : (N, R, R, C) uint8
        At least two.

    Returns
    -------
    (N, octaves) float64
        Squared orthonormal DCT coefficients of the image less the mean image, for values in
        [-1, 1], summed over colours and over each band of `theory.spectrum.bands.octave_edges`,
        lowest octave first, times N/(N − 1): their mean over images is that of `theory.Spectrum`'s
        power.
    """
    check_images("images", images, at_least=2)
    count = len(images)
    chunk = max(1, _CHUNK // images[0].size)
    parts = range(0, count, chunk)
    total = np.zeros(images.shape[1:])
    for i in parts:
        total += to_float(images[i : i + chunk]).sum(axis=0, dtype=np.float64)
    mean = (total / count).astype(np.float32)
    features = np.empty((count, len(octave_edges(images.shape[1])) - 1))
    for i in parts:
        centred = to_float(images[i : i + chunk]) - mean
        coefficients = dctn(centred, axes=(1, 2), norm="ortho", workers=available_cores())
        features[i : i + chunk] = octave_power(np.square(coefficients, dtype=np.float64))
    return features * (count / (count - 1))


def octave_decibels_estimate(
    sampled: np.ndarray, reference: np.ndarray, groups: int = GROUPS
) -> Estimate:
    """Power of one set over that of another in decibel, (octaves,), lowest octave first.

    Equals `theory.oracle.report.octave_decibels` of the two sets' spectra. The jackknife keeps the
    mean images, whose own error matters 1/N as much.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) and (M, R, R, C) uint8

    Raises
    ------
    InputError
        If the sets are not of one size, or have fewer images than groups.
    """
    check_pair(sampled, reference, at_least=groups)

    def decibels(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return 10 * np.log10(one.mean(axis=0) / other.mean(axis=0))

    return jackknife(decibels, octave_features(sampled), octave_features(reference), groups)
