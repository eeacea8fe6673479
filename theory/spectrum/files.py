"""The file format ``spectrum.npz``: arrays, and ``meta`` as JSON."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..support.errors import InputError, reason
from ..support.files import atomic_path
from ..support.paths import user_path
from ..support.reading import parse_json, read_npz

FORMAT = "scale-space-spectrum/1"
# Types of the entries of ``meta`` that the code relies on; each may be missing.
_META = {"source": str, "shard": str, "skipped": int, "limit": int, "seed": int, "images": int}


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
) -> None:
    """Write arrays and ``meta`` to an ``.npz``, complete or not at all.

    Raises
    ------
    InputError
        If the name does not end in ``.npz`` or the file cannot be written.
    """
    path = user_path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path}: a spectrum's file name must end in .npz")
    text = np.array(json.dumps({"format": FORMAT, **meta}))
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays, meta=text)


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name, and ``meta``.

    Raises
    ------
    InputError
        If ``meta`` is not that of a spectrum.
    OSError, zipfile.BadZipFile, EOFError, ValueError, KeyError
        If the file cannot be read, see `explained`.
    """
    arrays = read_npz(user_path(path))
    meta = parse_json(str(arrays["meta"]))
    if not isinstance(meta, dict):
        raise InputError("meta is no object of names and values")
    if meta.get("format") != FORMAT:
        raise InputError(f"has format {meta.get('format')!r}, expected {FORMAT!r}")
    for name, kind in _META.items():
        if not isinstance(meta.get(name), kind | None):
            raise InputError(f"meta has {name} {meta[name]!r}")
    return arrays, meta


@contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever reading a spectrum's file raises into an `InputError` that names the file."""
    path = user_path(path)
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; write one with `ssd spectrum DATA -o {path}`"
        ) from None
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: is not a readable spectrum file ({reason(error)}); "
            "write one with `ssd spectrum`"
        ) from None
