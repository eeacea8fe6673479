"""Sums over images, exact in any order: what a spectrum is computed from.

They are kept in fixed point, where addition is associative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..support.errors import InputError

REPLICATES = 200  # of the bootstrap over images
_HIGH, _LOW = 2.0**10, 2.0**60  # units of the two words of a fixed-point number


@dataclass
class ExactSum:
    """Sum of float64 arrays in fixed point: multiples of 2^-10, and of 2^-60 for the rest.

    Integer addition is associative and commutative, so the sum does not depend on the order. Values
    up to 2^52 add up without loss beyond 2^-60 each.
    """

    high: np.ndarray
    low: np.ndarray

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> ExactSum:
        """Return an empty sum of arrays of that shape."""
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Add one array."""
        high = np.rint(values * _HIGH)
        self.high += high.astype(np.int64)
        self.low += np.rint((values - high / _HIGH) * _LOW).astype(np.int64)

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.high + other.high, self.low + other.low)

    @property
    def value(self) -> np.ndarray:
        """The sum in float64."""
        return self.high / _HIGH + self.low / _LOW


@lru_cache(maxsize=8)
def radial_bins(resolution: int) -> np.ndarray:
    """Half-octave bin of each DCT frequency ``(k1, k2)`` by its radius: (R, R) int.

    Bin 0 is the constant; bin ``1 + j`` holds radii from ``2^(j/2)`` to ``2^((j+1)/2)``; the last
    bin holds what lies beyond radius R, in the corner.
    """
    index = np.arange(resolution)
    radius = np.hypot(index[:, None], index)
    with np.errstate(divide="ignore"):
        half_octave = np.floor(2 * np.log2(radius) + 1e-9)
    last = math.ceil(2 * np.log2(resolution) - 1e-9)
    bins = np.where(radius == 0, 0, 1 + np.clip(half_octave, 0, last)).astype(int)
    bins.setflags(write=False)
    return bins


@dataclass(frozen=True)
class Moments:
    """Sums over images of the DCT coefficients ``x_c`` of their C channels.

    Frequencies and channels share one axis of ``K = R² C`` entries, channels fastest. Products
    ``x_c x_d`` are kept by their distance ``d − c``: entry ``(s, 3 k + c)`` is ``x_c x_{c+s}``.
    """

    resolution: int
    channels: int
    count: int = 0
    first: ExactSum = field(default_factory=lambda: ExactSum.zeros(()))  # (K,) Σ x
    second: ExactSum = field(default_factory=lambda: ExactSum.zeros(()))  # (C, K) Σ x_c x_d
    # Covariances of groups of images, for the standard error: Σ over groups of m q and m q qᵀ, with
    # m images in a group and q the P = C (C + 1)/2 entries of its covariance.
    groups: int = 0
    grouped: int = 0  # images in groups
    group_first: ExactSum = field(default_factory=lambda: ExactSum.zeros(()))  # (R², P)
    group_second: ExactSum = field(default_factory=lambda: ExactSum.zeros(()))  # (R², P (P + 1)/2)
    # Power per radial bin and the weight of the images, first plain, then of each replicate.
    shells: ExactSum = field(default_factory=lambda: ExactSum.zeros(()))  # (1 + B, bins)
    weights: np.ndarray = field(default_factory=lambda: np.zeros(1 + REPLICATES, np.int64))

    def __add__(self, other: Moments) -> Moments:
        if (self.resolution, self.channels) != (other.resolution, other.channels):
            raise InputError(
                f"spectra of {self.resolution} px with {self.channels} channels and of "
                f"{other.resolution} px with {other.channels} do not fit together"
            )
        return Moments(
            self.resolution,
            self.channels,
            self.count + other.count,
            self.first + other.first,
            self.second + other.second,
            self.groups + other.groups,
            self.grouped + other.grouped,
            self.group_first + other.group_first,
            self.group_second + other.group_second,
            self.shells + other.shells,
            self.weights + other.weights,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Content for a file; `from_arrays` reads it back."""
        result: dict[str, np.ndarray] = {
            "moments_size": np.array(
                [self.resolution, self.channels, self.count, self.groups, self.grouped], np.int64
            ),
            "moments_weights": self.weights,
        }
        for name in _SUMS:
            total: ExactSum = getattr(self, name)
            result[f"moments_{name}"] = np.stack([total.high, total.low])
        return result

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Moments | None:
        """Moments of a file, or None if it has none (of this kind)."""
        if "moments_size" not in arrays:
            return None
        resolution, channels, count, groups, grouped = map(int, arrays["moments_size"])
        sums: dict[str, Any] = {
            name: ExactSum(*arrays[f"moments_{name}"].astype(np.int64)) for name in _SUMS
        }
        return cls(
            resolution,
            channels,
            count,
            groups=groups,
            grouped=grouped,
            weights=arrays["moments_weights"].astype(np.int64),
            **sums,
        )


_SUMS = ("first", "second", "group_first", "group_second", "shells")
