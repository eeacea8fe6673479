"""Sliced Wasserstein distance between patches on each level of a Laplacian pyramid.

Karras et al. 2018, "Progressive growing of GANs", section 5. The distance of a level compares
structures of that scale, irrespective of their position in the image. The pyramid uses Burt &
Adelson's binomial filter, as there; that of `theory.images.pyramid` uses a Gaussian and
interpolation.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import correlate1d

from theory.support.cores import available_cores
from theory.support.errors import InputError

from .checks import check_pair
from .estimates import GROUPS, Estimate, image_groups

SMALLEST = 16  # least side of the coarsest level in pixels
PATCH = 7  # side of a patch in pixels
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
_CHUNK = 2**22  # pixel values per computation of a pyramid level
_DIRECTIONS = 16  # projections in memory at once
_SCALE = 1000.0
_SAMPLED, _REFERENCE, _SLICES = range(3)  # streams of random numbers


def pyramid_sides(resolution: int) -> list[int]:
    """Side of each level in pixels, finest first: halved and rounded up while at least 16."""
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
    """Mean Wasserstein-1 distance of patches projected onto random directions, times 1000.

    Patches of 7×7 pixels are taken at random positions and normalized in each set to mean 0 and
    standard deviation 1 per channel. The coarsest level is the low-pass image.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) uint8
        Equally many of each, R at least 16.
    seed : int
        Seed of patch positions and directions.
    patches : int
        Patches per image and level.
    directions, repeats : int
        Each level uses ``repeats · directions`` random unit directions.
    groups : int
        Number of jackknife groups.

    Returns
    -------
    Estimate of (levels + 1,)
        Distance of each level, finest first (`pyramid_sides`), then their mean. The jackknife
        leaves images out of the sorted projections and keeps normalization, patches and directions,
        so it measures the spread over images only. Where the two sets hardly differ it
        overestimates the standard error (two to four times for random splits of a data set of
        faces), as the distance is then not a smooth function of the images.

    Raises
    ------
    InputError
        If sizes or numbers of images differ, or images are too small or too few.

    Notes
    -----
    Memory holds the patches of both sets on one level, ``4 · 49 C`` bytes each, and 16 projections
    of them. Random numbers depend on the seed, the level and the stream, see `patch_places` and
    `slices`.
    """
    check_pair(sampled, reference, at_least=groups)
    if len(sampled) != len(reference):
        raise InputError(
            f"sliced Wasserstein: needs as many images of each kind, got {len(sampled)} and "
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
    """Random top left corners of the patches of each image on a level, (count, patches, 2) int."""
    rng = np.random.default_rng([seed, level, stream])
    return rng.integers(0, side - PATCH + 1, size=(count, patches, 2))


def slices(seed: int, level: int, length: int, count: int) -> np.ndarray:
    """Random unit directions for the projections on a level, (count, length) float32."""
    normal = np.random.default_rng([seed, level, _SLICES]).standard_normal((count, length))
    return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)


def laplacian_level(images: np.ndarray, level: int) -> np.ndarray:
    """One level of the Laplacian pyramids of (N, R, R, C) float32; the coarsest is low-pass."""
    last = len(pyramid_sides(images.shape[1])) - 1
    for _ in range(level):
        images = _down(images)
    return images if level == last else images - _up(_down(images), images.shape[1])


def _down(images: np.ndarray) -> np.ndarray:
    return _smooth(images)[:, ::2, ::2]


def _up(images: np.ndarray, side: int) -> np.ndarray:
    """Upsample to ``side`` pixels: insert zeros and smooth with four times the filter."""
    spread = np.zeros((len(images), side, side, images.shape[3]), np.float32)
    spread[:, ::2, ::2] = images
    return 4 * _smooth(spread)


def _smooth(images: np.ndarray) -> np.ndarray:
    for axis in (1, 2):
        images = correlate1d(images, _BINOMIAL, axis=axis, mode="mirror")
    return images


def _descriptors(images: np.ndarray, level: int, places: np.ndarray) -> np.ndarray:
    """Normalized patches of a level at the corners (N, P, 2): (N P, 7 · 7 · C) float32."""
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
    """Mean distance over directions of all rows, then without each group: (1 + groups,)."""

    def of_direction(rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        sorted_rows = []
        for row in rows:
            order = np.argsort(row)
            sorted_rows.append((row[order], label[order]))
        (a, of_a), (b, of_b) = sorted_rows
        result = [np.abs(a - b).mean(dtype=np.float64)]
        # Removing a group from a sorted row leaves it sorted.
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
