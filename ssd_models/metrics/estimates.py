"""Numbers with their sampling error: the delete-a-group jackknife over images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theory.support.errors import InputError

from .threads import mapped

GROUPS = 10  # of images; a standard error is itself uncertain by about 1/√(2 · 9) of its value


@dataclass(frozen=True, eq=False)
class Estimate:
    """One number or several, and what each becomes when a group of images is left out.

    Parameters
    ----------
    value : (...) float64
    replicates : (groups, ...) float64
    """

    value: np.ndarray
    replicates: np.ndarray

    @property
    def standard_error(self) -> np.ndarray:
        """``√((G − 1)/G Σ (θ_i − θ̄)²)`` over the G replicates, (...)."""
        groups = len(self.replicates)
        with np.errstate(invalid="ignore"):  # infinite decibels have no error
            spread = self.replicates - self.replicates.mean(axis=0)
        return np.sqrt((groups - 1) / groups * (spread**2).sum(axis=0))

    @property
    def interval(self) -> np.ndarray:
        """``value ± 1.96`` standard errors, (2, ...): about 95 % where the value is near normal."""
        half = 1.96 * self.standard_error
        return np.stack([self.value - half, self.value + half])


def image_groups(count: int, groups: int = GROUPS) -> np.ndarray:
    """Group of each of ``count`` images, their number modulo ``groups``: (count,) uint8."""
    return (np.arange(count) % groups).astype(np.uint8)


def jackknife(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray | float],
    sampled: np.ndarray,
    reference: np.ndarray,
    groups: int = GROUPS,
) -> Estimate:
    """Evaluate a statistic of two independent samples, and again without each group of their rows.

    Parameters
    ----------
    statistic : function of two arrays of rows
        Returns a number, or an array of one shape; called from several threads.
    sampled : (N, ...) array
    reference : (M, ...) array
    groups : int
        Row i belongs to group ``i mod groups``; group g is left out of both arrays at once.

    Raises
    ------
    InputError
        If there are fewer than two groups, or rows than groups.

    Notes
    -----
    To first order a smooth statistic is a sum of a mean over the rows of the one sample and a mean
    over those of the other. Leaving out group g moves it by the sum of what group g of either does
    to it; as the samples are independent, the squares of these moves estimate the variance of the
    one mean plus that of the other: the variance of the statistic with both sets drawn anew.

    That is its spread, not its bias. A distance between two finite sets is above zero even where
    both come from one distribution, the more so the fewer they are, so only distances of equal
    counts compare.
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
    return Estimate(values[groups], values[:groups])  # the last call leaves out nothing
