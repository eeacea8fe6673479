"""Gaussian and Laplacian pyramids of images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .errors import InputError
from .operators import interpolation_matrix


def _interpolate(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Linear interpolation of (H, W, ...) on the first two axes."""
    for axis, n_out in enumerate(shape):
        matrix = interpolation_matrix(image.shape[axis], n_out)
        image = np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)
    return image


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    for axis in (0, 1):
        image = gaussian_filter1d(image, sigma, axis=axis, mode="reflect")
    return image


def reduce(image: np.ndarray, sigma: float = 2 / 3) -> np.ndarray:
    """Smooth with a Gaussian and halve both axes by linear interpolation (odd sizes round up).

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
    sigma : float
        Standard deviation of the Gaussian in pixels. The default is what
        `skimage.transform.pyramid_reduce` uses for a factor of 2.
    """
    image = _smooth(np.asarray(image, dtype=np.float64), sigma)
    height, width = image.shape[:2]
    return _interpolate(image, (-(-height // 2), -(-width // 2)))


def expand(image: np.ndarray, shape: tuple[int, int], sigma: float = 2 / 3) -> np.ndarray:
    """Interpolate (H, W) or (H, W, C) linearly up to ``shape``, then smooth with a Gaussian."""
    return _smooth(_interpolate(np.asarray(image, dtype=np.float64), shape), sigma)


def gaussian_pyramid(image: np.ndarray, levels: int, sigma: float = 2 / 3) -> list[np.ndarray]:
    """Gaussian pyramid: the image and its successive smoothed halvings (Burt & Adelson 1983).

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
        Any real type; computed in float64.
    levels : int
        Number of images returned, the full-resolution one included.
    sigma : float
        Smoothing before each halving, in pixels of the larger image.

    Returns
    -------
    list of ``levels`` arrays
        Level ``i`` has axes of size ``ceil(n / 2**i)``.

    Raises
    ------
    InputError
        If ``image`` has another number of axes, or is too small for ``levels``.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim not in (2, 3):
        raise InputError(f"pyramid: the image needs shape (H, W) or (H, W, C), got {image.shape}")
    if levels < 1 or 2 ** (levels - 1) > min(image.shape[:2]):
        raise InputError(
            f"pyramid: an image of {image.shape[0]} x {image.shape[1]} cannot have {levels} levels"
        )
    pyramid = [image]
    for _ in range(levels - 1):
        pyramid.append(reduce(pyramid[-1], sigma))
    return pyramid


def laplacian_pyramid(image: np.ndarray, levels: int, sigma: float = 2 / 3) -> list[np.ndarray]:
    """Laplacian pyramid: what each halving loses, and the smallest image (Burt & Adelson 1983).

    Takes the parameters of `gaussian_pyramid` and returns as many arrays of the same shapes. The
    last one is the smallest Gaussian level. `reconstruct` gives the image back up to rounding.
    """
    gaussian = gaussian_pyramid(image, levels, sigma)
    bands = [fine - expand(coarse, fine.shape[:2], sigma) for fine, coarse in pairwise(gaussian)]
    return [*bands, gaussian[-1]]


def reconstruct(laplacian: list[np.ndarray], sigma: float = 2 / 3) -> np.ndarray:
    """Image of a Laplacian pyramid made with the same ``sigma``."""
    image = laplacian[-1]
    for band in reversed(laplacian[:-1]):
        image = band + expand(image, band.shape[:2], sigma)
    return image
