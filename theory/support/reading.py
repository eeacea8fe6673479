"""Reading JSON and NumPy files of which nothing is known, without trusting what they claim."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

_DEFLATED_MOST = 1032  # bytes that one byte of a zip archive can stand for
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def parse_json(text: str | bytes) -> Any:
    """Content of a JSON text.

    Raises
    ------
    ValueError
        If it is none, is nested more deeply than Python can follow, or has numbers of thousands of
        digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def npz_names(path: str | os.PathLike[str]) -> list[str]:
    """Names of the arrays of an ``.npz``, in their order; errors are those of `read_npz`."""
    with zipfile.ZipFile(path) as archive:
        return [_array_name(name) for name in archive.namelist()]


def read_npz(
    path: str | os.PathLike[str], names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` by name, without pickled objects.

    What an array claims to hold is compared with what the file can hold before memory is taken.

    Parameters
    ----------
    path : path
    names : collection of str, optional
        Of the arrays to read; by default all.

    Raises
    ------
    OSError, zipfile.BadZipFile, EOFError, ValueError
        If it is no such file, is damaged, or does not fit into memory.
    """
    size = Path(path).stat().st_size
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = _array_name(entry.filename)
            if names is None or name in names:
                arrays[name] = _read_array(archive, entry, size)
    return arrays


def _array_name(name: str) -> str:
    return name.removesuffix(".npy")


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> np.ndarray:
    """The array of an entry of an archive of ``size`` bytes."""
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename} has version {version} of the format")
        shape, _, dtype = _HEADERS[version](stream)
        claimed = math.prod(shape) * dtype.itemsize
        held = entry.file_size - stream.tell()
    packed = entry.compress_size
    if not dtype.hasobject and (
        claimed != held or packed > size or entry.file_size > _DEFLATED_MOST * packed
    ):
        raise ValueError(f"{entry.filename} claims {claimed} bytes, which it does not hold")
    try:
        with archive.open(entry) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError:
        raise ValueError(f"{entry.filename} takes {claimed / 1e9:.3g} GB of memory") from None
