"""Pictures by index from folders and zip archives, and the rule that makes them one size.

The rule, whatever the form. A picture is turned as its EXIF orientation says; becomes RGB; is cut
to its central square; and is reduced to the resolution by Lanczos. Of PIL's filters Lanczos aliases
least: reducing 150 pixels to 64, what lies beyond the new band is damped by 28 dB in the mean,
against 21 dB for bicubic and 9 dB for box; what aliases would pass for detail ever after. Nothing
is ever enlarged, and a picture that has the resolution already keeps its values. JPEG's quick
decoding at a fraction of the size is not used: the same pixels would depend on the file format.

To RGB: grey is repeated; transparency is laid over white; palettes, CMYK and the like are converted
as PIL does, colour profiles ignored; of 16-bit samples the upper eight bits are kept; samples of 32
bits, whose range nothing states, are refused. Of an animation or a stack the first frame is taken.

Files count as images by their extension (`EXTENSIONS`); hidden files and folders and ``__MACOSX``
are passed over. The order is the natural one of the relative names: ``2.png`` before ``10.png``.
"""

from __future__ import annotations

import io
import os
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from theory.errors import InputError

from .class_labels import Classes, classes_of_folders, classes_of_json

LABELS_FILE = "dataset.json"
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
Read = Callable[[int], Image.Image]  # the i-th picture, in whatever mode; from any thread


class Unusable(Exception):
    """Why one picture cannot be used; ``side`` is its short side if its size is at fault."""

    def __init__(self, reason: str, side: int | None = None):
        super().__init__(reason)
        self.side = side


def fit(image: Image.Image, resolution: int, *, same_size: bool = False) -> np.ndarray:
    """Cut an RGB image to its central square and reduce it: uint8 ``(R, R, 3)``.

    Raises
    ------
    Unusable
        If it is smaller than the resolution or, under ``same_size``, not of it exactly.
    """
    width, height = image.size
    side = min(width, height)
    if same_size and image.size != (resolution, resolution):
        raise Unusable(f"{width}×{height} px, the first is {resolution}×{resolution}", side)
    if side < resolution:
        raise Unusable(f"{width}×{height} px, smaller than {resolution}", side)
    if image.size != (resolution, resolution):
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB by the module's rule.

    Raises
    ------
    Unusable
        If the mode has no agreed meaning in RGB.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unusable("32-bit samples; save it with 8 or 16 bits")
    try:
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return image.convert("RGB")
    except ValueError as error:
        raise Unusable(f"mode {image.mode} does not convert to RGB") from error


class FolderImages:
    """The image files below a folder, class folders and links included.

    Raises
    ------
    InputError
        If the folder or one below it cannot be listed, or no image is found.
    """

    def __init__(self, root: Path):
        self.root = root
        names, seen = [], set()
        try:
            for folder, below, files in os.walk(root, followlinks=True, onerror=_raise):
                if (real := os.path.realpath(folder)) in seen:  # a link that leads back
                    below.clear()
                    continue
                seen.add(real)
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
        """Classes by `class_labels`; None if there are none."""
        stated = self.root / LABELS_FILE
        if not stated.is_file():
            return classes_of_folders(self.names)
        try:
            text = stated.read_bytes()
        except OSError as error:
            raise InputError(f"{stated}: cannot be read ({error.strerror or error})") from None
        return classes_of_json(text, self.names, str(stated))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Yield a thread-safe function from an index to a picture.

        It raises `InputError` once the whole folder is gone, as a lost mount is.
        """

        def read(index: int) -> Image.Image:
            try:
                return decode((self.root / self.names[index]).read_bytes)
            except Unusable:
                if self.root.is_dir():
                    raise
            raise InputError(f"{self.root}: is gone; make it readable again and start anew")

        yield read


class ZipImages:
    """The image files of a zip archive, read in place.

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
        """Classes by `class_labels`; None if there are none."""
        names = [entry.filename for entry in self.entries]
        with self._archive() as archive:
            if LABELS_FILE not in archive.namelist():
                return classes_of_folders(names)
            try:
                text = archive.read(LABELS_FILE)
            except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
                raise InputError(f"{self.path}: {LABELS_FILE} is damaged ({error})") from None
        return classes_of_json(text, names, f"{self.path}, {LABELS_FILE}")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> str:
        return self.entries[index].filename

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Yield a thread-safe function from an index to a picture."""
        lock = threading.Lock()  # threads share the archive's place in the file
        with self._archive() as archive:

            def read_bytes(index: int) -> bytes:
                with lock:
                    return archive.read(self.entries[index])

            yield lambda index: decode(lambda: read_bytes(index))

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


def decode(read_bytes: Callable[[], bytes]) -> Image.Image:
    """Decode the first frame, upright; whatever goes wrong makes the picture `Unusable`."""
    try:
        data = read_bytes()
        if not data:
            raise Unusable("an empty file")
        image: Image.Image = Image.open(io.BytesIO(data))
        most = Image.MAX_IMAGE_PIXELS  # PIL only warns up to twice as many
        if most is not None and image.width * image.height > most:
            raise Unusable(f"{image.width}×{image.height} px, more than {most} in all")
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return image
    except (Unusable, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise Unusable("not an image") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} px in all") from error
    except OSError as error:
        raise Unusable(error.strerror or f"damaged: {error}") from error
    except Exception as error:  # on damaged files decoders raise nearly anything
        raise Unusable(f"damaged: {error}") from error


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and not name.endswith("/") and name.lower().endswith(EXTENSIONS)


def _natural(name: str) -> list[tuple[list[str | int], str]]:
    return [
        ([int(run) if run.isdigit() else run for run in re.split("([0-9]+)", part.lower())], part)
        for part in name.split("/")
    ]


def _refuse_none(where: Path, found: Sequence) -> None:
    if not found:
        raise InputError(f"{where}: holds no images; put files of {' '.join(EXTENSIONS)} there")


def _raise(error: OSError) -> None:
    raise error
