"""The built-in dataset ``photos``: random crops of the photographs in scikit-image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from theory.support.errors import InputError
from theory.support.files import package_file

from .class_labels import Classes
from .images import Images
from .unusable import smaller

# The natural colour photographs in scikit-image's wheel; its other colour files are a chart, a
# logo, a star field and medical images.
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draw random numbers in [0, 1); the i-th depends on ``seed`` and i only, not on the shape.

    They are made from the raw bits of a Philox generator, which are the same in all versions of
    NumPy.
    """
    return unit_interval(np.random.Philox(seed), int(np.prod(shape))).reshape(shape)


def unit_interval(generator: np.random.Philox, count: int) -> np.ndarray:
    """Draw ``count`` numbers in [0, 1) from the raw bits of a generator."""
    return (generator.random_raw(count) >> np.uint64(11)) * 2.0**-53


class PhotoCrops(Images):
    """Random square crops of `PHOTOGRAPHS`, each reduced to ``resolution``.

    Crop i depends on ``(seed, i)`` only, not on the count. Drawn at random are

    * the photograph, with a probability proportional to its area;
    * the side, log-uniform between ``resolution`` and the short side of the photograph, so that
      every scale has the same weight;
    * the position, uniform;
    * whether it is mirrored, with probability 1/2.

    Photographs smaller than ``resolution`` are left out, because nothing is enlarged. The files are
    read from the installed package; nothing is downloaded.

    Parameters
    ----------
    resolution
        Pixels to a side, 1 or more.
    count
        Number of crops, 1 or more.
    seed
        Seed, 0 or more.

    Raises
    ------
    InputError
        If no photograph is as large as ``resolution``, or the photographs are not installed.
    """

    usual_resolution = 64  # pixels; crops have no size of their own

    def __init__(self, resolution: int, count: int, seed: int):
        self.resolution = resolution
        paths = [_photograph(name) for name in PHOTOGRAPHS]
        sizes = np.array([_size(path) for path in paths])  # (photographs, 2): width, height
        short = sizes.min(axis=1)
        if resolution > short.max():
            raise InputError(
                f"photos: resolution {resolution} is larger than the largest photograph "
                f"({short.max()} px); {smaller(short.max())}, or give images of your own"
            )
        usable = short >= resolution
        self.paths = [path for path, keep in zip(paths, usable, strict=True) if keep]
        sizes, short = sizes[usable], short[usable]

        which, scale, x, y, mirror = uniform(seed, (count, 5)).T
        area = sizes.prod(axis=1)
        self.photograph = np.searchsorted(np.cumsum(area) / area.sum(), which, side="right")
        largest = short[self.photograph]
        side = np.rint(resolution * (largest / resolution) ** scale).astype(int)
        spare = sizes[self.photograph] - side[:, None]
        left = np.floor(x * (spare[:, 0] + 1)).astype(int)
        top = np.floor(y * (spare[:, 1] + 1)).astype(int)
        self.boxes = np.stack([left, top, left + side, top + side], axis=1)
        self.mirrored = mirror < 0.5

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> str:
        return f"crop {index}"

    def classes(self) -> Classes:
        """The photograph that each crop was taken from."""
        return Classes(self.photograph.astype(np.int64), tuple(path.stem for path in self.paths))

    @contextmanager
    def open(self) -> Iterator[Callable[[int], Image.Image]]:
        """Yield a thread-safe function from an index to an RGB image ``(R, R)``."""
        photographs = [_octaves(Image.open(path).convert("RGB")) for path in self.paths]

        def read(index: int) -> Image.Image:
            box = self.boxes[index]
            octaves = photographs[self.photograph[index]]
            # The coarsest octave that still has two source pixels or more to each pixel.
            octave = int(np.log2(max((box[2] - box[0]) / (2 * self.resolution), 1.0)))
            source = octaves[min(octave, len(octaves) - 1)]
            ratio = np.divide(source.size, octaves[0].size)
            crop = source.resize(
                (self.resolution, self.resolution),
                Image.Resampling.LANCZOS,
                box=tuple((box * np.tile(ratio, 2)).tolist()),
            )
            return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored[index] else crop

        yield read


def _octaves(image: Image.Image) -> list[Image.Image]:
    """Halve an image repeatedly, so that reducing large crops costs no more than small ones."""
    octaves = [image]
    while min(octaves[-1].size) >= 2:
        half = (octaves[-1].width // 2, octaves[-1].height // 2)
        octaves.append(octaves[-1].resize(half, Image.Resampling.LANCZOS))
    return octaves


def _photograph(name: str) -> Path:
    path = package_file("skimage", "data", name)
    if path is None:
        raise InputError(
            f"photos: {name} is missing; reinstall scikit-image, or give images of your own"
        )
    return path


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
