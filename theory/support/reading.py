"""Reading JSON and NumPy files that may be damaged or made by something else.

What a file claims is checked before it is used or memory is taken for it.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np

from .errors import InputError, reason
from .paths import user_path

_DEFLATED_MOST = 1032  # largest compression ratio of deflate
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        If the text is not JSON, is nested more deeply than Python's recursion limit, or has an
        integer of more than 4300 digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def read_json(path: str | os.PathLike[str], remedy: str) -> Any:
    """Read and parse a JSON file.

    Parameters
    ----------
    path : path
    remedy : str
        What the reader of the error message should do, such as "write one with `ssd derive`".

    Raises
    ------
    InputError
        If the file is missing, cannot be read or is not JSON.
    """
    path = user_path(path)
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); {remedy}") from None


def _is_number(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold (NaN and infinity included)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


_KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    float: ("a number", _is_number),
    int: ("a whole number", lambda value: _is_number(value) and float(value).is_integer()),
    str: ("a text", lambda value: isinstance(value, str)),
    dict: ("an object", lambda value: isinstance(value, dict)),
}


def check_fields(
    content: Any, kinds: Mapping[str, Any], where: str = "", optional: Collection[str] = ()
) -> None:
    """Check that a value read from JSON is an object with fields of the expected types.

    Parameters
    ----------
    content : object
        As `parse_json` returns it.
    kinds : mapping
        Expected type of each field: ``float`` (any number), ``int`` (a whole number, ``3.0`` too),
        ``str``, ``dict``, or ``list[float]``, ``list[int]`` and so on. Other fields are ignored.
    where : str
        Name of the object in the file, for the message; empty for the whole file.
    optional : collection of str
        Fields that may be missing.

    Raises
    ------
    InputError
        If ``content`` is not an object, or a field is missing or of another type.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(content, dict):
        raise InputError(f"{prefix}must be an object, not {_shown(content)}")
    if missing := [name for name in kinds if name not in content and name not in optional]:
        raise InputError(f"{prefix}lacks the entries {', '.join(missing)}")
    for name, kind in kinds.items():
        if name in content:
            _check_value(prefix + name, content[name], kind)


def _check_value(name: str, value: Any, kind: Any) -> None:
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
        if not isinstance(value, list):
            words = _KINDS[kind][0].split(maxsplit=1)[1]
            raise InputError(f"{name}: must be a list of {words}s, not {_shown(value)}")
        entries = [(f"{name}[{i}]", item) for i, item in enumerate(value)]
    else:
        entries = [(name, value)]
    words, is_kind = _KINDS[kind]
    for entry, item in entries:
        if not is_kind(item):
            raise InputError(f"{entry}: must be {words}, not {_shown(item)}")


def _shown(value: Any, longest: int = 40) -> str:
    shown = repr(value)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def npz_names(path: str | os.PathLike[str]) -> list[str]:
    """List the names of the arrays of an ``.npz`` in their order.

    Raises the exceptions of `read_npz`.
    """
    with zipfile.ZipFile(path) as archive:
        return [_array_name(name) for name in archive.namelist()]


def read_npz(
    path: str | os.PathLike[str], names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` file; pickled objects are refused.

    The size that an array's header claims is compared with the size of the file before memory is
    allocated.

    Parameters
    ----------
    path : path
    names : collection of str, optional
        Names of the arrays to read; by default all.

    Returns
    -------
    dict
        Array by name.

    Raises
    ------
    OSError, zipfile.BadZipFile, EOFError, ValueError
        If the file is missing, is not an ``.npz``, is damaged, or does not fit into memory.
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
    """Read one entry of an archive whose file has ``size`` bytes."""
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
