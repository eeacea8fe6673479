"""Prepared directories: images decoded and resized once, then read without decoding.

`preparing.prepare` writes them. A complete directory holds two files:

* ``images.npy``: the N images that were kept, uint8 ``(N, R, R, C)``.
* ``prepared.json``, with these fields:

| field | content |
| --- | --- |
| ``format`` | `FORMAT` |
| ``source`` | the dataset, as it was given to `preparing.prepare` |
| ``resolution``, ``channels`` | R in pixels, and C |
| ``limit``, ``seed`` | as they were given to `preparing.prepare` |
| ``images`` | number of images of the source, before any is left out |
| ``contents_sha256`` | `contents_digest` of all images of the source |
| ``skipped`` | images left out: [index in the source, name, reason] each |
| ``count`` | N |
| ``classes`` | names of the classes, or null |
| ``sha256`` | SHA-256 of ``images.npy`` |
| ``names_sha256`` | `contents_digest` of the N images |
| ``names`` | name of each of the N images |
| ``labels`` | class of each of them as an index into ``classes``, or null |

While it is being written, a directory holds ``preparing.npy`` and ``preparing.json`` instead. The
latter has the fields up to ``skipped``, and ``done``: the number of images of the source that are
already stored or skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from theory.support.errors import InputError
from theory.support.progress import progress_bar
from theory.support.reading import parse_json

from .arrays import ArrayImages
from .class_labels import Classes
from .unusable import Skipped, smaller

FORMAT = "scale-space-prepared/2"
IMAGES, COMPLETE = "images.npy", "prepared.json"
PARTIAL, BEGUN = "preparing.npy", "preparing.json"

SETTINGS: dict[str, tuple[type, ...]] = {
    "source": (str,),
    "resolution": (int,),
    "channels": (int,),
    "limit": (int, NoneType),
    "seed": (int,),
    "images": (int,),
    "contents_sha256": (str,),
}
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    BEGUN: {**SETTINGS, "skipped": (list,), "done": (int,)},
    COMPLETE: {
        **SETTINGS,
        "skipped": (list,),
        "count": (int,),
        "classes": (list, NoneType),
        "sha256": (str,),
        "names_sha256": (str,),
        "names": (list,),
        "labels": (list, NoneType),
    },
}
_CHUNK = 2**24  # bytes read at a time for a checksum


def is_prepared(path: Path) -> bool:
    """Whether a path is a prepared directory, complete or not."""
    # Unlike Path.is_file, os.path.isfile returns False where permission is missing.
    return any(os.path.isfile(path / name) for name in (COMPLETE, BEGUN))


def read_record(path: Path) -> dict[str, Any]:
    """Read and check a ``prepared.json`` or ``preparing.json``.

    Raises
    ------
    InputError
        If the file cannot be read, has another format, or lacks a field.
    """
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: has format {found!r}, expected {FORMAT!r}; run `ssd prepare` again with a "
            "new folder"
        )
    for name, kinds in _FIELDS[path.name].items():
        if name not in record:
            raise _damaged(path, f"no field {name!r}")
        if type(record[name]) not in kinds:
            raise _damaged(path, f"{name!r} is {json.dumps(record[name])[:40]}")
    if any([type(x) for x in image] != [int, str, str] for image in record["skipped"]):
        raise _damaged(path, "'skipped' is not a list of [index, name, reason]")
    if not len(record["skipped"]) <= record.get("done", record["images"]) <= record["images"]:
        raise _damaged(path, "numbers of images contradict each other")
    return record


def read_complete(root: Path) -> dict[str, Any]:
    """Read and check the ``prepared.json`` of a directory.

    Raises
    ------
    InputError
        If the directory is not complete, or ``prepared.json`` is damaged.
    """
    path = root / COMPLETE
    if not path.is_file() and (root / BEGUN).is_file():
        read_record(root / BEGUN)
        raise InputError(f"{root}: is not complete; run the same `ssd prepare` again to finish it")
    if not path.is_file():
        raise InputError(f"{root}: is no prepared directory; write one with `ssd prepare DATA`")
    record = read_record(path)
    names, labels, classes = record["names"], record["labels"], record["classes"]
    if len(names) != record["count"] or not all(isinstance(name, str) for name in names):
        raise _damaged(path, f"no {record['count']} names")
    if (labels is None) != (classes is None):
        raise _damaged(path, "labels without classes or the reverse")
    if labels is not None:
        known = all(type(label) is int and 0 <= label < len(classes) for label in labels)
        if len(labels) != len(names) or not known:
            raise _damaged(path, "labels do not fit the images and classes")
    return record


class PreparedImages(ArrayImages):
    """The images of a complete prepared directory, memory-mapped.

    Parameters
    ----------
    root
        The directory.
    resolution
        Pixels to a side that are wanted, at most those prepared; None if any will do.

    Raises
    ------
    InputError
        If the directory is incomplete or damaged, or its images are smaller than ``resolution``.
    """

    def __init__(self, root: Path, resolution: int | None):
        self._record = record = read_complete(root)
        size, path = record["resolution"], root / IMAGES
        if resolution is not None and resolution > size:
            raise InputError(
                f"{root}: was prepared at {size} px, smaller than {resolution}; {smaller(size)}, "
                f"or prepare {record['source']} again"
            )
        if not path.is_file():
            raise InputError(f"{path}: is missing; remove {root} and run `ssd prepare` again")
        shape = (record["count"], size, size, record["channels"])
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if array.shape != shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise _damaged(path, f"{array.dtype} of shape {array.shape}, not uint8 of {shape}")
        self._hold(array, mappable=True)
        self.skipped = len(record["skipped"])

    def __getitem__(self, index: int) -> str:
        return self._record["names"][index]

    def classes(self) -> Classes | None:
        """Class of each image, as in the source; None if the source has no classes."""
        return classes_of(self._record)


def verify(root: Path, *, progress: bool = False) -> dict[str, Any]:
    """Compare the images, names and labels of a prepared directory with their checksums.

    Parameters
    ----------
    root
        The directory.
    progress
        Show a progress bar on standard error.

    Returns
    -------
    record : dict
        Content of ``prepared.json``.

    Raises
    ------
    InputError
        If the directory is incomplete or damaged.
    """
    record = read_complete(root)
    if contents_digest(record["names"], classes_of(record)) != record["names_sha256"]:
        raise _damaged(root / COMPLETE, "names and labels do not have their checksum")
    PreparedImages(root, None)
    if sha256(root / IMAGES, progress=progress) != record["sha256"]:
        raise _damaged(root / IMAGES, "does not have its checksum")
    return record


def classes_of(record: Mapping[str, Any]) -> Classes | None:
    """Classes in the fields of a ``prepared.json``."""
    if record["labels"] is None:
        return None
    return Classes(np.array(record["labels"], np.int64), tuple(record["classes"]))


def skipped_of(record: Mapping[str, Any]) -> list[Skipped]:
    """Images left out, in the fields of a ``prepared.json`` or ``preparing.json``."""
    return [Skipped(*image) for image in record["skipped"]]


def sha256(path: Path, *, progress: bool = False) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    bar = progress_bar(
        total=path.stat().st_size, desc=f"{path}, checksum", unit="B", shown=progress
    )
    with open(path, "rb") as file, bar:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def contents_digest(names: Sequence[str], classes: Classes | None) -> str:
    """SHA-256 of the names, labels and class names of images, hexadecimal."""
    labels = None if classes is None else [classes.labels.tolist(), classes.names]
    return hashlib.sha256(json.dumps([names, labels]).encode()).hexdigest()


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: is damaged ({why}); remove {path.parent} and run `ssd prepare` again"
    )
