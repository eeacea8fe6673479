"""Writing one shard of a prepared directory (`prepared`)."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from theory.support.errors import InputError
from theory.support.files import atomic_path

from .prepared import Sidecar, shard_paths, shard_size
from .source import ImageSource
from .unusable import NoneUsable, Skipped

_BATCH = 64  # images between two steps of the progress bar


@dataclass(frozen=True)
class Shard:
    """A shard to be written."""

    root: Path
    number: int
    resolution: int
    positions: range  # of its images in the source
    names: list[str]
    labels: list[int] | None
    skip: bool  # leave unusable images out, rather than the shard

    @property
    def paths(self) -> tuple[Path, Path]:
        """Paths of the array and of its sidecar."""
        return shard_paths(self.root, self.number)

    def sidecar(self) -> Sidecar:
        """Read what was written beside the array."""
        return Sidecar.read(self.paths[1])

    def is_finished(self) -> bool:
        """Whether it is there; not, if images were left out that may not be."""
        try:
            sidecar = self.sidecar()
        except InputError:
            return False
        whole = shard_size(self.paths[0], self.resolution) == len(sidecar.names)
        return whole and (self.skip or not sidecar.skipped)


def write_shard(
    source: ImageSource, shard: Shard, threads: int, tick: Callable[[int], object]
) -> list[Skipped]:
    """Write a shard and its sidecar, or return the unusable images for which it was not.

    Parameters
    ----------
    source
        Of all images.
    shard
    threads
        That decode.
    tick
        Called with numbers of images that are done.

    Raises
    ------
    InputError
        If the source is not what it was, or a file cannot be written.
    """
    source = source.take(shard.positions)
    if source.names() != shard.names:
        raise InputError(f"{source.name}: has changed meanwhile; run the same command again")
    images = np.empty((len(source), shard.resolution, shard.resolution, 3), np.uint8)
    skipped: list[Skipped] = []
    count = done = 0
    try:
        for batch in source.batches(_BATCH, skipped=skipped, threads=threads):
            images[count : count + len(batch)] = batch
            count += len(batch)
            tick(count + len(skipped) - done)
            done = count + len(skipped)
    except NoneUsable:
        pass
    tick(len(source) - done)
    left_out = {image.index for image in skipped}
    skipped = [replace(image, index=shard.positions[image.index]) for image in skipped]
    if skipped and not shard.skip:
        return skipped
    kept = [i for i in range(len(source)) if i not in left_out]
    path, beside = shard.paths
    digest = _write_array(path, images[:count])
    content = {
        "names": [shard.names[i] for i in kept],
        "labels": None if shard.labels is None else [shard.labels[i] for i in kept],
        "sha256": digest,
        "skipped": [[image.index, image.name, image.reason] for image in skipped],
    }
    write_json(beside, content)
    return []


def _write_array(path: Path, images: np.ndarray) -> str:
    """Write an ``.npy`` and return its digest."""
    header = io.BytesIO()
    described = np.lib.format.header_data_from_array_1_0(images)
    np.lib.format.write_array_header_1_0(header, described)
    digest = hashlib.sha256()
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for part in (header.getvalue(), images.reshape(-1).data):
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; `InputError` if it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
