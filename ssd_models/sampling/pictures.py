"""Grids of images, and animations of sampling chains."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from theory.support.errors import InputError
from theory.support.files import atomic_path

_GAP = 2  # pixels between the images of a grid
_SECONDS, _HOLD = 4.0, 1.5  # length of an animation, and additional time of its last frame


def pictures(images: np.ndarray) -> list[Image.Image]:
    """Convert images with any number of channels to PIL images.

    Parameters
    ----------
    images : (N, H, W, C) uint8
        One channel is grey, three are red, green and blue. Any other number of channels is shown in
        grey, side by side from the left.

    Returns
    -------
    list of N PIL images
        Of width ``W``, or ``C W`` for channels side by side.
    """
    return [
        Image.fromarray(np.squeeze(each, -1) if each.shape[-1] == 1 else each)
        for each in _shown(images)
    ]


def _shown(images: np.ndarray) -> np.ndarray:
    """Images of 1 or 3 channels as they are; channels of others side by side, (N, H, C W, 1)."""
    n, height, width, channels = images.shape
    if channels in (1, 3):
        return images
    return images.transpose(0, 1, 3, 2).reshape(n, height, channels * width, 1)


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Arrange images in a grid row by row, with 2 white pixels between them.

    Parameters
    ----------
    images : (N, H, W, C) or (N, H, W) uint8
        Channels as in `pictures`.
    columns : int, optional
        By default ``√N``, rounded up.

    Returns
    -------
    (H', W', 3) uint8

    Raises
    ------
    InputError
        If there is no image, the array has another dtype or shape, or ``columns`` is below 1.
    """
    given = f"{images.dtype} {images.shape}"
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise InputError(f"a grid needs uint8 images (N, H, W, C), N ≥ 1, not {given}")
    if columns is not None and columns < 1:
        raise InputError(f"{columns} columns; give 1 or more")
    images = _shown(images)
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
    """Write a grid of images as a PNG; parameters as in `image_grid`.

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


def check_animation_name(path: str | os.PathLike[str]) -> None:
    """Raise `InputError` unless ``path`` ends in .gif or .webp."""
    if Path(path).suffix.lower() not in (".gif", ".webp"):
        raise InputError(f"{os.fspath(path)}: an animation must end in .gif or .webp")


def save_animation(
    frames: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    resolution: int,
    columns: int | None = None,
) -> None:
    """Write an animation whose frames are grids of images, as .gif or .webp.

    Parameters
    ----------
    frames : sequence of (N, h, w, C) uint8 arrays
        Images of one frame each, enlarged to the size of full resolution by repeating pixels.
        Channels as in `pictures`.
    path : path
        The suffix determines the format.
    resolution : int
        Full resolution: shorter side of the largest images in pixels. Below 128 all images are
        shown larger, by a whole factor.
    columns : int, optional
        As in `image_grid`.

    Raises
    ------
    InputError
        If there are no frames or ``path`` has another suffix, or as `image_grid`.
    """
    check_animation_name(path)
    if not len(frames):
        raise InputError(f"{os.fspath(path)}: an animation needs at least one frame")
    side = max(1, 128 // resolution) * resolution
    grids = []
    for images in frames:
        scale = side / min(images.shape[1:3])
        large = []
        for picture in pictures(images):
            size = (round(scale * picture.width), round(scale * picture.height))
            pixels = np.asarray(picture.resize(size, Image.Resampling.NEAREST))
            large.append(pixels if pixels.ndim == 3 else pixels[:, :, None])
        grids.append(Image.fromarray(image_grid(np.stack(large), columns)))
    milliseconds = [max(20, round(1000 * _SECONDS / len(grids)))] * len(grids)
    milliseconds[-1] += round(1000 * _HOLD)
    with atomic_path(path) as temporary:
        grids[0].save(
            temporary,
            format=Path(path).suffix[1:].upper(),
            save_all=True,
            append_images=grids[1:],
            duration=milliseconds,
            loop=0,
        )
