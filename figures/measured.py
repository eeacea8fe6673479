"""Data of most figures: images of one dataset, their spectrum, and common schedules."""

from __future__ import annotations

from functools import cache

import numpy as np
from skimage.data import astronaut

from ssd_models.data import open_images, to_float
from theory import PAPER, NoiseSchedule, ResolutionSchedule, Spectrum

SIZE, COUNT = 64, 4096
LEVELS = (64, 32, 16, 8)
NOISE = NoiseSchedule.linear(1000)
NAMED_SCHEDULES = (
    "equal",
    "ConvexDecay_0.25",
    PAPER,
    "ConvexDecay_2",
    "SigmoidLikeDecay_2",
    "TanhLikeDecay_2",
)

PAPER_CHAIN = ResolutionSchedule.paper(SIZE, len(LEVELS), PAPER, NOISE, operator="dct")
SAME_CHANGES = ResolutionSchedule.from_noise(PAPER_CHAIN.resolutions, NOISE, levels=LEVELS)
"""The paper's schedule with `dct` instead of `bilinear`, and its changes with matched noise."""


@cache
def images(data: str = "photos") -> np.ndarray:
    """Up to 4096 images of a dataset, (N, 64, 64, 3) uint8."""
    return open_images(data, SIZE, limit=COUNT).load()


@cache
def shown(data: str = "photos") -> np.ndarray:
    """One example image, (64, 64, 3) in [-1, 1]; for the built-in photographs a whole one."""
    if data != "photos":
        return to_float(images(data)[0])
    whole = astronaut()[:, :, :3]  # 512 px
    factor = len(whole) // SIZE
    return to_float(whole.reshape(SIZE, factor, SIZE, factor, 3).mean((1, 3)).round().astype("u1"))


@cache
def spectrum(data: str = "photos") -> Spectrum:
    """Spectrum of `images`."""
    return Spectrum.from_images(to_float(images(data)))
