"""One pass over images: sums of their DCT coefficients, on several threads, in bounded memory.

Images are taken in chunks, and chunks in blocks of fixed size. A block's sums are computed in one
order and then added exactly (`theory.spectrum.moments`): however a dataset is divided into whole
blocks, over processes or machines of one kind, the totals have the same bits.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import dctn
from scipy.stats import poisson

from ..support.cores import available_cores
from ..support.errors import InputError
from .moments import REPLICATES, ExactSum, Moments, radial_bins


def block_size(resolution: int) -> int:
    """Images in a block: 1024 up to 64 pixels, fewer above, at least 32."""
    return max(32, min(1024, 2**22 // resolution**2))


def chunk_size(resolution: int) -> int:
    """Images that are transformed together; they and their squares fit into a processor's cache."""
    return max(8, min(32, 2**17 // resolution**2))


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
    pool = ThreadPoolExecutor(threads or available_cores())
    pending: deque[tuple[Future[_ChunkSums], bool]] = deque()
    try:
        for chunk, ends_block in _chunks(batches):
            pending.append((pool.submit(_chunk_sums, *chunk), ends_block))
            while len(pending) > 4 * (threads or available_cores()):
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
