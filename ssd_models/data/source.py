"""`ImageSource`: a dataset as batches or arrays of square images, with their names and classes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from theory.support.cores import available_cores
from theory.support.errors import InputError
from theory.support.progress import progress_bar

from .arrays import MappedImages
from .class_labels import Classes
from .decoding import Read, fit
from .images import Images
from .unusable import ENOUGH, NoneUsable, Skipped, Unusable, refusal

_BATCHES_IN_FLIGHT = 3
_IMAGES_PER_TASK = 16  # enough to outweigh the cost of a task


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A dataset of square images, decoded anew on every pass; made by `open_images`."""

    name: str  # as it was given to open_images
    resolution: int  # R, pixels to a side
    channels: int = 3  # C; other than 3 in arrays only
    _images: Images = field(repr=False, kw_only=True)
    _indices: Sequence[int] = field(repr=False, kw_only=True)  # the images that are used, in order
    _same_size: bool = field(default=False, repr=False, kw_only=True)  # images must be (R, R)
    _classes: Classes | None = field(default=None, repr=False, kw_only=True)  # replace the images'

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.resolution, self.resolution, self.channels)

    def names(self) -> list[str]:
        """Return the name of each image in order: a relative path, or such as ``image 17``."""
        return [self._images[index] for index in self._indices]

    def classes(self) -> Classes | None:
        """Return the class of each image; None if the data have no classes.

        Raises
        ------
        InputError
            If the data's labels are damaged.
        """
        found = self._images.classes() if self._classes is None else self._classes
        return None if found is None else found[self._indices]

    def first_size(self) -> tuple[int, int]:
        """Return width and height of the first image before it is cropped and reduced.

        Raises
        ------
        Unusable
            If it cannot be used.
        """
        return self._images.size(self._indices[0])

    def batches(
        self,
        batch_size: int = 256,
        *,
        progress: bool = False,
        skipped: list[Skipped] | None = None,
        threads: int | None = None,
        first: int = 0,
    ) -> Iterator[np.ndarray]:
        """Yield all images in their fixed order as uint8 ``(n, R, R, C)``, n ≤ ``batch_size``.

        Threads decode ahead; three batches are in memory at a time, the yielded one included.

        | ``skipped`` | on unusable images |
        | --- | --- |
        | None | yields nothing more, counts the others up to a hundred, raises one `InputError` |
        | a list | leaves them out and appends them to the list |

        Parameters
        ----------
        batch_size
            Images in a batch, 1 or more. Batches are formed before images are left out, so any
            batch may be smaller; empty ones are not yielded.
        progress
            Show a progress bar on standard error.
        skipped
            List of images that were left out.
        threads
            Number of threads that decode; by default one for each core.
        first
            Position at which to begin.

        Raises
        ------
        InputError
            If images are unreadable, damaged, smaller than the resolution, or (if the source was
            opened without a resolution) not of the size of the first image. With ``skipped``
            only if all images are unusable (`NoneUsable`).
        """
        if batch_size < 1:
            raise InputError(f"batch size {batch_size}: give 1 or more")
        pool = ThreadPoolExecutor(threads or available_cores())
        bar = progress_bar(
            total=len(self), initial=first, desc=self.name, unit="img", shown=progress
        )
        try:
            with self._images.open() as read, bar:
                yield from self._decode(
                    read, pool, range(first, len(self), batch_size), bar, skipped
                )
        finally:
            pool.shutdown(cancel_futures=True)

    def load(self, *, progress: bool = False, skipped: list[Skipped] | None = None) -> np.ndarray:
        """Return all images as one uint8 array ``(N, R, R, C)`` in memory.

        Parameters and exceptions are those of `batches`. To leave the same images out of names and
        classes, give ``skipped`` to `without`.
        """
        images = np.empty((len(self), *self._shape), np.uint8)
        start = 0
        for batch in self.batches(progress=progress, skipped=skipped):
            images[start : start + len(batch)] = batch
            start += len(batch)
        return images[:start]

    def random_access(
        self, *, progress: bool = False, skipped: list[Skipped] | None = None
    ) -> MappedImages | np.ndarray:
        """Return all images as a uint8 array ``(N, R, R, C)`` for fast random access.

        Images that are stored as an array of this resolution stay on disk (`MappedImages`); others
        are loaded. Parameters are those of `batches`.

        Raises
        ------
        InputError
            As `batches`; and if loading would take more than half of the available memory.
        """
        array = self._images.array
        if array is not None and array.shape[1:3] == (self.resolution, self.resolution):
            return MappedImages(array, self._indices)
        from .memory import available_memory, local_processes

        need, available = len(self) * math.prod(self._shape), available_memory()
        processes = local_processes()
        each = f" for each of {processes} processes" if processes > 1 else ""
        if need > available / 2:
            raise InputError(
                f"{self.name}: {len(self)} images of {self.resolution} px take {need / 1e9:.3g} GB "
                f"of memory, more than half of the {available / 1e9:.3g} GB there are{each}; run "
                f"`ssd prepare {self.name} -o DIR --resolution {self.resolution}` first and give "
                "DIR, which stays on disk"
            )
        return self.load(progress=progress, skipped=skipped)

    def take(self, positions: Sequence[int]) -> ImageSource:
        """Return the source of some of the images, by their positions in this one."""
        return replace(self, _indices=[self._indices[i] for i in positions])

    def without(self, skipped: Sequence[Skipped]) -> ImageSource:
        """Return the source of the images that were not skipped."""
        left_out = {image.index for image in skipped}
        return self.take([i for i in range(len(self)) if i not in left_out])

    def shard(self, i: int, n: int) -> ImageSource:
        """Part i of n, 1 ≤ i ≤ n, in whole blocks of images (`theory.spectrum.shards`).

        Raises
        ------
        InputError
            If there are fewer blocks than parts.
        """
        return self.take(self.shard_positions(i, n))

    def shard_positions(self, i: int, n: int) -> list[int]:
        """Positions of the images of a `shard`."""
        from theory.spectrum.shards import shard_indices
        from theory.spectrum.streaming import (
            block_size,  # imports scipy, which decoding does without
        )

        ranges = shard_indices(len(self), block_size(self.resolution), (i, n))
        return [position for part in ranges for position in part]

    def _decode(
        self,
        read: Read,
        pool: ThreadPoolExecutor,
        places_of_batches: range,
        bar: tqdm,
        skipped: list[Skipped] | None,
    ) -> Iterator[np.ndarray]:
        starts, size = deque(places_of_batches), places_of_batches.step
        pending: deque[tuple[int, np.ndarray, list[Future[list[Skipped]]]]] = deque()
        unusable: list[Skipped] = []
        examined = places_of_batches.start
        while (starts or pending) and (skipped is not None or len(unusable) < ENOUGH):
            while starts and len(pending) < _BATCHES_IN_FLIGHT:
                start = starts.popleft()
                places = range(start, min(start + size, len(self)))
                batch = np.empty((len(places), *self._shape), np.uint8)
                tasks = [slice(i, i + _IMAGES_PER_TASK) for i in range(0, size, _IMAGES_PER_TASK)]
                futures = [pool.submit(self._fill, batch[t], read, places[t]) for t in tasks]
                pending.append((start, batch, futures))
            start, batch, futures = pending.popleft()
            found = [image for future in futures for image in future.result()]
            unusable += found
            examined += len(batch)
            bar.update(len(batch))
            if skipped is not None:
                skipped += found
                batch = np.delete(batch, [i.index - start for i in found], 0) if found else batch
            if len(batch) and (skipped is not None or not unusable):
                yield batch
        if unusable and skipped is None:
            raise InputError(refusal(self.name, unusable, examined, len(self), self.resolution))
        if unusable and len(unusable) == len(self):
            raise NoneUsable(refusal(self.name, unusable, examined, len(self), self.resolution))

    def _fill(self, out: np.ndarray, read: Read, places: Sequence[int]) -> list[Skipped]:
        unusable = []
        for row, place in zip(out, places, strict=True):
            index = self._indices[place]
            try:
                row[:] = fit(read(index), self.resolution, same_size=self._same_size)
            except Unusable as error:
                unusable.append(Skipped(place, self._images[index], str(error), error.side))
        return unusable
