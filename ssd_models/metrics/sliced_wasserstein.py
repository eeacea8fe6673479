"""Sliced Wasserstein distance between patches, level by level of a Laplacian pyramid.

Karras et al. 2018, "Progressive growing of GANs", section 5: patches of each level say whether
structures of that scale look alike, whatever their place in the image. The pyramid is theirs, with
Burt & Adelson's binomial filter; that of `theory.images.pyramid` smooths with a Gaussian and
interpolates.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import correlate1d

from theory.support.cores import available_cores
from theory.support.errors import InputError

from .checks import check_pair
from .estimates import GROUPS, Estimate, image_groups

SMALLEST = 16  # pixels of the coarsest level, at least
PATCH = 7  # pixels to a side of a patch
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
_CHUNK = 2**22  # pixel values whose pyramid is made at once
_DIRECTIONS = 16  # projected at once, so that memory does not grow with their number
_SCALE = 1000.0
_SAMPLED, _REFERENCE, _SLICES = range(3)  # streams of random numbers


def pyramid_sides(resolution: int) -> list[int]:
    """Side of each level in pixels, finest first: halved, rounding up, down to 16 or more."""
    sides = []
    while resolution >= SMALLEST:
        sides.append(resolution)
        resolution = -(-resolution // 2)
    return sides


def sliced_wasserstein(
    sampled: np.ndarray,
    reference: np.ndarray,
    seed: int = 0,
    patches: int = 128,
    directions: int = 128,
    repeats: int = 4,
    groups: int = GROUPS,
) -> Estimate:
    """Mean Wasserstein-1 distance of the patches' projections on random directions, times 1000.

    Descriptors are ``patches`` random 7×7 patches of each image and level, normalized in each set
    to mean 0 and standard deviation 1 per channel. The coarsest level is the low-pass image.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) uint8
        As many of each, R at least 16.
    seed : int
        Of patches and directions.
    patches : int
        Of an image and level.
    directions, repeats : int
        Unit directions are ``repeats`` times ``directions``, new ones for each level.

    Returns
    -------
    Estimate of (levels + 1,)
        Each level, finest first (`pyramid_sides`), then their mean. The jackknife leaves images out
        of the sorted projections and keeps the normalization, patches and directions, so that it
        measures the spread over images alone. Of levels that hardly differ it gives too much, two
        to four times the spread over splits of faces: their distances are little else than the
        size of chance itself, which is no smooth function of the images.

    Raises
    ------
    InputError
        If the sets differ in size or number, or have too small or too few images.

    Notes
    -----
    Memory is that of both sets' patches of one level, ``4 · 49 C`` bytes each, and 16 of their
    projections at a time. Random numbers follow from seed, level and purpose, see `patch_places`
    and `slices`.
    """
    check_pair(sampled, reference, at_least=groups)
    if len(sampled) != len(reference):
        raise InputError(
            f"sliced Wasserstein: compares as many images of each kind, got {len(sampled)} and "
            f"{len(reference)}; leave some out"
        )
    if min(patches, directions, repeats) < 1 or seed < 0:
        raise InputError("patches, directions, repeats: must be at least 1, seed at least 0")
    resolution = sampled.shape[1]
    if not (sides := pyramid_sides(resolution)):
        raise InputError(
            f"sliced Wasserstein: images of {resolution} px are smaller than {SMALLEST}"
        )
    label = np.repeat(image_groups(len(sampled), groups), patches)
    levels = []
    for level, side in enumerate(sides):
        one = _descriptors(
            sampled, level, patch_places(seed, level, _SAMPLED, len(sampled), side, patches)
        )
        other = _descriptors(
            reference, level, patch_places(seed, level, _REFERENCE, len(sampled), side, patches)
        )
        along = slices(seed, level, one.shape[1], directions * repeats)
        levels.append(_distances(one, other, along, label, groups))
    found = _SCALE * np.stack(levels, axis=1)  # (1 + groups, levels)
    found = np.concatenate([found, found.mean(axis=1, keepdims=True)], axis=1)
    return Estimate(found[0], found[1:])


def patch_places(
    seed: int, level: int, stream: int, count: int, side: int, patches: int
) -> np.ndarray:
    """Top left corners of the patches in a level of each image, (count, patches, 2)."""
    rng = np.random.default_rng([seed, level, stream])
    return rng.integers(0, side - PATCH + 1, size=(count, patches, 2))


def slices(seed: int, level: int, length: int, count: int) -> np.ndarray:
    """Unit directions on which patches of a level are projected, (count, length) float32."""
    normal = np.random.default_rng([seed, level, _SLICES]).standard_normal((count, length))
    return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)


def laplacian_level(images: np.ndarray, level: int) -> np.ndarray:
    """One level of the Laplacian pyramids of (N, R, R, C) float32; the last is the low-pass."""
    last = len(pyramid_sides(images.shape[1])) - 1
    for _ in range(level):
        images = _down(images)
    return images if level == last else images - _up(_down(images), images.shape[1])


def _down(images: np.ndarray) -> np.ndarray:
    return _smooth(images)[:, ::2, ::2]


def _up(images: np.ndarray, side: int) -> np.ndarray:
    """Insert zeros up to ``side`` pixels, and smooth with four times the filter."""
    spread = np.zeros((len(images), side, side, images.shape[3]), np.float32)
    spread[:, ::2, ::2] = images
    return 4 * _smooth(spread)


def _smooth(images: np.ndarray) -> np.ndarray:
    for axis in (1, 2):
        images = correlate1d(images, _BINOMIAL, axis=axis, mode="mirror")
    return images


def _descriptors(images: np.ndarray, level: int, places: np.ndarray) -> np.ndarray:
    """Normalized patches of a level at (N, P, 2) places: (N P, 7 · 7 · C) float32."""
    count, patches, _ = places.shape
    channels = images.shape[3]
    found = np.empty((count, patches, PATCH, PATCH, channels), np.float32)
    chunk = max(1, _CHUNK // images[0].size)
    for i in range(0, count, chunk):
        band = laplacian_level(images[i : i + chunk].astype(np.float32), level)
        windows = np.lib.stride_tricks.sliding_window_view(band, (PATCH, PATCH), axis=(1, 2))
        y, x = np.moveaxis(places[i : i + chunk], 2, 0)
        chosen = windows[np.arange(len(band))[:, None], y, x]  # (n, P, C, 7, 7)
        found[i : i + chunk] = np.moveaxis(chosen, 2, 4)
    flat = found.reshape(-1, channels)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    flat -= mean
    deviation = np.sqrt(np.square(flat).mean(axis=0, dtype=np.float64))
    flat /= np.where(deviation > 0, deviation, 1).astype(np.float32)
    return found.reshape(count * patches, -1)


def _distances(
    one: np.ndarray, other: np.ndarray, along: np.ndarray, label: np.ndarray, groups: int
) -> np.ndarray:
    """Mean over directions of the distance of all rows, then without each group: (1 + groups,)."""

    def of_direction(rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        sorted_rows = []
        for row in rows:
            order = np.argsort(row)
            sorted_rows.append((row[order], label[order]))
        (a, of_a), (b, of_b) = sorted_rows
        result = [np.abs(a - b).mean(dtype=np.float64)]
        # A sorted row without a group's entries is the sorted row of the other images.
        result += [
            np.abs(a[of_a != g] - b[of_b != g]).mean(dtype=np.float64) for g in range(groups)
        ]
        return np.array(result)

    total = np.zeros(1 + groups)
    with ThreadPoolExecutor(available_cores()) as pool:
        for i in range(0, len(along), _DIRECTIONS):
            chunk = along[i : i + _DIRECTIONS]
            pairs = zip(chunk @ one.T, chunk @ other.T, strict=True)
            total += np.sum(list(pool.map(of_direction, pairs)), axis=0)
    return total / len(along)
