"""Datasets that come with the package, made for a resolution, a number of images and a seed."""

from __future__ import annotations

from functools import partial

from .glyphs import Glyphs
from .photos import PhotoCrops

BUILT_IN: dict[str, type[PhotoCrops] | type[Glyphs]] = {"photos": PhotoCrops, "glyphs": Glyphs}
DEFAULT_COUNT = 8192  # images where no limit is given


def built_in(data: object) -> type[PhotoCrops] | type[Glyphs] | partial[Glyphs] | None:
    """What makes the built-in images that ``data`` names; None if it names others.

    Names are those of `BUILT_IN`, and ``glyphs:ABC`` for the characters A, B and C alone.
    """
    if not isinstance(data, str):
        return None
    name, colon, characters = data.partition(":")
    if name == "glyphs" and colon:
        return partial(Glyphs, characters=characters)
    return BUILT_IN.get(data)
