"""Estimates with standard errors by the delete-a-group jackknife over images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from theory.support.errors import InputError

from .threads import mapped

GROUPS = 10  # of the jackknife; the relative error of a standard error is about 1/√(2 · 9)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A scalar or array estimate and its jackknife replicates.

    Parameters
    ----------
    value : (...) float64
        Estimate from all images.
    replicates : (groups, ...) float64
        Estimates with one group of images left out each.
    """

    value: np.ndarray
    replicates: np.ndarray

    @property
    def standard_error(self) -> np.ndarray:
        """``√((G − 1)/G Σ (θ_i − θ̄)²)`` over the G replicates, (...)."""
        groups = len(self.replicates)
        with np.errstate(invalid="ignore"):  # NaN for an infinite value
            spread = self.replicates - self.replicates.mean(axis=0)
        return np.sqrt((groups - 1) / groups * (spread**2).sum(axis=0))

    @property
    def interval(self) -> np.ndarray:
        """95 % interval ``value ± half_width(standard_error)``, (2, ...)."""
        half = half_width(self.standard_error, len(self.replicates))
        return np.stack([self.value - half, self.value + half])


def half_width(standard_error: Any, groups: int = GROUPS) -> Any:
    """Half of a 95 % interval from a standard error, or an array of them, of the jackknife.

    It is the standard error times Student's t of ``groups − 1`` degrees of freedom, 2.26 for 10.
    """
    return float(stdtrit(groups - 1, 0.975)) * standard_error


def image_groups(count: int, groups: int = GROUPS) -> np.ndarray:
    """Jackknife group ``i mod groups`` of each image i, (count,) uint8."""
    return (np.arange(count) % groups).astype(np.uint8)


def jackknife(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray | float],
    sampled: np.ndarray,
    reference: np.ndarray,
    groups: int = GROUPS,
) -> Estimate:
    """Estimate a statistic of two independent samples with its delete-a-group jackknife.

    Parameters
    ----------
    statistic : function of two arrays of rows
        Returns a number, or an array whose shape does not depend on the rows. It is called from
        several threads at once.
    sampled : (N, ...) array
    reference : (M, ...) array
    groups : int
        Number of groups, 2 to 255. Row i belongs to group ``i mod groups``; replicate g leaves
        group g out of both arrays.

    Raises
    ------
    InputError
        If the number of groups is out of range or exceeds the number of rows of an array.

    Notes
    -----
    To first order a smooth statistic is the sum of a mean over the rows of one sample and a mean
    over the rows of the other. Leaving out group g of both changes it by the sum of two independent
    contributions, so the squared changes estimate the sum of the two means' variances: the variance
    of the statistic when both samples are drawn anew.

    The standard error does not include bias. A distance between two finite samples of one
    distribution is above zero, the more so the fewer the rows, so distances are comparable only at
    equal counts.
    """
    if not 2 <= groups <= 255:
        raise InputError(f"groups {groups}: give 2 to 255")
    if min(len(sampled), len(reference)) < groups:
        raise InputError(
            f"jackknife: needs at least {groups} images of each kind, got {len(sampled)} and "
            f"{len(reference)}"
        )
    one, other = image_groups(len(sampled), groups), image_groups(len(reference), groups)

    def without(group: int) -> np.ndarray | float:
        return statistic(sampled[one != group], reference[other != group])

    values = np.asarray(mapped(without, range(groups + 1)), dtype=np.float64)
    return Estimate(values[groups], values[:groups])  # the last call leaves out no group
