"""The rule that makes pictures of any form one size.

A picture is turned as its EXIF orientation says; becomes RGB; is cut to its central square; and is
reduced to the resolution by Lanczos. Of PIL's filters Lanczos aliases least: reducing 150 pixels to
64, what lies beyond the new band is damped by 28 dB in the mean, against 21 dB for bicubic and 9 dB
for box; what aliases would pass for detail ever after. Nothing is ever enlarged, and a picture that
has the resolution already keeps its values. JPEG's quick decoding at a fraction of the size is not
used: the same pixels would depend on the file format.

To RGB: grey is repeated; transparency is laid over white; palettes, CMYK and the like are converted
as PIL does, colour profiles ignored; of 16-bit samples the upper eight bits are kept; samples of 32
bits, whose range nothing states, are refused. Of an animation or a stack the first frame is taken.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from theory.support.errors import InputError

MOST_BYTES = 2**29  # of a file that is read into memory
# In whatever mode; or uint8 (H, W, C), of channels that are no colours.
Picture = Image.Image | np.ndarray
Read = Callable[[int], Picture]  # the i-th picture; from any thread


class Unusable(Exception):
    """Why one picture cannot be used; ``side`` is its short side if its size is at fault."""

    def __init__(self, reason: str, side: int | None = None):
        super().__init__(reason)
        self.side = side


def fit(picture: Picture, resolution: int, *, same_size: bool = False) -> np.ndarray:
    """Cut a picture to its central square and reduce it: uint8 ``(R, R, C)``.

    It becomes RGB, but for arrays of channels, which stay what they are.

    Raises
    ------
    Unusable
        If it is smaller than the resolution or, under ``same_size``, not of it exactly.
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
    image: Image.Image = Image.open(io.BytesIO(data))
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
