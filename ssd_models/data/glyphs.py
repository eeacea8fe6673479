"""The built-in dataset ``glyphs``: letters and digits on coloured backgrounds, with classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from theory.support.errors import InputError
from theory.support.files import package_file

from .class_labels import Classes
from .images import Images
from .photos import unit_interval

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ23456789"
"""The classes. 0 and 1 are left out because they look like O and I."""

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneralBol.ttf",
)
"""Files among matplotlib's data."""

SMALLEST = 8  # pixels; smaller characters cannot be told apart
_OVERSAMPLING = 4  # characters are drawn at this multiple of the resolution, then averaged
_NUMBERS = 14  # random numbers of a picture, without those of the background's texture


class Glyphs(Images):
    """Pictures of one random character each.

    Picture i depends on ``(seed, i)`` only, not on the count. Random are the character; its
    font, height (0.6 to 0.9 of the side), position, slant and tilt; the colours of character and
    background, whose brightness differs by at least 0.4 of the range; and the texture of the
    background, whose power falls as ``1/k²`` like that of photographs.

    Fonts are read from the installed matplotlib; nothing is downloaded.

    Parameters
    ----------
    resolution
        Pixels to a side, 8 or more.
    count
        Number of pictures, 1 or more.
    seed
        Seed, 0 or more.
    characters
        The classes, some of `CHARACTERS`; all by default.

    Raises
    ------
    InputError
        If ``resolution`` is below 8 pixels, a character is none of those, or the fonts are not
        installed.
    """

    usual_resolution = 32  # pixels; they have no size of their own

    def __init__(self, resolution: int, count: int, seed: int, characters: str = CHARACTERS):
        if resolution < SMALLEST:
            raise InputError(
                f"glyphs: resolution {resolution} is too small to tell characters apart; give "
                f"{SMALLEST} or more"
            )
        if not characters or not set(characters) <= set(CHARACTERS):
            raise InputError(f"glyphs: characters {characters!r}: choose from {CHARACTERS}")
        self.resolution, self.count, self.seed = resolution, count, seed
        self.characters = "".join(sorted(set(characters), key=CHARACTERS.index))
        self.fonts = [_font_file(name) for name in FONTS]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> str:
        return f"glyph {index}"

    def classes(self) -> Classes:
        """The character of each picture."""
        first = [self._uniform(i, 1)[0] for i in range(self.count)]
        labels = np.floor(np.array(first) * len(self.characters)).astype(np.int64)
        return Classes(labels, tuple(self.characters))

    @contextmanager
    def open(self) -> Iterator[Callable[[int], Image.Image]]:
        """Yield a thread-safe function from an index to an RGB picture of the resolution."""
        yield self._draw

    def _uniform(self, index: int, count: int) -> np.ndarray:
        """Draw random numbers in [0, 1) that depend on the seed and ``index`` only."""
        return unit_interval(np.random.Philox(key=[self.seed, index]), count)

    def _draw(self, index: int) -> Image.Image:
        size = self.resolution
        texture_size = 4 * size * (size // 2 + 1)
        drawn = self._uniform(index, _NUMBERS + texture_size)
        character, font, height, x, y, slant, tilt, sign, contrast, *hue = drawn[:_NUMBERS]
        mask = self._mask(
            self.characters[int(character * len(self.characters))],
            self.fonts[int(font * len(self.fonts))],
            0.6 + 0.3 * height,
            (0.3 * (x - 0.5) * (1 - height / 2), 0.3 * (y - 0.5) * (1 - height / 2)),
            0.5 * (slant - 0.5),
            0.4 * (tilt - 0.5),
        )
        chroma = 0.5 * (np.array(hue) - 0.5)  # of background and character, five numbers
        chroma = np.stack([np.append(chroma[:2], -chroma[:2].sum()), [*chroma[2:4], chroma[4]]])
        chroma -= chroma.mean(axis=1, keepdims=True)
        dark, bright = 0.3 - 0.1 * contrast, 0.7 + 0.1 * contrast
        back, front = (dark, bright) if sign < 0.5 else (bright, dark)
        background = back + chroma[0] + 0.07 * self._texture(drawn[_NUMBERS:])
        picture = background + mask[:, :, None] * (front + chroma[1] - background)
        return Image.fromarray(np.rint(picture.clip(0, 1) * 255).astype(np.uint8))

    def _mask(
        self,
        character: str,
        font: Path,
        height: float,
        shift: tuple[float, float],
        slant: float,
        tilt: float,
    ) -> np.ndarray:
        """Fraction of each pixel that the character covers, (R, R)."""
        side = _OVERSAMPLING * self.resolution
        canvas = Image.new("L", (side, side))
        # Capitals are 0.7 of a font's size high.
        face = _face(str(font), round(height * side / 0.73))
        ImageDraw.Draw(canvas).text((side / 2, side / 2), character, 255, face, anchor="mm")
        # Maps positions in the picture to positions on the canvas, about the centre.
        turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        matrix = np.array([[1.0, slant], [0.0, 1.0]]) @ turn
        centre = np.full(2, side / 2)
        offset = centre - matrix @ (centre + side * np.array(shift))
        affine = (*matrix[0], offset[0], *matrix[1], offset[1])
        moved = canvas.transform(
            (side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        return np.asarray(moved.reduce(_OVERSAMPLING), np.float64) / 255

    def _texture(self, uniform: np.ndarray) -> np.ndarray:
        """Noise of power ``1/k²`` that varies mostly in brightness, mean square 1, (R, R, 3)."""
        size = self.resolution
        rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
        radius = np.hypot(rows, columns)
        amplitude = np.divide(1, radius, out=np.zeros_like(radius), where=radius > 0)
        phase = np.exp(2j * np.pi * uniform.reshape(4, size, size // 2 + 1))
        fields = np.fft.irfft2(amplitude * phase, s=(size, size))
        fields /= np.sqrt((fields**2).mean(axis=(1, 2), keepdims=True))
        return (0.9 * fields[0] + 0.43 * fields[1:]).transpose(1, 2, 0)


@cache
def _face(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _font_file(name: str) -> Path:
    path = package_file("matplotlib", "mpl-data", "fonts", "ttf", name)
    if path is None:
        raise InputError(
            f"glyphs: {name} is missing; reinstall matplotlib, or give images of your own"
        )
    return path
