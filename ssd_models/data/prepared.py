"""Prepared directories: images decoded and resized once, read without decoding ever after.

`ssd prepare` (`preparing`) writes them. A directory holds

* ``images_00000.npy``, ``images_00001.npy``, …: shards, uint8 ``(n, R, R, 3)`` in C order. Each is
  made of the same number of images of the source (`images_per_shard`), the last one of fewer; n is
  smaller where unusable images were left out.
* ``images_00000.json``, …: the sidecar of each shard: the ``names`` of its n images; their
  ``labels``, indices into the class names, or null; the ``sha256`` of the ``.npy``; and
  ``skipped``, the ``[index in the source, name, reason]`` of each image left out. It is written
  after the array.
* ``prepared.json``: written last; it makes the directory complete. Its fields are ``format``; what
  was prepared (`CONTENTS`); ``count``, the number of images in all; ``skipped``, the number left
  out; ``classes``, the names of the classes or null; and ``shards``, a list of objects with
  ``file``, ``count``, ``bytes``, ``sha256``, and the ``sidecar_sha256`` of the sidecar.
* ``preparing.json``: written first, ``format`` and what is prepared alone; while there is no
  ``prepared.json``, the directory is one to be finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from theory.support.errors import InputError

from .class_labels import Classes
from .decoding import Read
from .json_fields import read_fields, read_json
from .mapped import Shards
from .unusable import Skipped, smaller

FORMAT = "scale-space-prepared/1"
COMPLETE, BEGUN = "prepared.json", "preparing.json"
_SHARD_BYTES = 2**26 - 2**10  # of images, so that with its header a file has at most 64 MiB
_SHARD_IMAGES = 8192
_MAPPED_SHARDS = 256  # at a time, as each holds a file open

CONTENTS: dict[str, Any] = {
    "source": str,
    "resolution": int,
    "limit": int | None,
    "seed": int,
    "images": int,  # of the source, before any is left out
    "contents_sha256": str,  # of their names, labels and class names
}
_MANIFEST = {"format": str, **CONTENTS, "count": int, "skipped": int}
_MANIFEST |= {"classes": list[str] | None, "shards": list[dict]}
_SHARD = {"file": str, "count": int, "bytes": int, "sha256": str, "sidecar_sha256": str}
_SIDECAR = {"names": list[str], "labels": list[int] | None, "sha256": str, "skipped": list[list]}


def images_per_shard(resolution: int) -> int:
    """Images of the source that make a shard: up to 64 MiB of them, and up to 8192."""
    return max(1, min(_SHARD_IMAGES, _SHARD_BYTES // (resolution**2 * 3)))


def shard_paths(root: Path, number: int) -> tuple[Path, Path]:
    """Paths of a shard and of its sidecar."""
    return root / f"images_{number:05d}.npy", root / f"images_{number:05d}.json"


def is_prepared(path: Path) -> bool:
    """Whether it is a prepared directory, complete or not."""
    # Unlike those of Path, these say no where nothing may be looked at.
    return os.path.isfile(path / COMPLETE) or os.path.isfile(path / BEGUN)


@dataclass(frozen=True)
class Sidecar:
    """What is known of each image of a shard."""

    names: list[str]
    labels: list[int] | None
    sha256: str
    skipped: list[Skipped]

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read a sidecar; what is none is refused with `InputError`."""
        fields = read_fields(read_json(path, _REMEDY), _SIDECAR, path, _REMEDY)
        names, labels, skipped = fields["names"], fields["labels"], fields.pop("skipped")
        fits = labels is None or len(labels) == len(names)
        if not fits or any([type(x) for x in image] != [int, str, str] for image in skipped):
            raise InputError(f"{path}: is damaged (lists do not fit together); {_REMEDY}")
        return cls(**fields, skipped=[Skipped(*image) for image in skipped])


_REMEDY = "remove it and run the same `ssd prepare` again"


def read_manifest(root: Path) -> dict[str, Any]:
    """Fields of a directory's ``prepared.json``.

    Raises
    ------
    InputError
        If the directory is not complete, or of an unknown format, or the file is damaged.
    """
    path = root / COMPLETE
    if not path.is_file() and (root / BEGUN).is_file():
        raise InputError(f"{root}: is not complete; run `ssd prepare` again to finish it")
    if not path.is_file():
        raise InputError(f"{root}: is no prepared directory; write one with `ssd prepare DATA`")
    fields = check_format(read_json(path, _REMEDY), path)
    fields = read_fields(fields, _MANIFEST, path, _REMEDY)
    for number, shard in enumerate(fields["shards"]):
        read_fields(shard, _SHARD, path, _REMEDY)
        if shard["file"] != shard_paths(root, number)[0].name:  # no other file is ever read
            raise InputError(f"{path}: is damaged (shard {shard['file']!r}); {_REMEDY}")
    if sum(shard["count"] for shard in fields["shards"]) != fields["count"] or not fields["count"]:
        raise InputError(f"{path}: is damaged (counts of shards do not add up); {_REMEDY}")
    return fields


def check_format(fields: Any, path: Path) -> dict[str, Any]:
    """Return the fields of a file of this `FORMAT`; refuse any other."""
    found = fields.get("format") if isinstance(fields, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: has format {found!r}, expected {FORMAT!r}; prepare the data again with this "
            "version, in a new folder"
        )
    return fields


def shard_size(path: Path, resolution: int) -> int | None:
    """Images in a shard file, by its header and size; None if it is no whole shard."""
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            whole = path.stat().st_size == file.tell() + int(np.prod(shape))
    except (OSError, ValueError):
        return None
    fits = shape[1:] == (resolution, resolution, 3) and dtype == np.uint8 and not fortran
    return shape[0] if fits and whole else None


class PreparedImages:
    """The images of a prepared directory.

    Raises
    ------
    InputError
        If the directory is not complete, a shard is missing or not as large as it was, or the
        images are smaller than ``resolution``.
    """

    def __init__(self, root: Path, resolution: int | None):
        self.root = root
        manifest = read_manifest(root)
        self.resolution: int = manifest["resolution"]
        self.skipped: int = manifest["skipped"]
        self._class_names: list[str] | None = manifest["classes"]
        if resolution is not None and resolution > self.resolution:
            raise InputError(
                f"{root}: was prepared at {self.resolution} px, smaller than {resolution}; "
                f"{smaller(self.resolution)}, or prepare {manifest['source']} again"
            )
        self._paths = [root / shard["file"] for shard in manifest["shards"]]
        counts = tuple(shard["count"] for shard in manifest["shards"])
        for path, shard in zip(self._paths, manifest["shards"], strict=True):
            if not path.is_file():
                raise InputError(f"{path}: is missing; run the same `ssd prepare` again")
            size = path.stat().st_size
            if size != shard["bytes"]:
                raise InputError(f"{path}: has {size} bytes, not {shard['bytes']}; {_REMEDY}")
            if shard_size(path, self.resolution) != shard["count"]:
                raise InputError(
                    f"{path}: is damaged (not {shard['count']} images of {self.resolution} px); "
                    f"{_REMEDY}"
                )
        self._ends = np.cumsum(counts)
        self.shards = Shards(
            counts, (self.resolution, self.resolution), lru_cache(_MAPPED_SHARDS)(self._map)
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> str:
        return self._names[index]

    def classes(self) -> Classes | None:
        """Class of each image, as the source named them; None if it had none."""
        if self._class_names is None:
            return None
        labels = np.array([label for s in self._sidecars for label in s.labels or []], np.int64)
        known = len(labels) == len(self) and labels.min() >= 0
        if not known or labels.max() >= len(self._class_names):
            raise InputError(f"{self.root}: is damaged (labels do not fit); prepare it again")
        return Classes(labels, tuple(self._class_names))

    def short_sides(self, indices: Sequence[int]) -> list[int | None]:
        """The resolution, of each."""
        return [self.resolution] * len(indices)

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Yield a thread-safe function from an index to an RGB picture."""

        def read(index: int) -> Image.Image:
            shard = int(np.searchsorted(self._ends, index, side="right"))
            first = self._ends[shard] - self.shards.counts[shard]
            return Image.fromarray(self.shards.open(shard)[index - first])

        yield read

    @cached_property
    def _sidecars(self) -> list[Sidecar]:
        sidecars = [Sidecar.read(path.with_suffix(".json")) for path in self._paths]
        for path, sidecar, count in zip(self._paths, sidecars, self.shards.counts, strict=True):
            if len(sidecar.names) != count:
                raise InputError(
                    f"{path.with_suffix('.json')}: has {len(sidecar.names)} names for {count} "
                    f"images; {_REMEDY}"
                )
        return sidecars

    @cached_property
    def _names(self) -> list[str]:
        return [name for sidecar in self._sidecars for name in sidecar.names]

    def _map(self, number: int) -> np.ndarray:
        path = self._paths[number]
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); {_REMEDY}") from error


def sha256(path: Path) -> str:
    """Digest of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents_digest(names: list[str], classes: Classes | None) -> str:
    """Digest of the names, labels and class names of images, hexadecimal."""
    labels = None if classes is None else [classes.labels.tolist(), classes.names]
    return hashlib.sha256(json.dumps([names, labels]).encode()).hexdigest()
