"""Means and sums of squared deviations that can be merged: what a spectrum is computed from."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..support.errors import InputError


def products(values: np.ndarray) -> np.ndarray:
    """Sums over n of ``values[g, n, i] · values[g, n, j]``: (G, N, d, ...) to (G, P, ...).

    The ``P = d (d + 1) / 2`` pairs ``i ≤ j`` have the order of ``np.triu_indices(d)``.
    """
    pairs = list(zip(*np.triu_indices(values.shape[2]), strict=True))
    sums = np.empty((len(values), len(pairs), *values.shape[3:]), values.dtype)
    for p, (i, j) in enumerate(pairs):
        np.einsum("gn...,gn...->g...", values[:, :, i], values[:, :, j], out=sums[:, p])
    return sums


def symmetric(pairs: np.ndarray, size: int) -> np.ndarray:
    """Symmetric matrices from their entries ``i ≤ j``: (P, ...) to (size, size, ...)."""
    rows, columns = np.triu_indices(size)
    full = np.empty((size, size, *pairs.shape[1:]), pairs.dtype)
    full[rows, columns] = full[columns, rows] = pairs
    return full


@dataclass(frozen=True)
class WeightedMoments:
    """Weighted mean of vectors and sum of the products of their deviations from it.

    Parameters
    ----------
    weight : float
        Sum of the weights.
    mean : (d, ...) float64
    scatter : (d (d + 1) / 2, ...) float64
        ``Σ w (v_i − mean_i)(v_j − mean_j)`` for ``i ≤ j``, in the order of `products`.
    """

    weight: float
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> WeightedMoments:
        """Moments of vectors (N, d, ...) with weights (N,), whole numbers of which any may be 0.

        Sums over N have the vectors' precision.
        """
        weight = float(weights.sum())
        weights = weights.astype(values.dtype)
        mean = np.einsum("n,n...->...", weights, values) / max(weight, 1)
        deviations = values - mean
        deviations *= np.sqrt(weights).reshape(-1, *[1] * mean.ndim)
        scatter = products(deviations[None])[0]
        return cls(weight, mean.astype(np.float64), scatter.astype(np.float64))

    def __add__(self, other: WeightedMoments) -> WeightedMoments:
        """Moments of both sets of vectors together (Chan, Golub & LeVeque 1983)."""
        weight = self.weight + other.weight
        share = other.weight / max(weight, 1)
        step = other.mean - self.mean
        return WeightedMoments(
            weight,
            self.mean + share * step,
            self.scatter + other.scatter + products(step[None, None])[0] * (share * self.weight),
        )


def jackknife(observed: WeightedMoments, groups: int) -> np.ndarray:
    """Covariance of the mean of ``groups`` observations, entries ``i ≤ j`` as in `products`.

    ``Σ w (v − v̄)(v − v̄)ᵀ / ((G − 1) Σ w)``, which for equal weights is the jackknife that leaves
    out one group at a time (Efron & Tibshirani 1993, ch. 11). Zero for fewer than two groups.
    """
    return observed.scatter / (max(groups - 1, 1) * max(observed.weight, 1))


@dataclass(frozen=True)
class Moments:
    """Moments of a dataset's images and, for error bars, of the power in small groups of images.

    A group's colour covariance is that about the mean of the images transformed together with it
    (`theory.spectrum.streaming`), which makes it unbiased. Weights are numbers of images.

    Parameters
    ----------
    images : WeightedMoments of (C, R, R)
        DCT coefficients of the channels of each image.
    groups : int
        Number of groups; an image that was transformed alone is in none.
    covariances : WeightedMoments of (C (C + 1) / 2, R, R)
        Colour covariance of the coefficients in each group, entries ``i ≤ j``.
    radial : WeightedMoments of (bins,)
        Power of each group in the bins of `theory.spectrum.bands.radial_bins`, channels summed.
    """

    images: WeightedMoments
    groups: int
    covariances: WeightedMoments
    radial: WeightedMoments

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.images.weight)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (R, R, C) of the images."""
        return (*self.images.mean.shape[1:], len(self.images.mean))

    def __add__(self, other: Moments) -> Moments:
        """Moments of both datasets together."""
        return Moments(
            self.images + other.images,
            self.groups + other.groups,
            self.covariances + other.covariances,
            self.radial + other.radial,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Content for a file; `from_arrays` reads it back."""
        result = {"moments_groups": np.array(self.groups)}
        for name in _PARTS:
            for key, value in vars(getattr(self, name)).items():
                result[f"moments_{name}_{key}"] = np.asarray(value)
        return result

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments | None:
        """Moments of a file; None if it has none, or those of an earlier version."""
        if "moments_groups" not in arrays:
            return None
        parts = {
            name: WeightedMoments(
                float(arrays[f"moments_{name}_weight"]),
                arrays[f"moments_{name}_mean"],
                arrays[f"moments_{name}_scatter"],
            )
            for name in _PARTS
        }
        return cls(groups=int(arrays["moments_groups"]), **parts)


def merged(moments: Sequence[Moments | None]) -> Moments:
    """Moments of several datasets together, each None if its spectrum has none.

    Raises
    ------
    InputError
        If one has none, or the images are not all of one shape.
    """
    known = [one for one in moments if one is not None]
    if len(known) < len(moments):
        raise InputError(
            "merge: all spectra must be measured from images (one has no moments of images, or "
            "those of an earlier version: measure it again)"
        )
    for one in known:
        if one.shape != known[0].shape:
            raise InputError(f"merge: spectra of shape {known[0].shape} and {one.shape} do not fit")
    return reduce(operator.add, known)


_PARTS = ("images", "covariances", "radial")
