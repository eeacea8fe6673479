"""Choosing the resolution of a dataset when none is given."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from theory.schedule.costs import network_size
from theory.support.errors import InputError

from .built_in import BUILT_IN, built_in
from .opening import choose_images

LARGEST = 256  # pixels; diffusion in pixel space is rarely trained above
_LOOKED_AT = 1000  # images whose headers are read, evenly spaced over the data
_FEW = 0.05  # fraction of images that may be left out as too small


@dataclass(frozen=True)
class Choice:
    """A resolution and why it was chosen."""

    resolution: int
    reason: str

    def __str__(self) -> str:
        return f"resolution {self.resolution}: {self.reason}; --resolution R chooses another"


def choose_resolution(
    data: str | os.PathLike[str],
    limit: int | None = None,
    seed: int = 0,
    skip_small: bool = False,
) -> Choice:
    """Choose the largest resolution, up to `LARGEST`, at which no image must be enlarged.

    It is rounded down to one that the network can halve often enough.

    Parameters
    ----------
    data, limit, seed
        As in `open_images`.
    skip_small : bool
        One image in twenty may be smaller than the resolution, because it will be left out.

    Raises
    ------
    InputError
        If the data cannot be used, or the size of no image can be read.
    """
    if isinstance(data, str) and built_in(data):
        usual = BUILT_IN[data.partition(":")[0]].usual_resolution
        return Choice(usual, "built-in images have no size of their own")
    images, indices, _ = choose_images(data, None, limit, seed)
    places = np.unique(np.linspace(0, len(indices) - 1, _LOOKED_AT).astype(int))
    looked_at = [indices[place] for place in places]
    found = [
        (side, images[index])
        for side, index in zip(images.short_sides(looked_at), looked_at, strict=True)
        if side
    ]
    if not found:
        raise InputError(
            f"{os.fsdecode(data)}: the size of no image can be read; give --resolution to see why"
        )
    found.sort()
    side, name = found[int(_FEW * len(found)) if skip_small else 0]
    middle = found[len(found) // 2][0]
    size = network_size(min(side, LARGEST))
    if side == found[-1][0]:
        reason = f"the images have {side} px"
    elif skip_small and side > found[0][0]:
        reason = f"nearly all images have {side} px or more, half {middle} or more"
    else:
        all_of_them = "every image has"
        if len(looked_at) < len(indices):
            all_of_them = f"of {len(looked_at):,} images looked at, each has"
        reason = f"{all_of_them} {side} px or more (the smallest is {name}), half {middle} or more"
    if side > LARGEST:
        reason += f"; more than {LARGEST} are used on request only"
    elif size < side:
        reason += f"; rounded down from {side}, so that the network can halve it"
    return Choice(size, reason)
