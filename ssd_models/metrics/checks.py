"""Checks of image arrays before two sets of images are compared."""

from __future__ import annotations

import numpy as np

from theory.support.errors import InputError

from ..training.batches import ImageArray


def check_images(name: str, images: ImageArray, at_least: int = 1) -> None:
    """Raise `InputError` unless images are uint8 of shape (N, R, R, C) and ``N ≥ at_least``.

    The message starts with ``name``.
    """
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] < 1:
        raise InputError(f"{name}: are {images.dtype} of shape {shape}; give uint8 (N, R, R, C)")
    if len(images) < at_least:
        raise InputError(f"{name}: are {len(images)} images; give at least {at_least}")


def check_pair(sampled: ImageArray, reference: ImageArray, at_least: int = 1) -> None:
    """Raise `InputError` unless both sets pass `check_images` and have the same (R, R, C)."""
    check_images("sampled images", sampled, at_least)
    check_images("reference images", reference, at_least)
    if sampled.shape[1:] != reference.shape[1:]:
        raise InputError(
            f"sampled images: have {_size(sampled)}, the reference images {_size(reference)}"
        )


def _size(images: ImageArray) -> str:
    return f"{images.shape[1]} px and {images.shape[3]} channels"
