"""Degradations between two states of a chain, as one-axis matrices: resizes and Gaussian blurs.

Every degradation of a schedule is separable, ``M x = A x Aᵀ``, with ``A`` a product of resizes and
blurs (mathematics §2). Blur solves the heat equation of the continuous image, as in inverse heat
dissipation and blurring diffusion: it is diagonal in the DCT, and a blur of given variance in
full-resolution pixels has the same gain on a frequency at every resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..support.errors import InputError
from .operators import dct_basis, resize_matrix
from .scale_space import heat_transfer


@dataclass(frozen=True)
class DegradationPath:
    """Sequence of blurs and resizes that makes up one degradation ``M``.

    Parameters
    ----------
    operator : str
        Resize operator, see `theory.resize_matrix`.
    resolutions : tuple of int
        Sides in pixels from the input's to the output's, without repeats.
    blurs : tuple of float
        Variance of the Gaussian blur at each resolution, applied before the next resize, in squared
        pixels of that resolution. By default none.

    Raises
    ------
    InputError
        If there is no resolution, or not one blur for each.
    """

    operator: str
    resolutions: tuple[int, ...]
    blurs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "blurs", self.blurs or (0.0,) * len(self.resolutions))
        if len(self.blurs) != len(self.resolutions) or not self.resolutions:
            raise InputError("degradation: needs one blur for each resolution, at least one")

    @property
    def is_identity(self) -> bool:
        """Whether the map changes nothing."""
        return len(self.resolutions) == 1 and not self.blurs[0]

    def _sides(self, nominal: int | None, length: int | None) -> list[int]:
        scale = (1, 1) if nominal is None or length is None else (length, nominal)
        return [scaled(r, *scale) for r in self.resolutions]

    def matrix(self, nominal: int | None = None, length: int | None = None) -> np.ndarray:
        """One-axis matrix ``A``.

        Parameters
        ----------
        nominal, length : int, optional
            For a side of a rectangular image: its ``length`` in pixels where the schedule's full
            resolution is ``nominal``. By default the sides are ``resolutions``.

        Returns
        -------
        (n_out, n_in) float64

        Raises
        ------
        InputError
            If such a side has no whole number of pixels at one of the resolutions.
        """
        sides = self._sides(nominal, length)
        matrix = _blur(sides[0], self.blurs[0])
        for (before, after), variance in zip(pairwise(sides), self.blurs[1:], strict=True):
            matrix = _blur(after, variance) @ resize_matrix(self.operator, before, after) @ matrix
        return matrix

    def factors(
        self, nominal: int | None = None, length: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Singular value decomposition ``A = U diag(s) Vᵀ``: (m, k), (k,), (n, k) float64.

        Blurs and `dct` resizes are factored in closed form, so that small singular values are
        exact. For other operators those below 1e-10 of the largest are left out.
        """
        sides = self._sides(nominal, length)
        if self.operator == "dct" or len(sides) == 1:
            n, m = sides[0], sides[-1]
            s = np.full(m, np.sqrt(m / n))
            for side, variance in zip(sides, self.blurs, strict=True):
                s *= heat_transfer(side, variance, "continuous")[:m]
            return dct_basis(m).T, s, dct_basis(n)[:m].T
        u, s, vt = np.linalg.svd(self.matrix(nominal, length), full_matrices=False)
        kept = s > 1e-10 * s[0]
        return u[:, kept], s[kept], np.ascontiguousarray(vt[kept].T)


def scaled(resolution: int, length: int, nominal: int) -> int:
    """Pixels at ``resolution`` of an axis that has ``length`` pixels at resolution ``nominal``.

    Raises `InputError` if that is not a whole number.
    """
    if resolution * length % nominal:
        raise InputError(
            f"image side {length}: has no whole number of pixels at resolution {resolution} of "
            f"{nominal}; crop or pad the images"
        )
    return resolution * length // nominal


@lru_cache(maxsize=256)
def lambda_max(operator: str, before: int, after: int, blur: float = 0.0) -> float:
    """Largest eigenvalue of ``M Mᵀ``, of a blur followed by a resize of both axes.

    It is the largest factor by which ``M`` scales the variance of white noise (mathematics §3).
    Halvings by `box` and `dct` give ¼ in every direction (``M Mᵀ = I/4``).

    Parameters
    ----------
    operator : str
    before, after : int
        Sides in pixels.
    blur : float
        Variance in squared pixels of the side before.
    """
    matrix = resize_matrix(operator, before, after) @ _blur(before, blur)
    return float(np.linalg.norm(matrix, 2) ** 4)


def _blur(size: int, variance: float) -> np.ndarray:
    if not variance:
        return np.eye(size)
    basis = dct_basis(size)
    return (basis.T * heat_transfer(size, variance, "continuous")) @ basis
