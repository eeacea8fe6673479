"""Datasets of images: the forms they come in, passes over them, and grids of images to look at.

What counts as an image and how each becomes ``(R, R, 3)`` is the rule of `image_files`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from theory.cores import available_cores
from theory.errors import InputError

from .class_labels import Classes
from .image_files import ArrayImages, FolderImages, Read, Unusable, ZipImages, fit, to_rgb
from .photos import DEFAULT_COUNT, PhotoCrops, uniform

DATA_FORMS = (
    "`photos` (built in), a folder of images, a .zip of images, "
    "or an .npz or .npy of uint8 (N, R, R, 3)"
)
_LISTED = 5  # unusable images that a message names
_ENOUGH = 100  # unusable images after which a pass is given up
_BATCHES_IN_FLIGHT = 3
_IMAGES_PER_TASK = 16  # enough to outweigh what a task itself costs


class _Images(Protocol):
    """Pictures by index: their names, and a context that reads them from any thread."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> str: ...
    def open(self) -> AbstractContextManager[Read]: ...
    def classes(self) -> Classes | None: ...


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A dataset of square RGB images, decoded anew on every pass; made by `open_images`."""

    name: str  # as it was given to open_images
    resolution: int  # R, pixels to a side
    channels: int = field(default=3, init=False)
    _images: _Images = field(repr=False, kw_only=True)
    _indices: Sequence[int] = field(repr=False, kw_only=True)  # which of them, in order
    _same_size: bool = field(default=False, repr=False, kw_only=True)  # R is the images' own

    def __len__(self) -> int:
        return len(self._indices)

    def batches(self, batch_size: int = 256, *, progress: bool = False) -> Iterator[np.ndarray]:
        """Yield all images in their fixed order as uint8 ``(n, R, R, 3)``, n ≤ ``batch_size``.

        Threads decode ahead, on all cores; three batches exist at a time, the yielded one included.

        After the first unusable image nothing more is yielded, and the pass goes on only to name
        the others in one message; it is given up when there are a hundred.

        Parameters
        ----------
        batch_size
            Images in a batch, 1 or more; the last batch may be smaller.
        progress
            Show a progress bar on standard error.

        Raises
        ------
        InputError
            If images are unreadable, damaged, smaller than the resolution, or (where the source
            was opened without a resolution) not of the first one's size.
        """
        if batch_size < 1:
            raise InputError(f"batch size {batch_size}: give 1 or more")
        pool = ThreadPoolExecutor(available_cores())
        bar = tqdm(total=len(self), desc=self.name, unit="img", disable=not progress)
        try:
            with self._images.open() as read, bar:
                yield from self._decode(read, pool, batch_size, bar)
        finally:
            pool.shutdown(cancel_futures=True)

    def classes(self) -> Classes | None:
        """Return the class of each image (`class_labels`); None if the data have no classes.

        Raises
        ------
        InputError
            If the data's labels are damaged.
        """
        found = self._images.classes()
        return None if found is None else found[self._indices]

    def shard(self, i: int, n: int) -> ImageSource:
        """Part i of n, 1 ≤ i ≤ n, in whole blocks of images (`theory.shards`).

        Raises
        ------
        InputError
            If there are fewer blocks than parts.
        """
        from theory.shards import shard_indices
        from theory.streaming import block_size  # imports scipy, which decoding does without

        ranges = shard_indices(len(self), block_size(self.resolution), (i, n))
        return replace(self, _indices=[self._indices[j] for part in ranges for j in part])

    def load(self, *, progress: bool = False) -> np.ndarray:
        """Return all images as one uint8 array ``(N, R, R, 3)`` in memory.

        Raises
        ------
        InputError
            As `batches` does.
        """
        images = np.empty((len(self), self.resolution, self.resolution, 3), np.uint8)
        start = 0
        for batch in self.batches(progress=progress):
            images[start : start + len(batch)] = batch
            start += len(batch)
        return images

    def _decode(
        self, read: Read, pool: ThreadPoolExecutor, size: int, bar: tqdm
    ) -> Iterator[np.ndarray]:
        starts = deque(range(0, len(self), size))
        pending: deque[tuple[np.ndarray, list[Future]]] = deque()
        unusable: list[tuple[str, Unusable]] = []
        examined = 0
        while (starts or pending) and len(unusable) < _ENOUGH:
            while starts and len(pending) < _BATCHES_IN_FLIGHT:
                indices = self._indices[(start := starts.popleft()) : start + size]
                batch = np.empty((len(indices), self.resolution, self.resolution, 3), np.uint8)
                tasks = [slice(i, i + _IMAGES_PER_TASK) for i in range(0, size, _IMAGES_PER_TASK)]
                futures = [pool.submit(self._fill, batch[t], read, indices[t]) for t in tasks]
                pending.append((batch, futures))
            batch, futures = pending.popleft()
            for future in futures:
                unusable += future.result()
            examined += len(batch)
            bar.update(len(batch))
            if not unusable:
                yield batch
        if unusable:
            raise InputError(self._refusal(unusable, examined))

    def _fill(
        self, out: np.ndarray, read: Read, indices: Sequence[int]
    ) -> list[tuple[str, Unusable]]:
        unusable = []
        for row, index in zip(out, indices, strict=True):
            try:
                image = to_rgb(read(index))
                row[:] = fit(image, self.resolution, same_size=self._same_size)
            except Unusable as error:
                unusable.append((self._images[index], error))
        return unusable

    def _refusal(self, unusable: list[tuple[str, Unusable]], examined: int) -> str:
        listed = ", ".join(f"{name} ({error})" for name, error in unusable[:_LISTED])
        more = f" and {len(unusable) - _LISTED} more" if len(unusable) > _LISTED else ""
        total = str(len(self)) if examined == len(self) else f"first {examined} of {len(self)}"
        remedy = "remove or replace them"
        if sides := [error.side for _, error in unusable if error.side]:
            remedy = f"ask for resolution {min(*sides, self.resolution)} or less, or {remedy}"
        message = (
            f"{self.name}: {len(unusable)} of the {total} images cannot be used: "
            f"{listed}{more}; {remedy}"
        )
        return " ".join(message.splitlines())  # names and PIL's words may hold line breaks


def open_images(
    data: str | os.PathLike[str],
    resolution: int | None = 64,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> ImageSource:
    """Open a dataset; its images are decoded when they are asked for.

    Parameters
    ----------
    data
        The string ``photos``: random crops of built-in photographs (`PhotoCrops`; a folder of that
        name is ``./photos``). Or a path: a folder of images, with folders in it or none; a
        ``.zip`` of such, read in place; an ``.npz`` or ``.npy`` of uint8 ``(N, R, R, 3)``.
    resolution
        Pixels to a side, 1 or more; larger images are cut to their central square and reduced.
        None keeps the images' own size, which must then be square and all the same.
    limit
        The number of images, 1 or more: of ``photos`` the first ``limit`` crops (without a limit
        8192); else a random subset, in order, as the first files would be those of one class. The
        subset of a smaller limit lies in that of a larger; a limit beyond the images has no effect.
    seed
        Of the crops, and of the subset; 0 or more.

    Raises
    ------
    InputError
        If the data do not exist, cannot be read, are of no known form or hold no images, or a
        number is out of its range. Single images are judged when they are decoded.
    """
    for what, number in (("resolution", resolution), ("limit", limit)):
        if number is not None and number < 1:
            raise InputError(f"{what} {number}: give 1 or more")
    if seed < 0:
        raise InputError(f"seed {seed}: give 0 or more")
    name = os.fsdecode(data)
    if data == "photos":
        if resolution is None:
            raise InputError("photos: crops have no size of their own; give a resolution")
        crops = PhotoCrops(resolution, limit or DEFAULT_COUNT, seed)
        return ImageSource(name, resolution, _images=crops, _indices=range(len(crops)))
    images = _at_path(name, resolution)
    indices: Sequence[int] = range(len(images))
    if limit is not None and limit < len(images):
        shuffled = np.argsort(uniform(seed, (len(images),)), kind="stable")
        indices = np.sort(shuffled[:limit]).tolist()
    return ImageSource(
        name,
        resolution or _own_size(name, images, indices[0]),
        _images=images,
        _indices=indices,
        _same_size=resolution is None,
    )


def to_float(images: np.ndarray) -> np.ndarray:
    """Map uint8 values 0 … 255 to float32 in [-1, 1]: ``x / 127.5 - 1``.

    Raises
    ------
    TypeError
        If ``images`` is not uint8.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"to_float takes uint8 images, not {images.dtype}")
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Map floats in [-1, 1] to uint8, rounding; values outside are clipped. Inverts `to_float`."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _at_path(name: str, resolution: int | None) -> _Images:
    path = Path(name)
    try:
        if not name:
            raise FileNotFoundError(2, "no name")
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be opened ({reason}); give {DATA_FORMS}") from error
    if path.is_dir():
        return FolderImages(path)
    if path.suffix.lower() == ".zip":
        return ZipImages(path)
    if path.suffix.lower() in (".npz", ".npy"):
        return ArrayImages(path, resolution)
    raise InputError(f"{name}: is no form of dataset; give {DATA_FORMS}")


def _own_size(name: str, images: _Images, index: int) -> int:
    try:
        with images.open() as read:
            width, height = to_rgb(read(index)).size
    except Unusable as error:
        raise InputError(f"{name}: {images[index]} ({error}); remove or replace it") from error
    if width != height:
        raise InputError(
            f"{name}: {images[index]} is {width}×{height} px, not square; give a resolution"
        )
    return width
