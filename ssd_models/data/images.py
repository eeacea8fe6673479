"""What every form of dataset offers: pictures by index, with their names, sizes and classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import numpy as np

from .class_labels import Classes
from .decoding import Read, decode, short_side, to_rgb
from .unusable import Unusable


class Images(ABC):
    """Pictures by index, as they are stored."""

    channels = 3  # C; other than RGB in arrays only
    skipped = 0  # images of the original dataset that were left out when it was prepared
    array: np.ndarray | None = None
    """The images as uint8 ``(N, H, W, C)``; None if they are not stored so, image by image."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int, /) -> str:
        """Name of an image."""

    @abstractmethod
    def open(self) -> AbstractContextManager[Read]:
        """Open the files; the context's value is a thread-safe function from index to picture."""

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of a picture as it is decoded, in pixels.

        Raises
        ------
        Unusable
            If the picture cannot be used.
        """
        with self.open() as read:
            picture = read(index)
            if isinstance(picture, np.ndarray):
                return picture.shape[1], picture.shape[0]
            return to_rgb(picture).size

    def short_sides(self, indices: Sequence[int]) -> list[int | None]:
        """Short sides of pictures in pixels, without decoding; None where that is not possible."""
        return [None] * len(indices)

    def classes(self) -> Classes | None:
        """Class of each image; None if there are no classes."""
        return None


class EncodedImages(Images):
    """Pictures that are stored as encoded image files."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Callable[[int], bytes]]:
        """Open the files; the context's value is a thread-safe function from index to content."""

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Open the files; the context's value is a thread-safe function from index to picture."""
        with self.reading() as read_bytes:
            yield lambda index: decode(partial(read_bytes, index))

    def short_sides(self, indices: Sequence[int]) -> list[int | None]:
        """Short sides of pictures in pixels, from their headers; None of unusable pictures."""
        with self.reading() as read_bytes:
            return [_short_side(partial(read_bytes, index)) for index in indices]


def _short_side(read_bytes: Callable[[], bytes]) -> int | None:
    try:
        return short_side(read_bytes)
    except Unusable:
        return None
