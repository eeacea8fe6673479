"""Sums over images, exact in any order: what a spectrum is computed from.

Images are taken in chunks, and chunks in blocks of fixed size. A block's sums are computed in one
order and then added in fixed point, which is associative: however a dataset is divided into whole
blocks, over processes or machines of one kind, the totals have the same bits.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.fft import dctn
from scipy.stats import poisson

from .errors import InputError

REPLICATES = 200  # of the bootstrap over images
_HIGH, _LOW = 2.0**10, 2.0**60  # units of the two words of a fixed-point number


def block_size(resolution: int) -> int:
    """Images in a block: 1024 up to 64 pixels, fewer above, at least 32."""
    return max(32, min(1024, 2**22 // resolution**2))


def chunk_size(resolution: int) -> int:
    """Images that are transformed together; they and their squares fit into a processor's cache."""
    return max(8, min(32, 2**17 // resolution**2))


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


def measure(batches: Iterable[np.ndarray], threads: int | None = None) -> Moments:
    """Sum over all images in one pass, on several threads; the result does not depend on how many.

    Parameters
    ----------
    batches : iterable of (N, R, R, C) float arrays in [-1, 1]
    threads : int, optional
        By default all cores that the process may use.

    Raises
    ------
    InputError
        For arrays of another shape, type or range.
    """
    blocks = _Blocks()
    pool = ThreadPoolExecutor(threads or _cores())
    pending: deque[tuple[Future[_ChunkSums], bool]] = deque()
    try:
        for chunk, ends_block in _chunks(batches):
            pending.append((pool.submit(_chunk_sums, *chunk), ends_block))
            while len(pending) > 4 * (threads or _cores()):
                blocks.add(*_result(pending))
        while pending:
            blocks.add(*_result(pending))
    finally:
        pool.shutdown(cancel_futures=True)
    return blocks.finish()


def _result(pending: deque[tuple[Future[_ChunkSums], bool]]) -> tuple[_ChunkSums, bool]:
    future, ends_block = pending.popleft()
    return future.result(), ends_block


def _chunks(
    batches: Iterable[np.ndarray],
) -> Iterator[tuple[tuple[list[np.ndarray], int, bool], bool]]:
    """Regroup batches: (parts of a chunk, number of the batch, first of its block), ends block."""
    shape: tuple[int, ...] | None = None
    parts: list[np.ndarray] = []
    held = in_block = 0
    number = 0
    for number, batch in enumerate(batches):
        shape = _check_batch(batch, number, shape)
        size, block = chunk_size(shape[0]), block_size(shape[0])
        start = 0
        while start < len(batch):
            part = batch[start : start + size - held]
            start += len(part)
            parts.append(part)
            held += len(part)
            if held == size:
                ends = in_block + held == block
                yield (parts, number, in_block == 0), ends
                in_block = 0 if ends else in_block + held
                parts, held = [], 0
    if parts:
        yield (parts, number, in_block == 0), False  # the end of all ends the block


@dataclass
class _ChunkSums:
    shape: tuple[int, int]
    count: int
    mean: np.ndarray  # (K,)
    scatter: np.ndarray  # (C, K): sums of products about the mean
    shells: np.ndarray  # (n, bins): power about the mean, unbiased
    groups: np.ndarray  # (groups, C, K): covariances
    group_sizes: np.ndarray


def _chunk_sums(parts: list[np.ndarray], number: int, first: bool) -> _ChunkSums:
    count = sum(len(part) for part in parts)
    size, channels = parts[0].shape[1], parts[0].shape[3]
    space, indicator = _workspace(count, size, channels, parts[0].dtype)
    np.concatenate(parts, out=space[0])
    if not (space[0].min() >= -1.0001 and space[0].max() <= 1.0001):
        raise InputError(
            f"batch {number}: values outside [-1, 1] or not finite; scale the images first"
        )
    coefficients = dctn(space[0], axes=(1, 2), norm="ortho", overwrite_x=True)
    x, square = coefficients.reshape(count, -1), space[1].reshape(count, -1)
    mean = x.sum(axis=0) / count
    x -= mean  # products of centred values lose nothing to cancellation, in float32 too
    unbiased = count / max(count - 1, 1)

    few = _group_size(count) if first else count
    whole = count - count % few
    groups = np.zeros((whole // few if count > 1 else 0, channels, x.shape[1]))
    scatter = np.zeros((channels, x.shape[1]))
    for shift in range(channels):
        width = x.shape[1] - shift
        if shift == 0:
            products = np.multiply(x, x, out=square)
            scatter[0] = products.sum(axis=0)
        elif few < count:
            products = np.multiply(x[:, :width], x[:, shift:])
            scatter[shift, :width] = products.sum(axis=0)
        else:
            scatter[shift, :width] = np.einsum("nk,nk->k", x[:, :width], x[:, shift:])
        if few < count and len(groups):
            part = products[:whole, :width].reshape(-1, few, width)
            groups[:, shift, :width] = part.mean(axis=1) * unbiased
    if few == count and len(groups):
        groups[0] = scatter * (unbiased / count)
    # A product of matrices per row of frequencies: small enough to stay on this thread.
    rows = square.reshape(count, size, size * channels).swapaxes(0, 1)
    shells = (rows @ indicator).sum(axis=0, dtype=np.float64) * unbiased
    return _ChunkSums(
        (size, channels),
        count,
        mean.astype(np.float64),
        scatter,
        shells,
        groups,
        np.full(len(groups), few, np.int64),
    )


def _group_size(count: int) -> int:
    """Images in a group of the first chunk: enough groups for few images, few groups for many."""
    return max(1, min(4, count // 8))


_local = threading.local()


def _workspace(
    count: int, size: int, channels: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Buffers of this thread, kept from chunk to chunk, and the indicator of the radial bins."""
    key = (count, size, channels, dtype)
    if getattr(_local, "key", None) != key:
        bins = np.repeat(radial_bins(size)[:, :, None], channels, axis=2).reshape(size, -1)
        _local.key = key
        _local.space = np.empty((2, count, size, size, channels), dtype)
        _local.indicator = np.eye(radial_bins(size).max() + 1, dtype=dtype)[bins]  # (R, R C, bins)
    return _local.space, _local.indicator


class _Blocks:
    """Adds chunks in their order to a block, and blocks exactly to the total."""

    def __init__(self) -> None:
        self.total: Moments | None = None
        self.chunks: list[_ChunkSums] = []

    def add(self, chunk: _ChunkSums, ends_block: bool) -> None:
        """Take the next chunk."""
        self.chunks.append(chunk)
        if ends_block:
            self._end_block()

    def _end_block(self) -> None:
        block = _block_moments(self.chunks)
        self.total = block if self.total is None else self.total + block
        self.chunks = []

    def finish(self) -> Moments:
        """Total of all images."""
        if self.chunks:
            self._end_block()
        if self.total is None:
            raise InputError("spectrum: there are no images; at least two are needed")
        return self.total


def _block_moments(chunks: list[_ChunkSums]) -> Moments:
    size, channels = chunks[0].shape
    length = size * size * channels
    sizes = np.array([chunk.count for chunk in chunks], np.float64)
    means = np.stack([chunk.mean for chunk in chunks])
    first = np.einsum("g,gk->k", sizes, means)
    second = np.sum([chunk.scatter for chunk in chunks], axis=0)
    for shift in range(channels):
        width = length - shift
        shifted = means[:, :width], means[:, shift:]
        second[shift, :width] += np.einsum("g,gk,gk->k", sizes, *shifted)
    group_sizes = np.concatenate([chunk.group_sizes for chunk in chunks])
    groups = np.concatenate([chunk.groups for chunk in chunks])  # (G, C, K)
    rows, columns = np.triu_indices(channels)
    pairs = [
        np.ascontiguousarray(groups[:, column - row, row::channels])
        for row, column in zip(rows, columns, strict=True)
    ]
    group_first = np.stack([np.einsum("g,gk->k", group_sizes, q) for q in pairs], axis=1)
    weighted = [group_sizes[:, None] * q for q in pairs]
    group_second = np.stack(
        [
            np.einsum("gk,gk->k", weighted[a], pairs[b])
            for a, b in zip(*np.triu_indices(len(pairs)), strict=True)
        ],
        axis=1,
    )
    shells = np.concatenate([chunk.shells for chunk in chunks])
    weights = _bootstrap_weights(shells)
    result = Moments(
        size,
        channels,
        count=len(shells),
        first=ExactSum.zeros(first.shape),
        second=ExactSum.zeros(second.shape),
        groups=len(groups),
        grouped=int(group_sizes.sum()),
        group_first=ExactSum.zeros(group_first.shape),
        group_second=ExactSum.zeros(group_second.shape),
        shells=ExactSum.zeros((1 + REPLICATES, shells.shape[1])),
        weights=weights.sum(axis=1),
    )
    result.first.add(first)
    result.second.add(second)
    result.group_first.add(group_first)
    result.group_second.add(group_second)
    # By chunks: a large product would wake the BLAS's own threads, which then spin on these cores.
    parts = zip(np.split(weights, np.cumsum(sizes[:-1]).astype(int), axis=1), chunks, strict=True)
    result.shells.add(np.sum([part.astype(np.float64) @ c.shells for part, c in parts], axis=0))
    return result


def _bootstrap_weights(shells: np.ndarray) -> np.ndarray:
    """Weights of a block's images in each replicate, Poisson(1): (1 + B, n) int64, row 0 ones.

    Drawn from the block's own content, so that one block has the same weights wherever it is
    measured, and other images other weights.
    """
    digest = hashlib.sha256(np.round(shells, 6).tobytes()).digest()
    generator = np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "little")))
    draws = generator.integers(0, 2**16, (REPLICATES, len(shells)), dtype=np.uint16)
    return np.concatenate([np.ones((1, len(shells)), np.int64), _poisson_table()[draws]])


@lru_cache(maxsize=1)
def _poisson_table() -> np.ndarray:
    """Poisson(1) variate of each of 2^16 equally likely values."""
    return poisson.ppf((np.arange(2**16) + 0.5) / 2**16, 1).astype(np.int64)


def _check_batch(batch: np.ndarray, number: int, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    where = f"batch {number}"
    if not isinstance(batch, np.ndarray) or batch.ndim != 4 or batch.shape[1] != batch.shape[2]:
        raise InputError(f"{where}: needs shape (N, R, R, C), got {np.shape(batch)}")
    if 0 in batch.shape[1:]:
        raise InputError(f"{where}: has empty images, shape {batch.shape}")
    if not np.issubdtype(batch.dtype, np.floating):
        raise InputError(f"{where}: needs floats in [-1, 1], got {batch.dtype}; use x / 127.5 - 1")
    if batch.dtype not in (np.float32, np.float64):
        raise InputError(f"{where}: needs float32 or float64, got {batch.dtype}; convert it")
    if shape is not None and batch.shape[1] != shape[0]:
        raise InputError(
            f"{where}: images of {batch.shape[1]} pixels after images of {shape[0]}; "
            "resize them to one size"
        )
    if shape is not None and batch.shape[3] != shape[2]:
        raise InputError(f"{where}: has another number of channels than before")
    return batch.shape[1:]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # the cores that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
