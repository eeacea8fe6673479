"""Opening datasets of any form, and converting between uint8 and float values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from theory.support.errors import InputError
from theory.support.paths import user_path
from theory.support.seeds import check_seed

from .arrays import ArrayImages
from .built_in import DEFAULT_COUNT, built_in
from .class_labels import Classes
from .forms import DATA_FORMS, HUB_PREFIX
from .hub import HubImages
from .image_files import FolderImages, ZipImages
from .images import Images
from .known import KNOWN
from .photos import uniform
from .prepared import PreparedImages, is_prepared
from .source import ImageSource
from .unusable import Unusable

if TYPE_CHECKING:
    from theory.spectrum.spectrum import Spectrum

_PART = 1024  # images that are converted to floats at once


def open_images(
    data: str | os.PathLike[str],
    resolution: int | None = 64,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> ImageSource:
    """Open a dataset; its images are decoded when they are asked for.

    Parameters
    ----------
    data
        One of

        | ``data`` | images |
        | --- | --- |
        | ``photos`` | random crops of built-in photographs (`PhotoCrops`) |
        | ``glyphs`` | drawn letters and digits with classes (`Glyphs`) |
        | ``glyphs:ABC`` | the same, these characters alone |
        | a folder | image files in it and in its subfolders |
        | a ``.zip`` | the same, read in place |
        | an ``.npy`` or ``.npz`` | uint8 ``(N, R, R, C)`` or ``(N, R, R)`` |
        | a prepared directory | written by `preparing.prepare` |
        | ``hf:…`` | a Hugging Face dataset (`hub`) |
        | ``celeba:…``, ``celebahq:…``, ``imagenet:…`` | any of these, size checked (`known`) |

        Folders called photos or glyphs are given as ``./photos`` and ``./glyphs``.
    resolution
        Pixels to a side, 1 or more; larger images are cropped to their central square and reduced.
        None keeps the size of the images, which must then be square and the same for all.
    limit
        Number of images, 1 or more. Of built-in data the first ones are taken, 8192 without a
        limit. Of other data a random subset is taken, in the order of the data, because the first
        files often belong to one class; smaller subsets are part of larger ones. A limit beyond the
        number of images has no effect.
    seed
        Seed of built-in images and of the random subset, 0 or more.

    Raises
    ------
    InputError
        If the data do not exist, cannot be read, have no known form, hold no images, or not as many
        as the named dataset has; or if a number is out of its range. Single images are checked only
        when they are decoded.
    """
    for what, number in (("resolution", resolution), ("limit", limit)):
        if number is not None and number < 1:
            raise InputError(f"{what} {number}: give 1 or more")
    check_seed(seed)
    name = os.fsdecode(data)
    if make := built_in(data):
        if resolution is None:
            raise InputError(f"{data}: its images have no size of their own; give a resolution")
        made = make(resolution, limit or DEFAULT_COUNT, seed)
        return ImageSource(name, resolution, _images=made, _indices=range(len(made)))
    images, indices, classes = choose_images(data, resolution, limit, seed)
    return ImageSource(
        name,
        resolution or _own_size(name, images, indices[0]),
        images.channels,
        _images=images,
        _indices=indices,
        _same_size=resolution is None,
        _classes=classes,
    )


def choose_images(
    data: str | os.PathLike[str], resolution: int | None, limit: int | None, seed: int
) -> tuple[Images, Sequence[int], Classes | None]:
    """Open a dataset that is not built in, and choose images of it.

    Parameters are those of `open_images`.

    Returns
    -------
    images : Images
        All images of the dataset.
    indices : sequence of int
        The chosen ones among them, in order.
    classes : Classes or None
        Classes of all images that replace those of ``images``; None if none do.
    """
    name = os.fsdecode(data)
    prefix, _, where = name.partition(":")
    known = KNOWN.get(prefix)
    images = _open(where if known else name, resolution)
    indices: Sequence[int] = range(len(images))
    classes: Classes | None = None
    if known is not None:
        indices, classes = known.choose(name, images, limit)
    if limit is not None and limit < len(indices):
        shuffled = np.argsort(uniform(seed, (len(indices),)), kind="stable")
        indices = [indices[i] for i in np.sort(shuffled[:limit])]
    return images, indices, classes


def to_float(images: np.ndarray) -> np.ndarray:
    """Map uint8 values 0 … 255 to float32 in [-1, 1]: ``x / 127.5 - 1``.

    Raises
    ------
    TypeError
        If ``images`` is not uint8.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"to_float takes uint8 images, not {images.dtype}")
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Map floats in [-1, 1] to uint8: the inverse of `to_float`, rounded and clipped."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def measured_spectrum(
    images: Any, meta: dict[str, Any], places: Sequence[int] | np.ndarray = ()
) -> Spectrum:
    """Spectrum of uint8 images (N, R, R, C), converted by `to_float` a thousand at a time.

    Parameters
    ----------
    images : array
        In memory, or mapped from files.
    meta : dict
        See `theory.Spectrum.from_images`, also for errors.
    places : sequence of int, optional
        Which images to measure; by default all.
    """
    from theory.spectrum.spectrum import Spectrum  # here, as it imports scipy

    chosen = np.asarray(places) if len(places) else np.arange(len(images))
    parts = (images[chosen[i : i + _PART]] for i in range(0, len(chosen), _PART))
    return Spectrum.from_images(map(to_float, parts), meta)


def _open(name: str, resolution: int | None) -> Images:
    if name.startswith(HUB_PREFIX):
        return HubImages(name)
    path = user_path(name)
    try:
        if not name:
            raise FileNotFoundError(2, "no name")
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be opened ({reason}); give {DATA_FORMS}") from error
    if is_prepared(path):
        return PreparedImages(path, resolution)
    if path.is_dir():
        return FolderImages(path)
    if path.suffix.lower() == ".zip":
        return ZipImages(path)
    if path.suffix.lower() in (".npz", ".npy"):
        return ArrayImages(path, resolution)
    raise InputError(f"{name}: is no form of dataset; give {DATA_FORMS}")


def _own_size(name: str, images: Images, index: int) -> int:
    try:
        width, height = images.size(index)
    except Unusable as error:
        raise InputError(f"{name}: {images[index]} ({error}); remove or replace it") from error
    if width != height:
        raise InputError(
            f"{name}: {images[index]} is {width}×{height} px, not square; give square images, such "
            "as `ssd prepare` crops from these"
        )
    return width
