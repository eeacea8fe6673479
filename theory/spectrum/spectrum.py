"""Second-order statistics of an image dataset: power per DCT frequency and colour component.

The basis is the orthonormal type-2 DCT in space, which has no wrap-around leakage, and the
eigenvectors of the colour covariance, so white noise stays white in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.fft import idctn

from ..images.operators import dct_basis, resize_matrix
from ..support.errors import InputError, reason
from ..support.files import atomic_path
from ..support.paths import user_path
from ..support.reading import parse_json, read_npz
from .moments import Moments
from .streaming import measure

_FORMAT = "scale-space-spectrum/1"
# Kinds of what is read from ``meta``, where it is there.
_META = {"source": str, "shard": str, "skipped": int, "limit": int, "seed": int, "images": int}


@dataclass(frozen=True)
class Spectrum:
    """Power spectrum of a dataset of square images.

    Parameters
    ----------
    power : (R, R, C) float64
        Variance of the orthonormal DCT-II coefficient ``(k1, k2)`` of colour component ``c``, mean
        image removed, for images scaled to [-1, 1]. Components are sorted by falling power. What
        single precision leaves of no variance at all is zero.
    mean : (R, R, C) float64
        Mean image, in the images' own channels.
    colour_basis : (C, C) float64
        Orthonormal; column ``c`` is colour component ``c`` in the images' own channels.
    count : int
        Number of images; 0 for a spectrum that was not measured.
    standard_error : (R, R, C) float64
        Standard error of ``power``, from how the covariance varies between groups of images. It
        is itself uncertain by about ``1/√(2 G)`` of its value, with G groups (one per 32 images
        and more where there are few).
    meta : dict
        What is known of the source (JSON values only).
    moments : Moments, optional
        Sums over the images, which make spectra mergeable. None where not measured.
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
        for name, expected in (
            ("mean", shape),
            ("standard_error", shape),
            ("colour_basis", (shape[2], shape[2])),
        ):
            if getattr(self, name).shape != expected:
                raise InputError(
                    f"spectrum: {name} needs shape {expected}, got {getattr(self, name).shape}"
                )
        for name in ("power", "mean", "standard_error", "colour_basis"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"spectrum: {name} has values that are not finite")
        if (self.power < 0).any():
            raise InputError("spectrum: power must not be negative")

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.power.shape[0]

    @property
    def channels(self) -> int:
        """Number of colour components."""
        return self.power.shape[2]

    @cached_property
    def sha256(self) -> str:
        """Digest of power, mean and colour basis: what schedules are derived from."""
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
            For arrays of another shape, type or range, or fewer than two images in all.
        """
        if isinstance(batches, np.ndarray):
            batches = [batches]
        return cls.from_moments(measure(batches, threads), meta or {})

    @classmethod
    def from_moments(cls, moments: Moments, meta: dict[str, Any]) -> Spectrum:
        """Spectrum of measured sums; at least two images, or a shard's."""
        count, size, channels = moments.count, moments.resolution, moments.channels
        if count < 2 and "shard" not in meta:  # the rest of a shard may be elsewhere
            raise InputError(f"spectrum: needs at least two images, got {count}")
        first = moments.first.value.reshape(size, size, channels) / count
        products = moments.second.value / count  # (C, K)
        rows, columns = np.triu_indices(channels)
        second = np.empty((size, size, channels, channels))
        for row, column in zip(rows, columns, strict=True):
            entries = products[column - row].reshape(size, size, channels)[..., row]
            second[..., row, column] = second[..., column, row] = entries
        covariance = (second - first[..., :, None] * first[..., None, :]) * (
            count / max(count - 1, 1)
        )

        eigenvalues, basis = np.linalg.eigh(covariance.sum(axis=(0, 1)))
        basis = basis[:, np.argsort(-eigenvalues, kind="stable")]
        basis = basis * np.where(basis.sum(axis=0) < 0, -1.0, 1.0)  # the sign is arbitrary; fix it
        power = np.einsum("ic,klij,jc->klc", basis, covariance, basis)
        known = power > _rounding(np.einsum("klcc->kl", second))[..., None]
        return cls(
            power=np.where(known, power, 0.0),
            mean=idctn(first, axes=(0, 1), norm="ortho"),
            colour_basis=basis,
            count=count,
            standard_error=np.where(known, _standard_error(moments, basis), 0.0),
            meta={"format": _FORMAT, "value_range": [-1, 1], "dct": "II, orthonormal", **meta},
            moments=moments,
        )

    def merge(self, other: Spectrum) -> Spectrum:
        """Spectrum of both datasets together, as if measured in one pass.

        Associative and commutative to the last bit. Where ``self`` holds whole blocks of 1024
        images (fewer above 64 pixels, `theory.spectrum.streaming.block_size`) it also has the bits
        of one pass; at other splits it agrees up to rounding.

        Raises
        ------
        InputError
            If the shapes differ or one of the two was not measured from images.
        """
        if self.power.shape != other.power.shape:
            raise InputError(
                f"merge: spectra of shape {self.power.shape} and {other.power.shape} do not fit"
            )
        if self.moments is None or other.moments is None:
            raise InputError(
                "merge: both spectra must be measured from images (one has no sums over images; "
                "files of version 0.1 had others: measure it again)"
            )
        source = [str(s.meta["source"]) for s in (self, other) if "source" in s.meta]
        meta = {**self.meta, **({"source": " + ".join(source)} if source else {})}
        meta.pop("shard", None)  # `theory.spectrum.shards` knows which shards belong together
        if skipped := sum(s.meta.get("skipped", 0) for s in (self, other)):
            meta["skipped"] = skipped
        return Spectrum.from_moments(self.moments + other.moments, meta)

    def at_resolution(self, resolution: int, operator: str = "dct") -> Spectrum:
        """Spectrum of the same images reduced to ``resolution`` pixels, from this one alone.

        For ``dct`` the low corner times ``(r/R)²``, which is exact. For the other operators the
        coefficients of the full image are taken as uncorrelated. The standard error assumes them
        independent, and the result cannot be merged.

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
            meta={"format": _FORMAT, "source": f"power law, exponent {exponent}"},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``spectrum.npz`` (complete or not at all)."""
        path = user_path(path)
        if path.suffix != ".npz":
            raise InputError(f"{path}: a spectrum's file name must end in .npz")
        arrays: dict[str, Any] = {
            "power": self.power,
            "mean": self.mean,
            "colour_basis": self.colour_basis,
            "count": np.int64(self.count),
            "standard_error": self.standard_error,
            "meta": np.array(json.dumps({"format": _FORMAT, **self.meta})),
        }
        if self.moments is not None:
            arrays |= self.moments.arrays()
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Spectrum:
        """Read and check a file written by `save`.

        Raises
        ------
        InputError
            If the file is missing, is not a spectrum, or has arrays that do not fit together.
        """
        path = user_path(path)
        try:
            arrays = read_npz(path)
            meta = parse_json(str(arrays["meta"]))
            if not isinstance(meta, dict):
                raise InputError(f"{path}: meta is no object of names and values")
            if meta.get("format") != _FORMAT:
                raise InputError(f"{path}: has format {meta.get('format')!r}, expected {_FORMAT!r}")
            for name, kind in _META.items():
                if not isinstance(meta.get(name), kind | None):
                    raise InputError(f"{path}: meta has {name} {meta[name]!r}")
            return cls(
                power=arrays["power"],
                mean=arrays["mean"],
                colour_basis=arrays["colour_basis"],
                count=int(arrays["count"]),
                standard_error=arrays["standard_error"],
                meta=meta,
                moments=Moments.from_arrays(arrays),
            )
        except InputError as error:
            message = str(error)
            raise InputError(
                message if message.startswith(str(path)) else f"{path}: {message}"
            ) from None
        except FileNotFoundError:
            raise InputError(
                f"{path}: no such file; write one with `ssd spectrum DATA -o {path}`"
            ) from None
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: is not a readable spectrum file ({reason(error)}); "
                "write one with `ssd spectrum`"
            ) from None


def check_power(spectrum: Spectrum) -> None:
    """Refuse a spectrum without power, which says nothing, with `InputError`."""
    if not spectrum.power.any():
        raise InputError(
            "spectrum: has no power, the images are all the same; give images that differ"
        )


def shell_index(size: int) -> np.ndarray:
    """``max(k1, k2)`` of each DCT frequency, (size, size): ``r`` pixels keep those below r."""
    index = np.arange(size)
    return np.maximum(index[:, None], index)


def squared_radius(spectrum: Spectrum) -> np.ndarray:
    """``k1² + k2²`` of each coefficient, (R · R · C,) float64."""
    k = np.arange(float(spectrum.resolution)) ** 2
    return np.repeat((k[:, None] + k).ravel(), spectrum.channels)


def octave_edges(resolution: int) -> list[int]:
    """Edges ``[0, 2, 4, 8, …, R]`` of the octave bands in ``max(k1, k2)``.

    Band ``i`` holds the coefficients with ``edges[i] ≤ max(k1, k2) < edges[i + 1]``, lowest octave
    first, the constant one included in the first: a halving removes exactly the last band.
    """
    edges = [0]
    while (edge := 2 ** len(edges)) < resolution:
        edges.append(edge)
    return [*edges, resolution]


def octave_power(power: np.ndarray) -> np.ndarray:
    """Sum of ``power`` (..., R, R, C) in each octave band and over colours: (..., octaves)."""
    return _shell_sums(power, octave_edges(power.shape[-2]))


def band_power(power: np.ndarray) -> np.ndarray:
    """Mean power at each frequency index ``max(k1, k2)``, colours summed: (R, R, C) to (R,)."""
    size = len(power)
    return _shell_sums(power, range(size + 1)) / (2 * np.arange(size) + 1)


def _shell_sums(power: np.ndarray, edges: Iterable[int]) -> np.ndarray:
    """Sums over colours and over ``edges[i] ≤ max(k1, k2) < edges[i + 1]``."""
    power = power.sum(axis=-1)
    within = [power[..., :edge, :edge].sum(axis=(-2, -1)) for edge in edges]
    return np.diff(np.stack(within, axis=-1), axis=-1)


def _rounding(second: np.ndarray) -> np.ndarray:
    """Largest power that rounding alone leaves, (R, R), from ``E|x_k|²`` summed over channels.

    With ε of single precision, in which images are decoded and transformed. An error of the fast
    transform is a part ε of the image's norm, on each coefficient; that of a coefficient's own size
    and mean is a part of a few ε of it (up to 4 in 3,000 sets of images that were all the same).
    """
    epsilon = float(np.finfo(np.float32).eps)
    return epsilon**2 * (64 * second + second.sum())


def _standard_error(moments: Moments, basis: np.ndarray) -> np.ndarray:
    """Standard error of the power of each component, (R, R, C).

    The covariance of a group of m images has a variance of 1/m of a single image's, so
    ``Σ m (q − q̄)(q − q̄)ᵀ / (G − 1)`` over G groups estimates the single image's.
    """
    size, channels = moments.resolution, moments.channels
    if moments.groups < 2:
        return np.zeros((size, size, channels))
    total = moments.group_first.value / moments.grouped  # (R², P)
    rows, columns = np.triu_indices(total.shape[1])
    spread = moments.group_second.value - moments.grouped * total[:, rows] * total[:, columns]
    weights = _pair_weights(basis)  # bᵀ Σ b = Σ_p weights[p, c] q_p
    pairs = weights[rows] * weights[columns] * np.where(rows == columns, 1.0, 2.0)[:, None]
    variance = (spread @ pairs).clip(min=0) / (moments.groups - 1)
    return np.sqrt(variance / moments.count).reshape(size, size, channels)


def _pair_weights(basis: np.ndarray) -> np.ndarray:
    """Weights of ``bᵀ Σ b`` over the entries ``Σ_ij``, ``i ≤ j``: (pairs, C)."""
    rows, columns = np.triu_indices(len(basis))
    return basis[rows] * basis[columns] * np.where(rows == columns, 1.0, 2.0)[:, None]
