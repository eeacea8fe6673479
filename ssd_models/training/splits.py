"""The held-out split: which images a run never trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def held_out(names: Iterable[str], share: float) -> np.ndarray:
    """Whether each image is held out, (N,) bool: about ``share`` of them, in [0, 1).

    It depends on an image's own name alone, so images that are added or removed never move another
    one from one side to the other. Of images that would all be held out, none is.
    """
    limit = int(share * 2**64)
    digests = (hashlib.blake2b(_bytes(name), digest_size=8).digest() for name in names)
    out = np.fromiter((int.from_bytes(digest, "big") < limit for digest in digests), bool)
    return out & ~out.all()


def names_digest(names: Iterable[str]) -> str:
    """Digest of the names of a dataset's images in order, hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(_bytes(name))
        digest.update(b"\0")
    return digest.hexdigest()


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")  # file names need not be UTF-8
