"""Image files in folders and zip archives.

Images are the files with one of the `EXTENSIONS`, except hidden ones and those in hidden folders or
``__MACOSX``. They are sorted by name, numbers by their value: ``2.png`` comes before ``10.png``.
"""

from __future__ import annotations

import os
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from theory.support.errors import InputError

from .class_labels import Classes, classes_of_folders, classes_of_json
from .decoding import MOST_BYTES, check_size
from .images import EncodedImages

LABELS_FILE = "dataset.json"
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


class FolderImages(EncodedImages):
    """The image files below a folder, in subfolders and behind links too.

    Raises
    ------
    InputError
        If the folder or one below it cannot be listed, or no image is found.
    """

    def __init__(self, root: Path):
        self.root = root
        names = []
        try:
            for folder, below, files in os.walk(root, followlinks=True, onerror=_raise):
                if _leads_back(folder, root):
                    below.clear()
                    continue
                below.sort()
                relative = Path(folder).relative_to(root)
                names += [(relative / file).as_posix() for file in files]
        except OSError as error:
            raise InputError(
                f"{error.filename}: cannot be listed ({error.strerror}); allow reading it"
            ) from error
        self.names = sorted(filter(_is_image, names), key=_natural)
        _refuse_none(root, self.names)

    def classes(self) -> Classes | None:
        """Classes from ``dataset.json``, else from the names of folders; None if there are none."""
        places = _places_of_labels(self.names)
        place = next((p for p in places if (self.root / p / LABELS_FILE).is_file()), None)
        if place is None:
            return classes_of_folders(self.names)
        stated = self.root / place / LABELS_FILE
        try:
            text = stated.read_bytes()
        except OSError as error:
            raise InputError(f"{stated}: cannot be read ({error.strerror or error})") from None
        return classes_of_json(text, [name[len(place) :] for name in self.names], str(stated))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], bytes]]:
        """Yield a thread-safe function from an index to the content of a file.

        It raises `InputError` if the whole folder is gone, as after a lost mount.
        """
        yield self._read

    def _read(self, index: int) -> bytes:
        path = self.root / self.names[index]
        try:
            check_size(path.stat().st_size)
            return path.read_bytes()
        except OSError:
            if self.root.is_dir():
                raise
        raise InputError(f"{self.root}: is gone; make it readable again and start anew")


class ZipImages(EncodedImages):
    """The image files of a zip archive, read without unpacking it.

    Raises
    ------
    InputError
        If the archive cannot be opened, is damaged or encrypted, or holds no image.
    """

    def __init__(self, path: Path):
        self.path = path
        with self._archive() as archive:
            found = [entry for entry in archive.infolist() if _is_image(entry.filename)]
        self.entries = sorted(found, key=lambda entry: _natural(entry.filename))
        _refuse_none(path, self.entries)
        if any(entry.flag_bits & 1 for entry in self.entries):
            raise InputError(f"{path}: is encrypted; unpack it and give the folder")

    def classes(self) -> Classes | None:
        """Classes from ``dataset.json``, else from the names of folders; None if there are none."""
        names = [entry.filename for entry in self.entries]
        with self._archive() as archive:
            held, places = set(archive.namelist()), _places_of_labels(names)
            place = next((p for p in places if p + LABELS_FILE in held), None)
            if place is None:
                return classes_of_folders(names)
            stated = place + LABELS_FILE
            try:
                if (size := archive.getinfo(stated).file_size) > MOST_BYTES:
                    raise zipfile.BadZipFile(f"{size} bytes, more than {MOST_BYTES}")
                text = archive.read(stated)
            except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:
                # RuntimeError: it is encrypted, or compressed in an unknown way.
                raise InputError(
                    f"{self.path}: {stated} cannot be read ({error}); pack the archive again"
                ) from None
        return classes_of_json(
            text, [name[len(place) :] for name in names], f"{self.path}, {stated}"
        )

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> str:
        return self.entries[index].filename

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], bytes]]:
        """Open the archive; yield a thread-safe function from an index to the content of a file."""
        lock = threading.Lock()  # threads share the archive's position in the file
        with self._archive() as archive:

            def read(index: int) -> bytes:
                check_size(self.entries[index].file_size)
                with lock:
                    return archive.read(self.entries[index])

            yield read

    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise InputError(
                f"{self.path}: is not a zip archive, or a truncated one ({error}); copy it again"
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be read ({error.strerror or error}); allow reading it"
            ) from error


def _leads_back(folder: str, root: Path) -> bool:
    """Whether a folder below ``root`` is a link to one that it lies in: it would never end."""
    if not os.path.islink(folder):
        return False
    real = os.path.realpath(folder)
    above = [path for path in Path(folder).parents if path.is_relative_to(root)]
    return any(Path(os.path.realpath(path)).is_relative_to(real) for path in above)


def _places_of_labels(names: Sequence[str]) -> list[str]:
    """Folders in which a ``dataset.json`` may lie: those that hold all images.

    Archives often hold one folder with everything else in it. The folders end in ``/``, but for the
    first, which is empty.
    """
    parts = names[0].split("/")[:-1]
    folders = ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts) + 1)]
    return [folder for folder in folders if all(name.startswith(folder) for name in names)]


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and not name.endswith("/") and name.lower().endswith(EXTENSIONS)


def _natural(name: str) -> list[tuple[list[str | tuple[int, str]], str]]:
    """Sort key of a name: runs of the digits 0 to 9 by their value, the rest as text."""
    return [(_runs(part.lower()), part) for part in name.split("/")]


def _runs(text: str) -> list[str | tuple[int, str]]:
    runs: list[str | tuple[int, str]] = []
    for place, run in enumerate(re.split("([0-9]+)", text)):  # text and digits alternate
        digits = run.lstrip("0")
        runs.append((len(digits), digits) if place % 2 else run)
    return runs


def _refuse_none(where: Path, found: Sequence) -> None:
    if not found:
        raise InputError(f"{where}: holds no images; put files of {' '.join(EXTENSIONS)} there")


def _raise(error: OSError) -> None:
    raise error
