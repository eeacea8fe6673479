"""Decoding pictures, and reducing them to one size.

Every picture is treated in the same way:

1. It is rotated or mirrored as its EXIF orientation says.
2. It is converted to RGB.
3. It is cropped to its central square.
4. It is reduced to the resolution by PIL's Lanczos filter. Pictures of that size keep their values;
   smaller ones are refused, never enlarged.

Of PIL's filters Lanczos aliases least: reducing 150 pixels to 64, it attenuates frequencies beyond
the new band by 28 dB on average, bicubic by 21 dB, box by 9 dB. Decoding JPEG directly at a
fraction of its size is faster but not used, because pixels would then depend on the file format.

| stored as | becomes |
| --- | --- |
| grey | three equal channels |
| transparent | composited over white |
| palette, CMYK, other modes | converted by PIL, colour profiles ignored |
| 16-bit samples | their upper eight bits |
| 32-bit samples | refused, because nothing states their range |
| animation or stack | its first frame |
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from theory.support.errors import InputError

from .unusable import Unusable

# Formats of the extensions that folders are searched for, and no others: some start programs (EPS).
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MOST_BYTES = 2**29  # largest file that is read into memory

Picture = Image.Image | np.ndarray
"""An image of any mode, or an array uint8 ``(H, W, C)`` whose channels are not RGB."""

Read = Callable[[int], Picture]
"""Function from an index to a picture that several threads may call."""


def fit(picture: Picture, resolution: int, *, same_size: bool = False) -> np.ndarray:
    """Crop a picture to its central square and reduce it to the resolution.

    Parameters
    ----------
    picture
        An image is converted to RGB; the channels of an array are kept.
    resolution
        R, pixels.
    same_size
        Refuse pictures that are not ``(R, R)`` already.

    Returns
    -------
    pixels : (R, R, C) uint8 array

    Raises
    ------
    Unusable
        If the picture is smaller than the resolution, has another size under ``same_size``, or
        does not convert to RGB.
    """
    if isinstance(picture, np.ndarray):
        channels = [Image.fromarray(channel) for channel in np.moveaxis(picture, -1, 0)]
        fitted = [_fit(channel, resolution, same_size) for channel in channels]
        return np.stack(fitted, axis=-1)
    return _fit(to_rgb(picture), resolution, same_size)


def _fit(image: Image.Image, resolution: int, same_size: bool) -> np.ndarray:
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
    """Convert an image of any mode to RGB, as the table of this module says.

    Raises
    ------
    Unusable
        If the image has 32-bit samples, or PIL cannot convert its mode.
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


def check_size(size: int) -> None:
    """Raise `Unusable` if a file is too large to be read into memory.

    An archive of a megabyte may claim to hold a gigabyte.
    """
    if size > MOST_BYTES:
        raise Unusable(f"{size} bytes, more than {MOST_BYTES}")


def decode(read_bytes: Callable[[], bytes]) -> Image.Image:
    """Decode the first frame of an image file, and turn it upright.

    Parameters
    ----------
    read_bytes
        Returns the content of the file.

    Raises
    ------
    Unusable
        If the file cannot be read or decoded.
    """
    with _unusable():
        image = _opened(read_bytes())
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return image


def short_side(read_bytes: Callable[[], bytes]) -> int:
    """Short side of a picture in pixels, from the header of its file; otherwise as `decode`."""
    with _unusable():
        return min(_opened(read_bytes()).size)


def _opened(data: bytes) -> Image.Image:
    """Read the header of an image file."""
    if not data:
        raise Unusable("an empty file")
    image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    most = Image.MAX_IMAGE_PIXELS  # PIL only warns up to twice as many
    if most is not None and image.width * image.height > most:
        raise Unusable(f"{image.width}×{image.height} px, more than {most} in all")
    return image


@contextmanager
def _unusable() -> Iterator[None]:
    """Turn whatever exception one picture causes into `Unusable`, with the reason."""
    try:
        yield
    except (Unusable, InputError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise Unusable("not an image") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} px in all") from error
    except OSError as error:
        raise Unusable(error.strerror or f"damaged: {error}") from error
    except Exception as error:  # on damaged files decoders raise nearly anything
        raise Unusable(f"damaged: {error}") from error
