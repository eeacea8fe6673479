"""Pictures of many images: grids, and chains as animations."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from theory.errors import InputError
from theory.files import atomic_path

_GAP = 2  # pixels between the images of a grid
_SECONDS, _HOLD = 4.0, 1.5  # of the chain, and of its last frame


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Images row by row in one, 2 white pixels between them.

    Parameters
    ----------
    images : (N, H, W, 3), (N, H, W, 1) or (N, H, W) uint8
    columns : int, optional
        By default as many as make the grid as square as N allows.

    Returns
    -------
    (H', W', 3) uint8

    Raises
    ------
    InputError
        If there is no image, the array is not such images, or ``columns`` is below 1.
    """
    given = f"{images.dtype} {images.shape}"
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise InputError(f"a grid needs uint8 images (N, H, W, 3), N ≥ 1, not {given}")
    if images.shape[3] not in (1, 3):
        raise InputError(f"a grid needs uint8 images of 1 or 3 channels, not {given}")
    if columns is not None and columns < 1:
        raise InputError(f"{columns} columns; give 1 or more")
    count, height, width, _ = images.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    height, width = height + _GAP, width + _GAP
    grid = np.full((rows * height - _GAP, columns * width - _GAP, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * height, index % columns * width
        grid[top : top + height - _GAP, left : left + width - _GAP] = image
    return grid


def save_grid(images: np.ndarray, path: str | os.PathLike[str], columns: int | None = None) -> None:
    """Write a grid of images (`image_grid`) into one PNG.

    Raises
    ------
    InputError
        As `image_grid`, or if ``path`` does not end in ``.png`` or cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"{os.fspath(path)}: a grid is a PNG; give a name that ends in .png")
    try:
        grid = image_grid(images, columns)
    except InputError as error:
        raise InputError(f"{os.fspath(path)}: {error}") from None
    with atomic_path(path) as temporary:
        Image.fromarray(grid).save(temporary, format="PNG")


def save_animation(
    frames: Sequence[np.ndarray], path: str | os.PathLike[str], resolution: int
) -> None:
    """Write grids of images, one a frame, as an animated .gif or .webp.

    Parameters
    ----------
    frames : sequence of (N, r, r, C) uint8 arrays
        Smaller images are enlarged to ``resolution``, each pixel to a square.
    path : path
        Its ending chooses the format.
    resolution : int
        Side of the images in pixels.
    """
    side = max(1, 128 // resolution) * resolution  # small images are shown larger
    pictures = []
    for images in frames:
        pixels = [Image.fromarray(np.squeeze(image)) for image in images]
        large = [np.asarray(one.resize((side, side), Image.Resampling.NEAREST)) for one in pixels]
        pictures.append(Image.fromarray(image_grid(np.stack(large))))
    milliseconds = [max(20, round(1000 * _SECONDS / len(pictures)))] * len(pictures)
    milliseconds[-1] += round(1000 * _HOLD)
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format=Path(path).suffix[1:].upper(),
            save_all=True,
            append_images=pictures[1:],
            duration=milliseconds,
            loop=0,
        )
