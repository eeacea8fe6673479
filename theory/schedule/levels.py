"""Levels: the resolutions that a schedule may use and a network must read and write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..support.errors import InputError
from .costs import network_levels


def choose_levels(resolution: int, levels: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Levels of a schedule at full resolution R, from a number, a list or the default.

    Parameters
    ----------
    resolution : int
        R in pixels.
    levels : int or sequence of int, optional
        Number of levels, each half of the one before; or the resolutions themselves in pixels,
        falling. By default as many halvings as the network for R has
        (`theory.schedule.costs.network_levels`).

    Returns
    -------
    tuple of int
        In pixels, falling.

    Raises
    ------
    InputError
        If R cannot be halved that often, or the resolutions do not fall.
    """
    if levels is None:
        levels = network_levels(resolution)
    if isinstance(levels, int | np.integer):
        return halved_levels(resolution, int(levels))
    return check_levels(levels)


def halved_levels(resolution: int, num_levels: int) -> tuple[int, ...]:
    """Levels R, R/2, R/4, …

    Parameters
    ----------
    resolution : int
        R in pixels, at least 1.
    num_levels : int
        At least 1.

    Returns
    -------
    tuple of num_levels int

    Raises
    ------
    InputError
        If a number is below 1, or R cannot be halved ``num_levels − 1`` times.
    """
    if num_levels < 1 or resolution < 1:
        raise InputError(f"levels {num_levels}, resolution {resolution}: both must be at least 1")
    most = (resolution & -resolution).bit_length()  # one more than the factors of two in R
    if num_levels > most:
        raise InputError(
            f"levels {num_levels}: {resolution} px cannot be halved {num_levels - 1} times; give "
            f"{most} or fewer, or choose another resolution"
        )
    return tuple(resolution >> i for i in range(num_levels))


def check_levels(levels: Sequence[int]) -> tuple[int, ...]:
    """Return levels as a tuple; raise `InputError` unless they are whole, positive and falling."""
    given = np.asarray(levels)
    if given.ndim != 1 or not given.size or not are_whole(given):
        raise InputError(f"levels {list(levels)}: must be a list of whole numbers of pixels")
    if given[-1] < 1 or (np.diff(given) >= 0).any():
        raise InputError(
            f"levels {list(levels)}: must be positive resolutions from the largest to the smallest"
        )
    return tuple(int(level) for level in given)


def check_first_level(levels: Sequence[int], resolution: int) -> None:
    """Raise `InputError` unless the first level is the resolution of the spectrum."""
    if levels[0] != resolution:
        raise InputError(
            f"levels {list(levels)}: must begin with the spectrum's resolution, {resolution}"
        )


def are_whole(values: np.ndarray) -> bool:
    """Whether an array holds whole numbers, of any numeric type."""
    if not np.issubdtype(values.dtype, np.number):
        return False
    return bool((np.isfinite(values) & (values == np.rint(values))).all())
