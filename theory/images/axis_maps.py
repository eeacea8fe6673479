"""The linear map between two states of a chain, on one image axis: resizes and Gaussian blurs.

Every degradation of a schedule is separable, ``M x = A x Aᵀ``, with ``A`` a product of resizes and
blurs (mathematics §2). Blur is the heat equation of the continuous image, as inverse heat
dissipation and blurring diffusion use it: diagonal in the DCT, and of the same effect on the
same frequency at every resolution.
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
    """Resolutions that a state passes, and the blur at each before the next resize.

    Parameters
    ----------
    operator : str
        Of the resizes, see `theory.resize_matrix`.
    resolutions : tuple of int
        From the input's side to the output's, in pixels, without repeats.
    blurs : tuple of float
        Variance of the Gaussian blur at each resolution, in squared pixels of that resolution.
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
        """One-axis matrix ``A``, (n_out, n_in) float64.

        By default for an axis of ``resolutions[0]`` pixels. Other sides of a rectangular image are
        ``length`` pixels where the schedule speaks of ``nominal`` ones.

        Raises
        ------
        InputError
            If such a side would not have whole numbers of pixels.
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

        Blurs and `dct` resizes are factored in closed form, however small ``s``; of other paths
        what is below 1e-10 of the largest singular value counts as zero and is left out.
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
    """Pixels of an axis that is ``length`` at the resolution ``nominal``, at ``resolution``."""
    if resolution * length % nominal:
        raise InputError(
            f"image side {length}: has no whole number of pixels at resolution {resolution} of "
            f"{nominal}; crop or pad the images"
        )
    return resolution * length // nominal


@lru_cache(maxsize=256)
def lambda_max(operator: str, before: int, after: int, blur: float = 0.0) -> float:
    """Largest eigenvalue of ``M Mᵀ``: a blur of variance ``blur`` in squared pixels, then a resize.

    The largest factor by which the two-axis map scales the variance of white noise. Halvings by
    `box` and `dct` give ¼ in every direction (``M Mᵀ = I/4``).
    """
    matrix = resize_matrix(operator, before, after) @ _blur(before, blur)
    return float(np.linalg.norm(matrix, 2) ** 4)


def _blur(size: int, variance: float) -> np.ndarray:
    if not variance:
        return np.eye(size)
    basis = dct_basis(size)
    return (basis.T * heat_transfer(size, variance, "continuous")) @ basis
