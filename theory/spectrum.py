"""Second-order statistics of an image dataset: power per DCT frequency and colour component.

The basis is the orthonormal type-2 DCT in space, which has no wrap-around leakage, and the
eigenvectors of the colour covariance, so white noise stays white in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import dctn, idctn

from .errors import InputError
from .files import atomic_path

_FORMAT = "scale-space-spectrum/1"


@dataclass(frozen=True)
class Spectrum:
    """Power spectrum of a dataset of square images.

    Parameters
    ----------
    power : (R, R, C) float64
        Variance of the orthonormal DCT-II coefficient ``(k1, k2)`` of colour component ``c``, mean
        image removed, for images scaled to [-1, 1]. Components are sorted by falling power.
    mean : (R, R, C) float64
        Mean image, in the images' own channels.
    colour_basis : (C, C) float64
        Orthonormal; column ``c`` is colour component ``c`` in the images' own channels.
    count : int
        Number of images; 0 for a spectrum that was not measured.
    standard_error : (R, R, C) float64
        Standard error of ``power``, from the fourth moments of the measured coefficients.
    meta : dict
        What is known of the source (JSON values only).
    moments : (R, R, Q, Q) float64, optional
        Sums over images of the products of ``[1, x_i, x_i x_j]`` (the coefficients of the C
        channels up to second order), which make spectra mergeable. None where not measured.
    """

    power: np.ndarray
    mean: np.ndarray
    colour_basis: np.ndarray
    count: int
    standard_error: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)
    moments: np.ndarray | None = field(default=None, repr=False)

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
        cls, batches: Iterable[np.ndarray], meta: dict[str, Any] | None = None
    ) -> Spectrum:
        """Measure the spectrum in one pass, holding one batch in memory at a time.

        Parameters
        ----------
        batches : iterable of (N, R, R, C) float arrays in [-1, 1]
            A single such array is taken as one batch.
        meta : dict, optional
            Recorded with the spectrum.

        Raises
        ------
        InputError
            For arrays of another shape, type or range, or fewer than two images in all.
        """
        if isinstance(batches, np.ndarray):
            batches = [batches]
        moments: np.ndarray | None = None
        for number, batch in enumerate(batches):
            _check_batch(batch, number, None if moments is None else moments.shape[0])
            for part in _parts(batch):
                sums = _moment_sums(part)
                if moments is not None and sums.shape != moments.shape:
                    raise InputError(f"batch {number}: has another number of channels than before")
                moments = sums if moments is None else np.add(moments, sums, out=moments)
        if moments is None:
            raise InputError("spectrum: there are no images; at least two are needed")
        return cls._from_moments(moments, meta or {})

    @classmethod
    def _from_moments(cls, moments: np.ndarray, meta: dict[str, Any]) -> Spectrum:
        count = round(float(moments[0, 0, 0, 0]))
        if count < 2:
            raise InputError(f"spectrum: needs at least two images, got {count}")
        channels = _channels(moments.shape[-1])
        means = moments / count  # E[z zᵀ], z = [1, x_i, x_i x_j]
        first = means[..., 0, 1 : channels + 1]  # (R, R, C)
        second = means[..., 1 : channels + 1, 1 : channels + 1]  # (R, R, C, C)
        covariance = (second - first[..., :, None] * first[..., None, :]) * (count / (count - 1))

        eigenvalues, basis = np.linalg.eigh(covariance.sum(axis=(0, 1)))
        basis = basis[:, np.argsort(-eigenvalues, kind="stable")]
        basis = basis * np.where(basis.sum(axis=0) < 0, -1.0, 1.0)  # the sign is arbitrary; fix it
        power = np.einsum("ic,klij,jc->klc", basis, covariance, basis).clip(min=0)

        # Central fourth moment of y = bᵀx from raw ones: E y⁴ − 4 E y³ m + 6 E y² m² − 3 m⁴.
        weights = _pair_weights(basis)  # y² = Σ_p weights[p, c] x_i x_j
        quadratic = means[..., channels + 1 :, channels + 1 :]
        cubic = means[..., 1 : channels + 1, channels + 1 :]
        m1 = first @ basis
        m2 = np.einsum("ic,klij,jc->klc", basis, second, basis)
        m3 = np.einsum("ic,klip,pc->klc", basis, cubic, weights)
        m4 = np.einsum("pc,klpq,qc->klc", weights, quadratic, weights)
        fourth = m4 - 4 * m3 * m1 + 6 * m2 * m1**2 - 3 * m1**4
        # Var of the unbiased sample variance: (μ4 − (n−3)/(n−1) σ⁴) / n
        variance = (fourth - (count - 3) / (count - 1) * power**2) / count
        return cls(
            power=power,
            mean=idctn(first, axes=(0, 1), norm="ortho"),
            colour_basis=basis,
            count=count,
            standard_error=np.sqrt(variance.clip(min=0)),
            meta={"format": _FORMAT, "value_range": [-1, 1], "dct": "II, orthonormal", **meta},
            moments=moments,
        )

    def merge(self, other: Spectrum) -> Spectrum:
        """Spectrum of both datasets together, as if measured in one pass.

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
                "merge: both spectra must be measured from images (one has no moments)"
            )
        source = [s.meta["source"] for s in (self, other) if "source" in s.meta]
        meta = {**self.meta, **({"source": " + ".join(source)} if source else {})}
        return Spectrum._from_moments(self.moments + other.moments, meta)

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
        path = Path(path)
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
            rows, columns = np.triu_indices(self.moments.shape[-1])
            arrays["moments"] = self.moments[..., rows, columns]  # symmetric: half is enough
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
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = json.loads(str(arrays["meta"]))
            if meta.get("format") != _FORMAT:
                raise InputError(f"{path}: has format {meta.get('format')!r}, expected {_FORMAT!r}")
            moments = arrays.get("moments")
            return cls(
                power=arrays["power"],
                mean=arrays["mean"],
                colour_basis=arrays["colour_basis"],
                count=int(arrays["count"]),
                standard_error=arrays["standard_error"],
                meta=meta,
                moments=None if moments is None else _unpack_symmetric(moments),
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
                f"{path}: is not a readable spectrum file ({_one_line(error)}); "
                "write one with `ssd spectrum`"
            ) from None


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


def _check_batch(batch: np.ndarray, number: int, resolution: int | None) -> None:
    where = f"batch {number}"
    if not isinstance(batch, np.ndarray) or batch.ndim != 4 or batch.shape[1] != batch.shape[2]:
        raise InputError(f"{where}: needs shape (N, R, R, C), got {np.shape(batch)}")
    if not np.issubdtype(batch.dtype, np.floating):
        raise InputError(f"{where}: needs floats in [-1, 1], got {batch.dtype}; use x / 127.5 - 1")
    if resolution is not None and batch.shape[1] != resolution:
        raise InputError(
            f"{where}: images of {batch.shape[1]} pixels after images of {resolution}; "
            "resize them to one size"
        )
    if batch.size and not (batch.min() >= -1.0001 and batch.max() <= 1.0001):
        raise InputError(f"{where}: values outside [-1, 1] or not finite; scale the images first")


def _parts(batch: np.ndarray) -> Iterator[np.ndarray]:
    """Split a batch so that its working memory stays near 100 MB."""
    channels = batch.shape[-1]
    per_image = 8 * batch.shape[1] ** 2 * (2 + 3 * channels + channels**2)
    size = max(1, 100_000_000 // per_image)
    return (batch[start : start + size] for start in range(0, len(batch), size))


def _moment_sums(images: np.ndarray) -> np.ndarray:
    """Σ_n z zᵀ per frequency, z = [1, x_i, x_i x_j (i ≤ j)]: (N, R, R, C) -> (R, R, Q, Q)."""
    coefficients = dctn(np.asarray(images, np.float64), axes=(1, 2), norm="ortho")
    x = np.ascontiguousarray(coefficients.transpose(1, 2, 3, 0))  # (R, R, C, N)
    channels = x.shape[2]
    z = np.empty((*x.shape[:2], _features(channels), x.shape[3]))
    z[:, :, 0] = 1
    z[:, :, 1 : channels + 1] = x
    rows, columns = np.triu_indices(channels)
    np.multiply(x[:, :, rows], x[:, :, columns], out=z[:, :, channels + 1 :])
    return z @ z.swapaxes(-1, -2)


def _features(channels: int) -> int:
    return 1 + channels + channels * (channels + 1) // 2


def _channels(features: int) -> int:
    return next(c for c in range(1, features) if _features(c) == features)


def _pair_weights(basis: np.ndarray) -> np.ndarray:
    """Weights of ``(bᵀx)²`` over the products ``x_i x_j``, ``i ≤ j``: (pairs, C)."""
    rows, columns = np.triu_indices(len(basis))
    return basis[rows] * basis[columns] * np.where(rows == columns, 1.0, 2.0)[:, None]


def _unpack_symmetric(packed: np.ndarray) -> np.ndarray:
    size = int((np.sqrt(8 * packed.shape[-1] + 1) - 1) / 2)
    rows, columns = np.triu_indices(size)
    full = np.empty((*packed.shape[:-1], size, size))
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
