"""The power spectrum of an image dataset: power by DCT frequency and colour component.

The basis is the orthonormal type-2 DCT in space, which has no wrap-around leakage, and the
eigenvectors of the colour covariance. It is orthonormal, so white noise stays white in it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..images.operators import dct_basis, resize_matrix
from ..support.errors import InputError
from .estimation import estimate
from .files import FORMAT, explained, read_arrays, write_arrays
from .moments import Moments, merged
from .streaming import measure

_ARRAYS = ("power", "mean", "colour_basis", "standard_error")


class SameImagesError(InputError):
    """The images of a spectrum are all the same."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power spectrum of a dataset of square images.

    Spectra are equal if their `sha256` is.

    Parameters
    ----------
    power : (R, R, C) float64
        Variance of the orthonormal DCT-II coefficient ``(k1, k2)`` of colour component ``c``, mean
        image removed, for images scaled to [-1, 1]. Components are sorted by falling power. Powers
        no larger than what rounding in single precision leaves are zero.
    mean : (R, R, C) float64
        Mean image, in the images' own channels.
    colour_basis : (C, C) float64
        Orthonormal; column ``c`` is colour component ``c`` in the images' own channels.
    count : int
        Number of images; 0 for a spectrum that was not measured.
    standard_error : (R, R, C) float64
        Standard error of ``power``, by the jackknife over groups of up to 8 images
        (`theory.spectrum.moments.jackknife`).
    meta : dict
        Notes on the source (JSON values only).
    moments : Moments, optional
        Of the images, by which spectra can be merged and have intervals. None where not measured.

    Raises
    ------
    InputError
        If the arrays do not fit together, are not finite, or a power is negative.
    """

    power: np.ndarray
    mean: np.ndarray
    colour_basis: np.ndarray
    count: int
    standard_error: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)
    moments: Moments | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = self.power.shape
        if len(shape) != 3 or shape[0] != shape[1] or 0 in shape:
            raise InputError(f"spectrum: power needs shape (R, R, C), got {shape}")
        shapes = {"mean": shape, "standard_error": shape, "colour_basis": (shape[2], shape[2])}
        for name, expected in shapes.items():
            if (given := getattr(self, name).shape) != expected:
                raise InputError(f"spectrum: {name} needs shape {expected}, got {given}")
        for name in _ARRAYS:
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"spectrum: {name} has values that are not finite")
        if (self.power < 0).any():
            raise InputError("spectrum: power must not be negative")
        if self.moments is not None and self.moments.shape != shape:
            raise InputError(
                f"spectrum: moments are of images {self.moments.shape}, the power of {shape}"
            )

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.power.shape[0]

    @property
    def channels(self) -> int:
        """Number of colour components."""
        return self.power.shape[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spectrum) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of power, mean and colour basis, from which schedules are derived."""
        digest = hashlib.sha256()
        for array in (self.power, self.mean, self.colour_basis):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    @classmethod
    def from_images(
        cls,
        batches: Iterable[np.ndarray],
        meta: dict[str, Any] | None = None,
        threads: int | None = None,
    ) -> Spectrum:
        """Measure the spectrum in one pass; memory does not grow with the number of images.

        Parameters
        ----------
        batches : iterable of (N, R, R, C) float32 or float64 arrays in [-1, 1]
            A single such array is taken as one batch.
        meta : dict, optional
            Recorded with the spectrum.
        threads : int, optional
            By default all cores that the process may use. The result does not depend on it.

        Raises
        ------
        InputError
            If an array has another shape, type or range, or the images are fewer than two or all
            the same.
        """
        if isinstance(batches, np.ndarray):
            batches = [batches]
        return cls.from_moments(measure(batches, threads), meta or {})

    @classmethod
    def from_moments(cls, moments: Moments, meta: dict[str, Any]) -> Spectrum:
        """Spectrum of images by their moments.

        Parameters
        ----------
        moments : Moments
        meta : dict
            Recorded with the spectrum. With a ``shard`` the images may be a single one or all the
            same, as the other shards may have others.

        Raises
        ------
        InputError
            If the images are fewer than two or all the same.
        """
        whole = "shard" not in meta
        if moments.count < 2 and whole:
            raise InputError(f"spectrum: needs at least two images, got {moments.count}")
        spectrum = cls(
            **estimate(moments),
            count=moments.count,
            meta={"format": FORMAT, "value_range": [-1, 1], "dct": "II, orthonormal", **meta},
            moments=moments,
        )
        if whole:
            check_power(spectrum)
        return spectrum

    def merge(self, other: Spectrum) -> Spectrum:
        """Spectrum of both datasets together, as if measured in one pass, up to rounding.

        Parameters
        ----------
        other : Spectrum
            Of images of the same size and number of channels.

        Raises
        ------
        InputError
            If the shapes differ or one of the two was not measured from images.
        """
        source = [str(s.meta["source"]) for s in (self, other) if "source" in s.meta]
        meta = {**self.meta, **({"source": " + ".join(source)} if source else {})}
        meta.pop("shard", None)  # `theory.spectrum.shards` knows which shards belong together
        if skipped := sum(s.meta.get("skipped", 0) for s in (self, other)):
            meta["skipped"] = skipped
        return Spectrum.from_moments(merged([self.moments, other.moments]), meta)

    def at_resolution(self, resolution: int, operator: str = "dct") -> Spectrum:
        """Spectrum of the same images reduced to ``resolution`` pixels, from this one alone.

        For ``dct`` it is the low corner times ``(r/R)²``, which is exact. The other operators take
        the coefficients of the full image as uncorrelated, and the standard error takes the errors
        of their powers as uncorrelated. The result has no moments and cannot be merged.

        Parameters
        ----------
        resolution : int
            From 1 to the spectrum's.
        operator : {"dct", "box", "bilinear", "lanczos"}

        Raises
        ------
        InputError
            If the resolution is out of range or the operator unknown.
        """
        if not 1 <= resolution <= self.resolution:
            raise InputError(
                f"resolution {resolution}: must lie between 1 and the spectrum's {self.resolution}"
            )
        axis = resize_matrix(operator, self.resolution, resolution)
        mixing = dct_basis(resolution) @ axis @ dct_basis(self.resolution).T  # (r, R)

        def both_axes(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
            return np.einsum("ik,klc,jl->ijc", matrix, values, matrix, optimize=True)

        return Spectrum(
            power=both_axes(mixing**2, self.power),
            mean=both_axes(axis, self.mean),
            colour_basis=self.colour_basis,
            count=self.count,
            standard_error=np.sqrt(both_axes(mixing**4, self.standard_error**2)),
            meta={**self.meta, "reduced_from": self.resolution, "reduced_by": operator},
        )

    @classmethod
    def power_law(
        cls, resolution: int, exponent: float, pixel_variance: float = 0.25, channels: int = 1
    ) -> Spectrum:
        """Spectrum ``S ∝ 1/max(|k|, 0.7)^exponent`` over DCT indices, with ``Σ S = variance · R²``.

        Parameters
        ----------
        resolution : int
            Side R in pixels.
        exponent : float
            Fall-off of the power (natural images: about 2 to 3).
        pixel_variance : float
            Mean variance of a pixel in each channel, in units of the [-1, 1] range.
        channels : int
            Number of equal colour components.

        Raises
        ------
        InputError
            If a number is out of range.
        """
        if resolution < 1 or channels < 1 or pixel_variance <= 0:
            raise InputError(
                "power_law: resolution and channels must be at least 1 and pixel_variance positive"
            )
        index = np.arange(resolution)
        radius = np.hypot(index[:, None], index)
        power = np.maximum(radius, 0.7) ** -float(exponent)
        power *= pixel_variance * resolution**2 / power.sum()
        shape = (resolution, resolution, channels)
        return cls(
            power=np.broadcast_to(power[:, :, None], shape).copy(),
            mean=np.zeros(shape),
            colour_basis=np.eye(channels),
            count=0,
            standard_error=np.zeros(shape),
            meta={"format": FORMAT, "source": f"power law, exponent {exponent}"},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``spectrum.npz`` (complete or not at all)."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays["count"] = np.array(self.count)
        if self.moments is not None:
            arrays |= self.moments.arrays()
        write_arrays(path, arrays, self.meta)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Spectrum:
        """Read and check a file written by `save`.

        Raises
        ------
        InputError
            If the file is missing, is not a spectrum, or has arrays that do not fit together.
        """
        with explained(path):
            arrays, meta = read_arrays(path)
            return cls(
                **{name: arrays[name] for name in _ARRAYS},
                count=int(arrays["count"]),
                meta=meta,
                moments=Moments.from_arrays(arrays),
            )


def check_power(spectrum: Spectrum) -> None:
    """Raise `SameImagesError` if a spectrum has no power at all."""
    if not spectrum.power.any():
        source = spectrum.meta.get("source", "spectrum")
        raise SameImagesError(f"{source}: the images are all the same; give images that differ")
