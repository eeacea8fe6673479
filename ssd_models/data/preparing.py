"""Writing a prepared directory (`prepared`) so that an interrupted pass can be continued."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from theory.support.cores import available_cores
from theory.support.errors import InputError
from theory.support.files import check_new_folder, check_writable, locked, write_json
from theory.support.paths import user_path

from .opening import open_images
from .prepared import (
    BEGUN,
    COMPLETE,
    FORMAT,
    IMAGES,
    PARTIAL,
    SETTINGS,
    PreparedImages,
    contents_digest,
    read_complete,
    read_record,
    sha256,
    skipped_of,
)
from .source import ImageSource
from .unusable import NoneUsable, Skipped, refusal

_SAVE_EVERY = 10.0  # seconds of work that a killed pass loses at most
_BATCH_BYTES = 2**24  # three batches are in memory
_BATCH_MOST = 256  # images


def prepare(
    data: str,
    output: str | os.PathLike[str],
    resolution: int,
    limit: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    skipped: list[Skipped] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Decode and resize images once, into a directory that `open_images` reads.

    A pass that was stopped is continued by the next one with the same settings. The files have the
    same bytes for any number of threads, whether or not the pass was interrupted.

    Parameters
    ----------
    data, resolution, limit, seed
        As in `open_images`.
    output
        A new folder, or one that was begun with the same settings.
    workers : int, optional
        Threads that decode, 1 or more; by default one for each core.
    skipped : list, optional
        Leave unusable images out and append them here, those of earlier passes included. Without
        it, unusable images are refused.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    record : dict
        Content of ``prepared.json``.

    Raises
    ------
    InputError
        If the data cannot be used, or ``output`` cannot be written or holds something else.
    """
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise InputError(f"workers {workers}: give 1 or more")
    source = open_images(data, resolution, limit=limit, seed=seed)
    settings: dict[str, Any] = {
        "source": data,
        "resolution": resolution,
        "channels": source.channels,
        "limit": limit,
        "seed": seed,
        "images": len(source),
        "contents_sha256": contents_digest(source.names(), source.classes()),
    }
    root = user_path(output)
    _check_folder(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            record = _begin(root, settings, skip=skipped is not None)
            if not (root / COMPLETE).is_file():
                _write_images(root, source, record, workers, skipped is not None, progress)
                _complete(root, source, record, progress)
    except OSError as error:
        raise InputError(
            f"{root}: cannot be written ({error.strerror or error}); make room on that disk, or "
            "mend it, and run the same command again"
        ) from error
    record = read_complete(root)
    if skipped is not None:
        skipped += skipped_of(record)
    return record


def _check_folder(root: Path) -> None:
    """Refuse a folder that holds something else or cannot be written; nothing is created."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    begun = COMPLETE in names or BEGUN in names
    # A pass that was killed at once leaves its lock and the temporary file of its first record.
    if begun or (names and all(name.startswith((".lock", ".preparing.")) for name in names)):
        check_writable(root / COMPLETE)
    else:
        check_new_folder(root)


def _begin(root: Path, settings: dict[str, Any], *, skip: bool) -> dict[str, Any]:
    """Return the record of what is done; the caller holds the lock.

    A complete directory stays as it is, unless images were left out that no longer may be: then it
    becomes one to be continued, from the first of these images on.

    Raises
    ------
    InputError
        If the directory was begun with other settings.
    """
    for left in root.glob(".prepar*"):  # temporary files of a pass that was killed
        left.unlink()
    complete, images, partial = root / COMPLETE, root / IMAGES, root / PARTIAL
    if complete.is_file():
        record = read_complete(root)
        record["done"] = record["images"]
    elif (root / BEGUN).is_file():
        record = read_record(root / BEGUN)
    else:
        record = {"format": FORMAT, **settings, "skipped": [], "done": 0}
    differing = [
        f"{name} {record[name]!r}, not {settings[name]!r}"
        for name in SETTINGS
        if record[name] != settings[name] and name != "contents_sha256"
    ]
    if not differing and record["contents_sha256"] != settings["contents_sha256"]:
        differing = ["images of other names or labels"]
    if differing:
        raise InputError(f"{root}: was begun with {'; '.join(differing)}; choose another folder")
    reopen = bool(record["skipped"]) and not skip
    if complete.is_file() and not reopen:
        PreparedImages(root, None)  # refuses it if it is damaged
        (root / BEGUN).unlink(missing_ok=True)  # if the pass was killed just before it did
        return record
    record = {name: record[name] for name in ("format", *SETTINGS, "skipped", "done")}
    if reopen:
        record.update(done=record["skipped"][0][0], skipped=[])
    write_json(root / BEGUN, record)
    complete.unlink(missing_ok=True)
    if images.is_file():  # else, if a pass was killed just before it wrote prepared.json
        os.replace(images, partial)
    return record


def _write_images(
    root: Path,
    source: ImageSource,
    record: dict[str, Any],
    threads: int,
    skip: bool,
    progress: bool,
) -> None:
    """Append the images that are not done to ``preparing.npy``; update ``preparing.json``."""
    path = root / PARTIAL
    shape = (source.resolution, source.resolution, source.channels)
    row = int(np.prod(shape))
    with open(path, "r+b" if path.is_file() else "w+b") as file:
        start = _write_header(file, (len(source), *shape))
        kept = record["done"] - len(record["skipped"])
        if path.stat().st_size < start + row * kept:  # not the file that was recorded
            record.update(done=0, skipped=[])
            kept = 0
        file.truncate(start + row * kept)
        file.seek(start + row * kept)
        left_out = skipped_of(record)
        saved = time.monotonic()

        def save() -> None:
            file.flush()
            os.fsync(file.fileno())
            record["done"] = kept + len(left_out)
            record["skipped"] = [[image.index, image.name, image.reason] for image in left_out]
            write_json(root / BEGUN, record)

        size = max(1, min(_BATCH_MOST, _BATCH_BYTES // row))
        batches = source.batches(
            size,
            progress=progress,
            skipped=left_out if skip else None,
            threads=threads,
            first=record["done"],
        )
        for batch in batches:
            file.write(batch.data)
            kept += len(batch)
            if time.monotonic() - saved >= _SAVE_EVERY:
                save()
                saved = time.monotonic()
        if len(left_out) == len(source):
            raise NoneUsable(
                refusal(source.name, left_out, len(source), len(source), source.resolution)
            )
        _write_header(file, (len(source) - len(left_out), *shape))
        save()


def _complete(root: Path, source: ImageSource, record: dict[str, Any], progress: bool) -> None:
    """Give the files their final names."""
    kept = source.without(skipped_of(record))
    names, classes = kept.names(), kept.classes()
    content = {name: record[name] for name in ("format", *SETTINGS, "skipped")} | {
        "count": len(kept),
        "classes": None if classes is None else list(classes.names),
        "sha256": sha256(root / PARTIAL, progress=progress),
        "names_sha256": contents_digest(names, classes),
        "names": names,
        "labels": None if classes is None else classes.labels.tolist(),
    }
    os.replace(root / PARTIAL, root / IMAGES)
    write_json(root / COMPLETE, content)
    (root / BEGUN).unlink()


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of an ``.npy`` of uint8 at the beginning; return its length in bytes.

    NumPy leaves room for any first dimension, so that the length does not depend on it.
    """
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
