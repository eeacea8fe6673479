"""Checking the checksums of a prepared directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from theory.support.errors import InputError
from theory.support.progress import progress_bar

from .prepared import read_manifest, sha256


def verify(root: Path, *, progress: bool = False) -> dict[str, Any]:
    """Read all files of a prepared directory, and return its manifest if none is damaged.

    Raises
    ------
    InputError
        Naming the files that are damaged or missing, or what is wrong with the directory.
    """
    manifest = read_manifest(root)
    damaged = []
    for shard in progress_bar(manifest["shards"], desc=str(root), unit="shard", shown=progress):
        path = root / shard["file"]
        for file, digest in ((path, "sha256"), (path.with_suffix(".json"), "sidecar_sha256")):
            try:
                if sha256(file) != shard[digest]:
                    damaged.append(file.name)
            except OSError as error:
                damaged.append(f"{file.name} ({error.strerror})")
    if damaged:
        raise InputError(
            f"{root}: {len(damaged)} of {2 * len(manifest['shards'])} files are damaged: "
            f"{', '.join(damaged)}; remove them and run the same `ssd prepare` again"
        )
    return manifest
