"""How many images a spectrum needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..support.errors import InputError
from .exponents import radial_octave_power
from .moments import Moments
from .spectrum import Spectrum
from .streaming import measure


@dataclass(frozen=True, eq=False)
class Convergence:
    """Power per octave of growing numbers of images."""

    counts: np.ndarray  # (J,): images, doubling
    power: np.ndarray  # (J, octaves): power per radial octave
    standard_error: np.ndarray  # (J, octaves): relative


def convergence(images: np.ndarray, smallest: int = 64) -> Convergence:
    """Power per octave of the first 64, 128, 256, … images and of all.

    Every image is measured once.

    Parameters
    ----------
    images : (N, R, R, C) float array in [-1, 1]
        In random order.
    smallest : int
        First count, at least 16; N must be at least twice that.

    Raises
    ------
    InputError
        If there are too few images.
    """
    if smallest < 16 or len(images) < 2 * smallest:
        raise InputError(
            f"convergence: needs at least {2 * max(smallest, 16)} images, got {len(images)}"
        )
    doublings = int(np.log2(len(images) / smallest))
    counts = [smallest * 2**j for j in range(doublings + 1)]
    if counts[-1] != len(images):
        counts.append(len(images))
    total: Moments | None = None
    found = []
    for start, end in pairwise([0, *counts]):
        part = measure([images[start:end]])
        total = part if total is None else total + part
        found.append(radial_octave_power(Spectrum.from_moments(total, {})))
    power, error = zip(*found, strict=True)
    return Convergence(np.array(counts), np.array(power), np.array(error))
