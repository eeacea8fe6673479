"""One pass over images: moments of their DCT coefficients, on several threads, in bounded memory.

| unit  | images               | purpose                                               |
| ----- | -------------------- | ----------------------------------------------------- |
| block | `block_size`: 8–1024 | work of one thread at a time; shards are whole blocks |
| chunk | `chunk_size`: 8–32   | is transformed at once, in a processor's cache        |
| group | 1–8, within a chunk  | one observation of the power, for error bars          |
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce

import numpy as np
from scipy.fft import dctn

from ..support.cores import available_cores
from ..support.errors import InputError
from .bands import radial_power
from .moments import Moments, WeightedMoments, products

_Block = list[tuple[int, np.ndarray]]  # parts of batches, each with the number of its batch


def block_size(resolution: int) -> int:
    """Images in a block: up to 1024 and up to a mebipixel, at least 8."""
    return max(8, min(1024, 2**20 // resolution**2))


def chunk_size(resolution: int) -> int:
    """Images in a chunk: up to 32 and up to an eighth of a mebipixel, at least 8."""
    return max(8, min(32, 2**17 // resolution**2))


def measure(
    batches: Iterable[np.ndarray], threads: int | None = None, as_blocks: bool = False
) -> Moments:
    """Moments of all images in one pass; the result does not depend on the number of threads.

    Parameters
    ----------
    batches : iterable of (N, R, R, C) float32 or float64 arrays in [-1, 1]
    threads : int, optional
        By default all cores that the process may use.
    as_blocks : bool
        Take each batch as a block, as it is where images were left out of blocks.

    Raises
    ------
    InputError
        If an array has another shape, type or range, there is no image, or ``threads`` is below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads {threads}: must be at least 1")
    results = _in_order(_blocks(batches, as_blocks), threads or available_cores())
    first = next(results, None)
    if first is None:
        raise InputError("spectrum: there are no images; at least two are needed")
    return reduce(operator.add, results, first)


def _in_order(blocks: Iterable[_Block], threads: int) -> Iterator[Moments]:
    """Yield the moments of each block in turn; holds one block more than there are threads."""
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[Moments]] = deque()
    try:
        for block in blocks:
            pending.append(pool.submit(_block_moments, block))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _blocks(batches: Iterable[np.ndarray], as_blocks: bool) -> Iterator[_Block]:
    """Divide the images of all batches into blocks of `block_size`, or by batch."""
    shape: tuple[int, ...] | None = None
    block: _Block = []
    held = 0
    for number, batch in enumerate(batches):
        shape = _check_batch(batch, number, shape)
        size = len(batch) if as_blocks else block_size(shape[0])
        start = 0
        while start < len(batch):
            part = batch[start : start + size - held]
            block.append((number, part))
            start += len(part)
            held += len(part)
            if held == size:
                yield block
                block, held = [], 0
    if block:
        yield block


def _block_moments(block: _Block) -> Moments:
    """Moments of a block's images."""
    images = block[0][1] if len(block) == 1 else np.concatenate([part for _, part in block])
    step = chunk_size(images.shape[1])
    chunks = []
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        if not _in_range(chunk):
            number = next(number for number, part in block if not _in_range(part))
            raise InputError(
                f"batch {number}: values outside [-1, 1] or not finite; scale the images first"
            )
        chunks.append(_chunk_moments(chunk))
    covariances = np.concatenate([found for _, found, _ in chunks])
    weights = np.concatenate([sizes for _, _, sizes in chunks])
    rows, columns = np.triu_indices(images.shape[3])
    power = covariances[:, rows == columns].sum(axis=1)
    return Moments(
        images=reduce(operator.add, (found for found, _, _ in chunks)),
        groups=int((weights > 0).sum()),
        covariances=WeightedMoments.of(covariances, weights),
        radial=WeightedMoments.of(np.stack([radial_power(one) for one in power]), weights),
    )


def _in_range(images: np.ndarray) -> bool:
    return bool(images.min() >= -1.0001 and images.max() <= 1.0001)


def _chunk_moments(images: np.ndarray) -> tuple[WeightedMoments, np.ndarray, np.ndarray]:
    """Moments of a chunk's images (N, R, R, C); covariance (G, P, R, R) and weight of its groups.

    Sums over a chunk have the images' precision, those over chunks double precision. Products of
    deviations from the chunk's mean lose nothing to cancellation, in single precision too.
    """
    count = len(images)
    planes = np.moveaxis(images, 3, 1).copy()  # (N, C, R, R)
    x = dctn(planes, axes=(2, 3), norm="ortho", overwrite_x=True)
    mean = x.mean(axis=0)
    x -= mean
    size = max(s for s in range(1, max(count // 4, 1) + 1) if count % s == 0)
    sums = products(x.reshape(-1, size, *x.shape[1:]))
    moments = WeightedMoments(
        float(count), mean.astype(np.float64), sums.sum(axis=0, dtype=np.float64)
    )
    sums *= count / max(count - 1, 1) / size
    return moments, sums, np.full(len(sums), size if count > 1 else 0)


def _check_batch(batch: np.ndarray, number: int, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Shape (R, R, C) of a batch's images.

    Raises
    ------
    InputError
        Unless it is a float array (N, R, R, C), of images like those before (``shape``).
    """
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
