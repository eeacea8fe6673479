"""Choices among the images of a run: those that it never trains on, and a few of many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def held_out(names: Iterable[str], share: float) -> np.ndarray:
    """Choose about a fraction ``share``, in [0, 1), of images to hold out: (N,) bool.

    The choice for an image depends on its name only, so adding or removing images never moves
    others between the two sets. If all images would be held out, none is.
    """
    limit = int(share * 2**64)
    digests = (hashlib.blake2b(_bytes(name), digest_size=8).digest() for name in names)
    out = np.fromiter((int.from_bytes(digest, "big") < limit for digest in digests), bool)
    return out & ~out.all()


def evenly_spread(count: int, most: int) -> np.ndarray:
    """Places of up to ``most`` of ``count`` images, evenly spread and rising; all if they are few.

    Data are often sorted, so that their first part would be of a few kinds only.
    """
    chosen = min(count, most)
    return np.arange(chosen) * count // max(chosen, 1)


def names_digest(names: Iterable[str]) -> str:
    """Digest of the names of a dataset's images in order, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(_bytes(name))
        digest.update(b"\0")
    return digest.hexdigest()


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")  # file names need not be UTF-8
