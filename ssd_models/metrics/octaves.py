"""Power of generated images relative to real images in each octave of frequency."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from theory.spectrum.bands import octave_edges, octave_power
from theory.support.cores import available_cores

from ..data.opening import to_float
from .checks import check_images, check_pair
from .estimates import GROUPS, Estimate, jackknife

_CHUNK = 2**22  # pixel values per transform


def octave_features(images: np.ndarray) -> np.ndarray:
    """Power of each image in each octave, about the mean image of the set.

    Parameters
    ----------
    images : (N, R, R, C) uint8
        At least two.

    Returns
    -------
    (N, octaves) float64
        Squared orthonormal DCT coefficients of the image minus the mean image, for values in
        [-1, 1], summed over colours and over each band of `theory.spectrum.bands.octave_edges`,
        lowest octave first, times N/(N − 1). Their mean over images is the power of the set's
        `theory.Spectrum` in the octave.
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
    """Ratio of the power of two sets in each octave, in decibels: (octaves,), lowest first.

    Equals `theory.oracle.report.octave_decibels` of the two sets' spectra. The jackknife keeps the
    mean images fixed; the effect of their error is smaller by a factor of 1/N.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) and (M, R, R, C) uint8

    Raises
    ------
    InputError
        If image sizes differ or there are fewer images than groups.
    """
    check_pair(sampled, reference, at_least=groups)

    def decibels(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return 10 * np.log10(one.mean(axis=0) / other.mean(axis=0))

    return jackknife(decibels, octave_features(sampled), octave_features(reference), groups)
