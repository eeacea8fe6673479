"""Lossless file sizes of small images, compared with the information of noisy states.

The size of a lossless file of the r x r image estimates the entropy of its pixels from above. A
state is matched with the thumbnail whose file has as many bits as the state's information at most
(`theory.information.bounds.gaussian_information`): the *total* reading of mathematics §4.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, features

from ..images.operators import resize_matrix
from ..support.cores import available_cores
from ..support.errors import InputError

_FORMATS = {
    "png": {"format": "PNG", "optimize": True},
    "webp": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6, "exact": True},
}
THUMBNAIL_FORMATS = tuple(_FORMATS)
"""Lossless file formats."""


def thumbnail_bits(
    images: np.ndarray, resolutions: Sequence[int], file_format: str = "png"
) -> np.ndarray:
    """Lossless file sizes of images reduced by `box` and rounded to 8 bits.

    Parameters
    ----------
    images : (N, R, R, C) uint8, C = 1 or 3
    resolutions : sequence of K int
        From 1 to R.
    file_format : {"png", "webp"}
        Encoded with the strongest settings. File headers, some hundred bits, are included.

    Returns
    -------
    (N, K) float64, bits per image

    Raises
    ------
    InputError
        For images of another kind, a resolution out of range, or a format that Pillow lacks.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"thumbnails: need uint8 images (N, R, R, 1 or 3), got {images.dtype} {images.shape}"
        )
    size = images.shape[1]
    if images.shape[2] != size or not all(1 <= r <= size for r in resolutions):
        raise InputError(
            f"thumbnails: need square images and resolutions from 1 to {size}, got "
            f"{images.shape[1:3]} and {list(resolutions)}"
        )
    if file_format not in _FORMATS:
        raise InputError(
            f"format {file_format!r}: unknown; choose from {', '.join(THUMBNAIL_FORMATS)}"
        )
    if file_format == "webp" and not features.check("webp"):
        raise InputError("format 'webp': Pillow was built without it; use 'png'")
    bits = np.empty((len(images), len(resolutions)))
    with ThreadPoolExecutor(available_cores()) as pool:  # encoders run outside Python's lock
        for column, resolution in enumerate(resolutions):
            axis = resize_matrix("box", size, resolution)
            small = np.einsum("ij,njkc,lk->nilc", axis, images.astype(float), axis, optimize=True)
            pixels = np.clip(np.rint(small), 0, 255).astype(np.uint8)
            bits[:, column] = list(pool.map(lambda image: _file_bits(image, file_format), pixels))
    return bits


def _file_bits(pixels: np.ndarray, file_format: str) -> int:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.save(buffer, **_FORMATS[file_format])  # type: ignore[arg-type]
    return 8 * buffer.tell()


def matching_thumbnail(
    information: np.ndarray, resolutions: Sequence[int], bits: np.ndarray
) -> np.ndarray:
    """Resolution of the thumbnail whose file has as many bits as each state's information.

    Parameters
    ----------
    information : (T,) array
        Bits per image, e.g. ``gaussian_information(spectrum, noise.snr)``.
    resolutions : sequence of K int, rising
    bits : (K,) array
        Mean file size at each resolution, rising.

    Returns
    -------
    (T,) float64
        Pixels a side, interpolated in the logarithms of bits and resolutions; clipped to the range
        of ``resolutions``.

    Raises
    ------
    InputError
        If ``bits`` do not rise or do not fit the resolutions.
    """
    if len(resolutions) != len(bits) or not (np.diff(bits) > 0).all():
        raise InputError("thumbnails: resolutions and their bits must fit, and both rise")
    safe = np.maximum(information, np.finfo(float).tiny)
    return np.exp(np.interp(np.log(safe), np.log(bits), np.log(resolutions)))
