"""Datasets that come with the package, made for a resolution, a number of images and a seed."""

from __future__ import annotations

from .glyphs import Glyphs
from .photos import PhotoCrops

BUILT_IN: dict[str, type[PhotoCrops] | type[Glyphs]] = {"photos": PhotoCrops, "glyphs": Glyphs}
DEFAULT_COUNT = 8192  # images where no limit is given
