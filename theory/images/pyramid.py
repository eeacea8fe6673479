"""Gaussian and Laplacian pyramids of images."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..support.errors import InputError
from .operators import interpolation_matrix


def _interpolate(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize the first two axes of (H, W, ...) to ``shape`` by linear interpolation."""
    for axis, n_out in enumerate(shape):
        matrix = interpolation_matrix(image.shape[axis], n_out)
        image = np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)
    return image


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    for axis in (0, 1):
        image = gaussian_filter1d(image, sigma, axis=axis, mode="reflect")
    return image


def _check_scales(sigma: float | None, factor: float) -> None:
    if not 1 < factor < np.inf:
        raise InputError(f"pyramid: factor {factor} must be above 1")
    if sigma is not None and not 0 <= sigma < np.inf:
        raise InputError(f"pyramid: sigma {sigma} must not be negative")


def reduce(image: np.ndarray, sigma: float | None = None, factor: float = 2) -> np.ndarray:
    """Smooth with a Gaussian and shrink both axes by linear interpolation (sizes round up).

    Equals `skimage.transform.pyramid_reduce`.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
    sigma : float, optional
        Standard deviation of the Gaussian in pixels; by default ``factor / 3``, scikit-image's.
    factor : float
        Ratio of the sides before and after, above 1; need not be an integer.

    Returns
    -------
    (⌈H / factor⌉, ⌈W / factor⌉) or (…, C) float64

    Raises
    ------
    InputError
        If ``factor`` is not above 1 or ``sigma`` is negative.
    """
    _check_scales(sigma, factor)
    image = _smooth(np.asarray(image, dtype=np.float64), _sigma(sigma, factor))
    return _interpolate(image, _reduced(image.shape, factor))


def expand(
    image: np.ndarray, shape: tuple[int, int], sigma: float | None = None, factor: float = 2
) -> np.ndarray:
    """Interpolate an image linearly to a larger size, then smooth it with a Gaussian.

    Equals `skimage.transform.pyramid_expand` except in a border of a few pixels: beyond the
    outermost pixels' centres scikit-image mirrors the image about those centres, whereas here it is
    extended by constants, consistent with the half-sample reflection that the smoothing uses.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
    shape : (int, int)
        Height and width of the result.
    sigma, factor : float
        As in `reduce`.

    Returns
    -------
    (*shape) or (*shape, C) float64
    """
    larger = _interpolate(np.asarray(image, dtype=np.float64), shape)
    return _smooth(larger, _sigma(sigma, factor))


def gaussian_pyramid(
    image: np.ndarray, levels: int, sigma: float | None = None, factor: float = 2
) -> list[np.ndarray]:
    """Gaussian pyramid: the image and its successive smoothed reductions (Burt & Adelson 1983).

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
        Any real type; computed in float64.
    levels : int
        Number of images returned, the full-resolution one included.
    sigma : float, optional
        Smoothing before each reduction, in pixels of the larger image; by default ``factor / 3``.
    factor : float
        Ratio of the sides of consecutive levels, above 1; need not be an integer.

    Returns
    -------
    list of ``levels`` arrays
        The sides of each level are those of the one before divided by ``factor``, rounded up.

    Raises
    ------
    InputError
        If ``image`` has another number of axes or is too small for ``levels``, or ``factor`` is not
        above 1.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim not in (2, 3):
        raise InputError(f"pyramid: the image needs shape (H, W) or (H, W, C), got {image.shape}")
    _check_scales(sigma, factor)
    if levels < 1 or factor ** (levels - 1) > min(image.shape[:2]):
        raise InputError(
            f"pyramid: an image of {image.shape[0]} x {image.shape[1]} cannot have {levels} levels"
        )
    pyramid = [image]
    for _ in range(levels - 1):
        pyramid.append(reduce(pyramid[-1], sigma, factor))
    return pyramid


def laplacian_pyramid(
    image: np.ndarray, levels: int, sigma: float | None = None, factor: float = 2
) -> list[np.ndarray]:
    """Laplacian pyramid (Burt & Adelson 1983).

    Each level is a Gaussian level minus the next one expanded to its size; the last one is the
    smallest Gaussian level. `reconstruct` inverts it up to rounding. It differs from
    `skimage.transform.pyramid_laplacian`, whose levels are Gaussian levels minus their own
    smoothing and do not sum to the image.

    Parameters, exceptions and the shapes returned are those of `gaussian_pyramid`.
    """
    gaussian = gaussian_pyramid(image, levels, sigma, factor)
    bands = [
        fine - expand(coarse, fine.shape[:2], sigma, factor) for fine, coarse in pairwise(gaussian)
    ]
    return [*bands, gaussian[-1]]


def reconstruct(
    laplacian: list[np.ndarray], sigma: float | None = None, factor: float = 2
) -> np.ndarray:
    """Invert `laplacian_pyramid`, given the same ``sigma`` and ``factor``."""
    image = laplacian[-1]
    for band in reversed(laplacian[:-1]):
        image = band + expand(image, band.shape[:2], sigma, factor)
    return image


def _sigma(sigma: float | None, factor: float) -> float:
    return factor / 3 if sigma is None else sigma


def _reduced(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    return math.ceil(shape[0] / factor), math.ceil(shape[1] / factor)
