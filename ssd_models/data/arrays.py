"""Images from NumPy's files, decoded like others or read at random."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from theory.support.errors import InputError, reason
from theory.support.reading import npz_names, read_npz

from .class_labels import Classes, classes_of_numbers
from .decoding import Picture, Read
from .images import Images
from .unusable import smaller


class ArrayImages(Images):
    """The images of an ``.npy`` (memory-mapped) or ``.npz`` (read into memory).

    Grey is repeated to RGB; two channels, or more than three, stay what they are. Of 16 bits the
    upper eight are kept. Of several arrays in an ``.npz`` the one called ``images`` is taken, else
    ``arr_0``, else the first.

    Parameters
    ----------
    path
        The file.
    resolution
        Pixels to a side that the images must have at least; None for any.

    Raises
    ------
    InputError
        If the file cannot be read, is not uint8 or uint16 ``(N, H, W, C)`` or ``(N, H, W)`` with
        N ≥ 1, or its images are smaller than ``resolution``.
    """

    def __init__(self, path: Path, resolution: int | None):
        self.path = path
        array = _load_array(path, ("images", "arr_0"))
        # Three axes that end in 3 are one RGB picture rather than grey ones three pixels wide.
        grey = array.shape[3:] == (1,) or (array.ndim == 3 and array.shape[2] != 3)
        # (N, 3, R, R) are no images three pixels high with R channels.
        last = array.ndim == 4 and (array.shape[1] > 4 or array.shape[3] <= 4)
        if array.dtype not in (np.uint8, np.uint16) or not (grey or last) or 0 in array.shape:
            raise InputError(
                f"{path}: holds {array.dtype} of shape {array.shape}; give uint8 (N, R, R, 3), any "
                "number of channels, or grey (N, R, R), values 0 to 255, channels last"
            )
        height, width = array.shape[1:3]
        if resolution is not None and min(height, width) < resolution:
            raise InputError(
                f"{path}: images of {width}×{height} px are smaller than resolution {resolution}; "
                f"{smaller(min(height, width))}"
            )
        # Each image of an array in Fortran's order is scattered over the whole file.
        mappable = array.flags.c_contiguous and array.dtype == np.uint8
        if grey:
            array = np.broadcast_to(array.reshape(*array.shape[:3], 1), (*array.shape[:3], 3))
        self._hold(array, mappable=mappable)

    def _hold(self, array: np.ndarray, *, mappable: bool) -> None:
        self._stored = array  # (N, H, W, C)
        self.channels: int = array.shape[3]
        self.array = array if mappable else None

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: int) -> str:
        return f"image {index}"

    def classes(self) -> Classes | None:
        """Classes from the array ``labels`` or ``arr_1`` of an ``.npz``; None without one."""
        if self.path.suffix.lower() != ".npz":
            return None
        held = npz_names(self.path)
        name = next((name for name in ("labels", "arr_1") if name in held), None)
        if name is None:
            return None
        labels = _load_array(self.path, (name,))
        classes = classes_of_numbers(labels, str(self.path))
        if len(labels) != len(self):
            raise InputError(f"{self.path}: holds {len(labels)} labels for {len(self)} images")
        return classes

    def short_sides(self, indices: Sequence[int]) -> list[int | None]:
        """Short sides of pictures in pixels, all the same."""
        return [min(self._stored.shape[1:3])] * len(indices)

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Open the file; the context's value is a thread-safe function from index to picture."""
        yield self._read

    def _read(self, index: int) -> Picture:
        pixels = self._stored[index]
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        pixels = np.ascontiguousarray(pixels)
        return Image.fromarray(pixels) if self.channels == 3 else pixels


class MappedImages:
    """Chosen images of an array that may be a memory map: uint8 ``(N, H, W, C)``.

    Indexing copies, and may be done from several threads.

    Parameters
    ----------
    array
        All images, uint8 ``(M, H, W, C)``.
    rows
        Indices of the N chosen ones among them.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, array: np.ndarray, rows: Sequence[int] | np.ndarray):
        self._array = np.asarray(array)  # indexing a np.memmap costs more
        self._rows = np.asarray(rows, np.int64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(N, H, W, C)``."""
        return (len(self), *self._array.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def subset(self, places: np.ndarray) -> MappedImages:
        """Return the images at these places, without copying them."""
        return MappedImages(self._array, self._rows[places])

    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        rows = self._rows[key]
        return self._array[rows] if rows.ndim else self._array[rows].copy()


def _load_array(path: Path, wanted: Sequence[str]) -> np.ndarray:
    """The array of an ``.npy``, or of an ``.npz`` the first one wanted, else the first."""
    try:
        if not zipfile.is_zipfile(path):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        held = npz_names(path)
        if names := [name for name in wanted if name in held] or held:
            return read_npz(path, names[:1])[names[0]]
        why = "no array in it"
    except OSError as error:
        why = error.strerror or str(error)
    except Exception as error:  # as many kinds as there are ways to damage the file
        why = reason(error)
    raise InputError(
        f"{path}: cannot be read as a NumPy array ({why}); write it with np.save or np.savez"
    )
