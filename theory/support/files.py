"""Writing files and folders that appear under their final name complete or not at all."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError
from .paths import user_path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` when the block succeeds.

    The temporary file is flushed to disk before the rename and removed if the block raises, so
    readers see the old file or the complete new one. It has the suffix of ``path``, for writers
    that choose the format by it.

    Raises
    ------
    InputError
        If the folder of ``path`` cannot be created or written to, or writing fails.
    """
    check_writable(path)
    final = user_path(path)
    temporary: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=final.parent, prefix=f".{final.stem}.", suffix=final.suffix
        )
        os.close(handle)
        temporary = Path(name)
    except OSError as error:
        raise InputError(
            f"{final}: cannot be written ({error.strerror or error}); choose another output path"
        ) from error
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files
        os.replace(temporary, final)
    except OSError as error:
        raise InputError(
            f"{final}: cannot be written ({error.strerror or error}); free space on that disk, or "
            "check it, and run the same command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = 1) -> None:
    """Write a JSON file by `atomic_path`; ``indent`` None writes it on one line."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise `InputError` if a file cannot be written; nothing is created.

    To be called before long work, at the end of which `atomic_path` would fail.
    """
    final = user_path(path)
    if final.is_dir():
        raise InputError(f"{final}: is a folder; give the name of a file to write")
    folder = next(parent for parent in final.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{final}: cannot be written ({folder} is not a folder)")
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        raise InputError(
            f"{final}: cannot be written (no permission in {folder}); choose another output path"
        )


def check_new_folder(path: str | os.PathLike[str]) -> None:
    """Raise `InputError` if a folder is not empty or cannot be written; nothing is created."""
    folder = user_path(path)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    check_writable(folder / "new" if folder.exists() else folder)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` when the block succeeds.

    It is removed if the block raises, so that ``path`` never holds an incomplete folder. A lock
    keeps other processes from writing the same folder in this way at the same time.

    Raises
    ------
    InputError
        If ``path`` is not empty, another process is writing it, or files cannot be written.
    """
    check_new_folder(path)
    final = user_path(path)
    try:
        with _written_aside(final) as aside:
            check_new_folder(path)  # another process may have written it before the lock was held
            yield aside
            _flush_all(aside)
            if final.exists():
                final.rmdir()  # only if it is empty still
            os.replace(aside, final)
            _flush(final.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


@contextmanager
def replaced_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it replaces ``path`` when the block succeeds.

    Its files are flushed to disk before it is renamed. If the block raises, it is removed and
    ``path`` stays as it was.

    Raises
    ------
    InputError
        If another process is writing it.
    """
    final = user_path(path)
    with _written_aside(final) as aside:
        yield aside
        _flush_all(aside)
        if final.exists():
            os.replace(final, _old(final))
        os.replace(aside, final)
        _flush(final.parent)


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Lock a folder for this process while the block runs; an empty file ``.lock`` remains.

    The operating system releases the lock when the process ends for any reason. On file systems
    without locks nothing is locked.

    Raises
    ------
    InputError
        If another process holds the lock.
    """
    with _holding(Path(folder) / ".lock", folder):
        yield


@contextmanager
def _holding(file: Path, what: str | os.PathLike[str]) -> Iterator[None]:
    from filelock import FileLock, Timeout  # here, as it takes a tenth of a second

    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{what}: another process writes there; wait for it or stop it") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _written_aside(final: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside ``final``, locked for this process."""
    aside, claim = final.with_name(f".{final.name}.partial"), final.with_name(f".{final.name}.lock")
    final.parent.mkdir(parents=True, exist_ok=True)
    with _holding(claim, final):
        try:
            for left in (aside, _old(final)):  # left by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            aside.mkdir()
            yield aside
        finally:
            for left in (aside, _old(final)):
                shutil.rmtree(left, ignore_errors=True)
            with suppress(OSError):  # Windows removes it itself
                claim.unlink()


def _old(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _flush_all(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            os.chmod(file, 0o666 & ~_umask())  # some writers make private files
        _flush(file)
    _flush(folder)


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot flush a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def package_file(package: str, *parts: str) -> Path | None:
    """Path of a file inside an installed package, without importing it; None if it is missing."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], *parts) if folders else None
    return path if path is not None and path.is_file() else None
