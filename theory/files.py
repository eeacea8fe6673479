"""Writing files so that a final name never holds half a file."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` when the block succeeds.

    The temporary file is flushed to disk before the rename and removed if the block raises, so a
    reader sees the old file or the whole new one. The suffix of ``path`` is kept, for writers that
    read the format from it.

    Raises
    ------
    InputError
        If the folder of ``path`` cannot be created or written to, or writing fails.
    """
    check_writable(path)
    final = Path(path)
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
            f"{final}: cannot be written ({error.strerror or error}); make room on that disk, or "
            "mend it, and run the same command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse an output path that cannot be written, before long work is spent on it.

    Nothing is created. Raises `InputError` as `atomic_path` would at the end of that work.
    """
    final = Path(path)
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
    """Refuse an output folder that is in use or cannot be written; nothing is created."""
    folder = Path(path)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    check_writable(folder / "new" if folder.exists() else folder)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` when the block succeeds.

    It is removed if the block raises, so that ``path`` never holds half of what was to be written.

    Raises
    ------
    InputError
        As `check_new_folder`, or if files cannot be written.
    """
    check_new_folder(path)
    try:
        with replaced_folder(path) as aside:
            yield aside
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


@contextmanager
def replaced_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; when the block succeeds it takes that one's place.

    Its files are flushed to disk before it is renamed. It is removed if the block raises, and what
    was at ``path`` stays then.
    """
    final = Path(path)
    aside = final.with_name(f".{final.name}.partial")
    old = final.with_name(f".{final.name}.old")
    for left in (aside, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        yield aside
        for file in aside.rglob("*"):
            if file.is_file():
                os.chmod(file, 0o666 & ~_umask())  # some writers make private files
            _flush(file)
        _flush(aside)
        if final.exists():
            os.replace(final, old)
        os.replace(aside, final)
        _flush(final.parent)
    finally:
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder that one process at a time may write to; it leaves an empty file ``.lock``.

    The lock ends with the process, however that ends. Where a file system knows no locks there is
    none.

    Raises
    ------
    InputError
        If another process holds it.
    """
    handle = os.open(Path(folder) / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(
            f"{folder}: another process writes there; wait for it or stop it"
        ) from None
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(handle)


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
