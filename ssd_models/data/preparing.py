"""Writing a prepared directory (`prepared`), in several processes, so that it can be resumed."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from theory.support.cores import available_cores
from theory.support.errors import InputError
from theory.support.files import check_new_folder, check_writable, locked
from theory.support.paths import user_path
from theory.support.progress import progress_bar

from .json_fields import read_fields, read_json
from .opening import open_images
from .prepared import (
    BEGUN,
    COMPLETE,
    CONTENTS,
    FORMAT,
    check_format,
    contents_digest,
    images_per_shard,
    read_manifest,
    sha256,
)
from .shard_writing import Shard, write_json, write_shard
from .source import ImageSource
from .unusable import ENOUGH, NoneUsable, Skipped, refusal
from .workers import run_tasks


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

    What was finished before stays, so that a pass that was stopped goes on from there; the files
    have the same bytes then, and for any number of workers.

    Parameters
    ----------
    data, resolution, limit, seed
        As in `open_images`.
    output
        A new folder, or one that was begun with the same settings.
    workers : int, optional
        Processes, each with one thread that decodes; by default as many as there are cores. If
        there are fewer shards, so are the processes, and they have more threads.
    skipped : list, optional
        Leave unusable images out and append them here, those of an earlier pass too. Without it all
        are looked for, up to a hundred, and refused; shards without any are kept.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    manifest : dict
        Content of ``prepared.json``.

    Raises
    ------
    InputError
        If the data cannot be used, the folder is another's, or it cannot be written.
    """
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise InputError(f"workers {workers}: give 1 or more")
    opened = partial(open_images, data, resolution, limit=limit, seed=seed)
    source = opened()
    if source.channels != 3:
        raise InputError(
            f"{data}: has {source.channels} channels; such arrays are not prepared, give them to "
            "`ssd train` as they are"
        )
    names, classes = source.names(), source.classes()
    contents: dict[str, Any] = {
        "source": data,
        "resolution": resolution,
        "limit": limit,
        "seed": seed,
        "images": len(source),
        "contents_sha256": contents_digest(names, classes),
    }
    root = user_path(output)
    _claim(root, contents)
    labels = None if classes is None else classes.labels.tolist()
    size = images_per_shard(resolution)
    shards = [
        Shard(
            root,
            number,
            resolution,
            positions=range(start, min(start + size, len(source))),
            names=names[start : start + size],
            labels=None if labels is None else labels[start : start + size],
            skip=skipped is not None,
        )
        for number, start in enumerate(range(0, len(source), size))
    ]
    with locked(root):
        for left in root.glob(".images_*"):  # temporary files of a pass that was killed
            left.unlink(missing_ok=True)
        missing = [shard for shard in shards if not shard.is_finished()]
        if missing or not (root / COMPLETE).is_file():
            (root / COMPLETE).unlink(missing_ok=True)
            done = len(source) - sum(len(shard.positions) for shard in missing)
            bar = progress_bar(
                total=len(source), initial=done, desc=data, unit="img", shown=progress
            )
            with bar:
                _write_all(partial(_kept_open, opened), missing, source, workers, bar)
            class_names = None if classes is None else classes.names
            write_json(root / COMPLETE, _manifest(shards, contents, class_names))
    if skipped is not None:
        skipped += [image for shard in shards for image in shard.sidecar().skipped]
    return read_manifest(root)


def _claim(root: Path, contents: dict[str, Any]) -> None:
    """Make the folder, or check that it was begun with the same contents."""
    path = root / BEGUN
    if not path.is_file():
        check_new_folder(root)
        write_json(path, {"format": FORMAT, **contents})
        return
    remedy = "choose another folder"
    begun = read_fields(check_format(read_json(path, remedy), path), CONTENTS, path, remedy)
    differing = [
        f"{name} {begun[name]!r}, not {value!r}"
        for name, value in contents.items()
        if begun[name] != value and name != "contents_sha256"
    ]
    if not differing and begun["contents_sha256"] != contents["contents_sha256"]:
        differing = ["images of other names or labels"]
    if differing:
        raise InputError(f"{root}: was begun with {'; '.join(differing)}; choose another folder")
    check_writable(root / COMPLETE)


def _kept_open(opened: partial[ImageSource]) -> AbstractContextManager[ImageSource]:
    return opened().kept_open()


def _write_all(
    setup: partial[AbstractContextManager[ImageSource]],
    shards: list[Shard],
    source: ImageSource,
    workers: int,
    bar: tqdm,
) -> None:
    """Write shards; `InputError` if images are unusable and not to be left out."""
    unusable: list[Skipped] = []
    with closing(run_tasks(setup, write_shard, shards, workers, bar.update)) as results:
        for found in results:
            unusable += found
            if len(unusable) >= ENOUGH:
                break
    if unusable:
        unusable.sort(key=lambda image: image.index)
        examined = max(int(bar.n), len(unusable))
        raise InputError(refusal(source.name, unusable, examined, len(source), source.resolution))


def _manifest(
    shards: list[Shard], contents: dict[str, Any], classes: tuple[str, ...] | None
) -> dict[str, Any]:
    """Content of ``prepared.json``, from what the sidecars say."""
    entries, skipped = [], []
    for shard in shards:
        path, beside = shard.paths
        sidecar = shard.sidecar()
        skipped += sidecar.skipped
        entries.append(
            {
                "file": path.name,
                "count": len(sidecar.names),
                "bytes": path.stat().st_size,
                "sha256": sidecar.sha256,
                "sidecar_sha256": sha256(beside),
            }
        )
    total = contents["images"]
    if len(skipped) == total:
        raise NoneUsable(refusal(contents["source"], skipped, total, total, contents["resolution"]))
    return {
        "format": FORMAT,
        **contents,
        "count": total - len(skipped),
        "skipped": len(skipped),
        "classes": None if classes is None else list(classes),
        "shards": entries,
    }
