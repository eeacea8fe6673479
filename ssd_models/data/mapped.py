"""Images at random from arrays that stay on disk, for training without decoding or loading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Shards:
    """Arrays of images that follow one another, opened when they are needed."""

    counts: tuple[int, ...]  # images in each
    size: tuple[int, int]  # height and width of every image
    open: Callable[[int], np.ndarray]  # the i-th array, uint8 (n, H, W, C); from any thread
    channels: int = 3


class MappedImages:
    """Chosen images of `Shards` as an array: uint8 ``(N, H, W, C)``.

    Indexing copies: a number gives one image, a slice or an array of numbers gives
    ``(n, H, W, C)``. Each shard is read once, in its order on disk. Any thread may index.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shards: Shards, rows: Sequence[int]):
        self._shards = shards
        self._rows = np.asarray(rows, np.int64)  # (N,) places among the images of all shards
        self._ends = np.cumsum(shards.counts)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(N, H, W, C)``."""
        return (len(self._rows), *self._shards.size, self._shards.channels)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        rows = self._rows[key]
        return self._gather(rows) if rows.ndim else self._gather(rows[None])[0]

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        shard = np.searchsorted(self._ends, rows, side="right")
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        changes = np.flatnonzero(np.diff(shard)) + 1
        for start, stop in pairwise([0, *changes.tolist(), len(rows)] if len(rows) else []):
            i = int(shard[start])
            first = self._ends[i] - self._shards.counts[i]
            out[order[start:stop]] = self._shards.open(i)[rows[start:stop] - first]
        return out
