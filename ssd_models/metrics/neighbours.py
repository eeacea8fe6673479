"""Memorization test: are generated images nearer to training images than held-out ones are?"""

from __future__ import annotations

import numpy as np
import torch

from theory.support.errors import InputError
from theory.support.progress import progress_bar

from ..data.opening import to_float
from ..training.batches import ImageArray
from .checks import check_images
from .estimates import GROUPS, Estimate, jackknife

NAMES = ("ratio", "share")  # entries of the estimate of `memorization`
_QUERIES, _TRAINING = 2**22, 2**24  # pixel values of either factor of a matrix product


def nearest_distances(
    images: np.ndarray, training: ImageArray, progress: bool = False
) -> np.ndarray:
    """Distance of each image to the nearest training image.

    The nearest image is found by matrix products in float32; its distance is then computed in
    float64, so that a copy has distance exactly 0. Among training images that are equally near up
    to rounding, any may be chosen.

    Parameters
    ----------
    images : (N, R, R, C) uint8
    training : (M, R, R, C) uint8
        In memory or memory-mapped.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    (N,) float64
        Euclidean distances over the R² C values of an image, for values in [-1, 1].

    Raises
    ------
    InputError
        If image sizes differ or there are no images.
    """
    check_images("images", images)
    if tuple(training.shape[1:]) != images.shape[1:] or not len(training):
        raise InputError(
            f"training images: have shape {tuple(training.shape)}, the others {images.shape}; give "
            "images of one size, at least one"
        )
    length = images[0].size
    queries, block = max(1, _QUERIES // length), max(1, _TRAINING // length)
    nearest = np.zeros(len(images), np.int64)
    best = torch.full((len(images),), torch.inf)
    starts = range(0, len(training), block)
    with progress_bar(total=len(training), desc="neighbours", unit="img", shown=progress) as bar:
        for start in starts:
            known = _rows(training[start : start + block])
            norms = known.square().sum(dim=1)
            for i in range(0, len(images), queries):
                part = slice(i, i + queries)
                # |x|² of the query is the same for all training images and is omitted.
                found = torch.addmm(norms, _rows(images[part]), known.T, alpha=-2).min(dim=1)
                better = found.values < best[part]
                best[part] = torch.where(better, found.values, best[part])
                nearest[part] = np.where(better, start + found.indices, nearest[part])
            bar.update(len(known))
    distances = np.empty(len(images))
    for i in range(0, len(images), queries):
        own = images[i : i + queries].astype(np.float64)
        other = training[nearest[i : i + queries]].astype(np.float64)
        distances[i : i + queries] = np.sqrt(np.square(own - other).sum(axis=(1, 2, 3))) / 127.5
    return distances


def memorization(
    sampled: np.ndarray,
    held_out: np.ndarray,
    training: ImageArray,
    groups: int = GROUPS,
    progress: bool = False,
) -> Estimate:
    """Compare generated and held-out images by their distance to the nearest training image.

    | entry | definition | a model that generalizes |
    |---|---|---|
    | ``ratio`` | median distance of generated over that of held-out images | about 1 |
    | ``share`` | generated images below the 1 % quantile of held-out distances | about 0.01 |

    A ratio below 1 means copies of training images, or images smoother than real ones, which are
    nearer to everything. With fewer than 100 held-out images the quantile is close to their
    smallest distance.

    Parameters
    ----------
    sampled, held_out : (N, R, R, C) and (H, R, R, C) uint8
        Held-out images come from the distribution of the training images, but are not among them.
    training : (M, R, R, C) uint8
    groups : int
        Number of jackknife groups; the training images are not resampled.
    progress : bool

    Returns
    -------
    Estimate of (2,)
        ``ratio`` and ``share``.

    Raises
    ------
    InputError
        If image sizes differ or there are fewer images than groups.
    """
    check_images("sampled images", sampled, at_least=groups)
    check_images("held-out images", held_out, at_least=groups)
    return memorization_of_distances(
        nearest_distances(sampled, training, progress),
        nearest_distances(held_out, training, progress),
        groups,
    )


def memorization_of_distances(
    sampled: np.ndarray, held_out: np.ndarray, groups: int = GROUPS
) -> Estimate:
    """`memorization` of precomputed nearest distances, (N,) and (H,)."""

    def statistic(own: np.ndarray, new: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.median(own) / np.median(new)
        return np.array([ratio, (own < np.quantile(new, 0.01)).mean()])

    return jackknife(statistic, sampled, held_out, groups)


def _rows(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(to_float(np.ascontiguousarray(images)).reshape(len(images), -1))
