"""Pictures by index from NumPy's files."""

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
from .mapped import Shards
from .unusable import smaller


class ArrayImages:
    """The images of an ``.npy`` (left on disk) or ``.npz`` (read into memory).

    Grey is repeated to RGB; two channels, or more than three, stay what they are. Of 16 bits the
    upper eight are kept. Of several arrays in an ``.npz`` the one called ``images``, else
    ``arr_0``, else the first.

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
        self._one_by_one = array.flags.c_contiguous
        if grey:
            array = np.broadcast_to(array.reshape(*array.shape[:3], 1), (*array.shape[:3], 3))
        self.array = array  # (N, H, W, C)
        self.channels: int = array.shape[3]

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> str:
        return f"image {index}"

    def classes(self) -> Classes | None:
        """Classes by `class_labels`; None if there are none."""
        if self.path.suffix.lower() != ".npz":
            return None
        held = npz_names(self.path)
        name = next((name for name in ("labels", "arr_1") if name in held), None)
        if name is None:
            return None
        labels = _load_array(self.path, (name,))
        classes = classes_of_numbers(labels, str(self.path))
        if len(labels) != len(self.array):
            raise InputError(
                f"{self.path}: holds {len(labels)} labels for {len(self.array)} images"
            )
        return classes

    @property
    def shards(self) -> Shards | None:
        """The array itself, unless it has 16 bits or each image is scattered over all of it."""
        if not self._one_by_one or self.array.dtype != np.uint8:
            return None
        height, width = self.array.shape[1:3]
        return Shards((len(self.array),), (height, width), lambda _: self.array, self.channels)

    def short_sides(self, indices: Sequence[int]) -> list[int | None]:
        """The same of all."""
        return [min(self.array.shape[1:3])] * len(indices)

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Yield a thread-safe function from an index to a picture."""
        yield self._read

    def _read(self, index: int) -> Picture:
        pixels = self.array[index]
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        pixels = np.ascontiguousarray(pixels)
        return Image.fromarray(pixels) if self.channels == 3 else pixels


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
