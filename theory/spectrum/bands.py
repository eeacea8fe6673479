"""Bands of DCT frequencies: shells and octaves of ``max(k1, k2)``, half octaves of the radius."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def shell_index(size: int) -> np.ndarray:
    """``max(k1, k2)`` of each DCT frequency, (size, size): ``r`` pixels keep those below r."""
    index = np.arange(size)
    return np.maximum(index[:, None], index)


def squared_radius(power: np.ndarray) -> np.ndarray:
    """``k1² + k2²`` of each entry of a power (R, R, C): (R · R · C,) float64."""
    k = np.arange(float(len(power))) ** 2
    return np.repeat((k[:, None] + k).ravel(), power.shape[-1])


def octave_edges(resolution: int) -> list[int]:
    """Edges ``[0, 2, 4, 8, …, R]`` of the octave bands in ``max(k1, k2)``.

    Band ``i`` holds the coefficients with ``edges[i] ≤ max(k1, k2) < edges[i + 1]``, lowest octave
    first. The first band includes the constant; halving the resolution removes exactly the last.
    """
    edges = [0]
    while (edge := 2 ** len(edges)) < resolution:
        edges.append(edge)
    return [*edges, resolution]


def octave_power(power: np.ndarray) -> np.ndarray:
    """Sum of ``power`` (..., R, R, C) in each octave band and over colours: (..., octaves)."""
    power = power.sum(axis=-1)
    within = [power[..., :edge, :edge].sum(axis=(-2, -1)) for edge in octave_edges(power.shape[-1])]
    return np.diff(np.stack(within, axis=-1), axis=-1)


def shell_sums(values: np.ndarray) -> np.ndarray:
    """Sum of (R, R, C) over colours and over each frequency index ``max(k1, k2)``: (R,)."""
    return np.bincount(shell_index(len(values)).ravel(), values.sum(axis=-1).ravel())


def band_power(power: np.ndarray) -> np.ndarray:
    """Mean power at each frequency index ``max(k1, k2)``, colours summed: (R, R, C) to (R,)."""
    return shell_sums(power) / (2 * np.arange(len(power)) + 1)


@lru_cache(maxsize=8)
def radial_bins(resolution: int) -> np.ndarray:
    """Number of the half octave of each DCT frequency's radius ``hypot(k1, k2)``: (R, R) int.

    Bin 0 is the constant; bin ``1 + j`` holds radii from ``2^(j/2)`` to ``2^((j+1)/2)``; the last
    bin holds the radii beyond R, in the corner.
    """
    index = np.arange(resolution)
    radius = np.hypot(index[:, None], index)
    with np.errstate(divide="ignore"):
        half_octave = np.floor(2 * np.log2(radius) + 1e-9)
    last = math.ceil(2 * np.log2(resolution) - 1e-9)
    bins = np.where(radius == 0, 0, 1 + np.clip(half_octave, 0, last)).astype(int)
    bins.setflags(write=False)
    return bins


def radial_power(power: np.ndarray) -> np.ndarray:
    """Sum of ``power`` (R, R) in each bin of `radial_bins`: (bins,)."""
    bins = radial_bins(len(power)).ravel()
    return np.bincount(bins, power.ravel())
