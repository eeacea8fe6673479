"""Linear degradations ``M`` on torch tensors, with the operations that the process needs.

| class | map |
| --- | --- |
| `SeparableDegradation` | resizes and blurs, by an exact singular value decomposition |
| `SpectralDegradation` | a factor for each DCT coefficient |
| `ssd_models.diffusion.matrix_free.MatrixFreeDegradation` | any linear function |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from theory.images.axis_maps import DegradationPath
from theory.images.operators import dct_basis

from .constants import Constants

SpectralFunction = Callable[[Tensor], Tensor]
"""Function of singular values, a float64 tensor, that returns one number for each."""


class Degradation(ABC):
    """Linear map ``M = U diag(s) Vᵀ`` between states.

    Attributes
    ----------
    shape_in, shape_out : (int, int)
        Height and width of input and output in pixels.
    lambda_max : float
        Largest eigenvalue of ``M Mᵀ``: the largest factor on the variance of white noise.
    is_identity : bool
    opens : bool
        Whether inputs may have directions outside the row space of ``M``.
    """

    shape_in: tuple[int, int]
    shape_out: tuple[int, int]
    is_identity: bool = False
    opens: bool = True

    @property
    @abstractmethod
    def lambda_max(self) -> float:
        """Largest eigenvalue of ``M Mᵀ``."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``M x``: (N, C, *shape_in) to (N, C, *shape_out)."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """``Mᵀ y``: (N, C, *shape_out) to (N, C, *shape_in)."""

    @abstractmethod
    def lift(self, y: Tensor, gain: SpectralFunction) -> Tensor:
        """``V diag(gain(s)) Uᵀ y``: (N, C, *shape_out) to (N, C, *shape_in)."""

    @abstractmethod
    def filter(self, x: Tensor, kept: SpectralFunction, rest: float) -> Tensor:
        """``V diag(kept(s)) Vᵀ x + rest (I − V Vᵀ) x``, (N, C, *shape_in).

        A function of the Gram matrix ``MᵀM``: ``rest`` applies outside the row space of ``M``.
        """

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """``M⁺ y``: the smallest input that ``M`` maps to the projection of ``y`` on its range."""
        return self.lift(y, torch.reciprocal)

    def project(self, x: Tensor) -> Tensor:
        """``M⁺ M x``: the projection of ``x`` on the row space of ``M``."""
        return self.filter(x, torch.ones_like, 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.forward(x)


class SeparableDegradation(Degradation):
    """Resizes and Gaussian blurs, ``M x = A x Bᵀ``, computed by small matrix products.

    With singular values ``s_i`` of ``A`` and ``s_j`` of ``B``, the map has the singular values
    ``s_i s_j``. Matrices are cached for each device and dtype, so that later calls copy nothing
    between host and device.

    Parameters
    ----------
    path : theory.images.axis_maps.DegradationPath
    image_size : (int, int), optional
        Height and width in pixels of a full-resolution image; by default a square.
    resolution : int, optional
        Full resolution that ``path`` refers to, in pixels; needed with ``image_size``.
    """

    def __init__(
        self,
        path: DegradationPath,
        image_size: tuple[int, int] | None = None,
        resolution: int | None = None,
    ):
        self.is_identity = path.is_identity
        height, width = image_size or (None, None)
        axes = {"h": self._axis(path, resolution, height)}
        axes["w"] = axes["h"] if width == height else self._axis(path, resolution, width)
        self._arrays, self._square = axes, width == height
        (m_h, n_h), (m_w, n_w) = axes["h"]["a"].shape, axes["w"]["a"].shape
        self.shape_in, self.shape_out = (n_h, n_w), (m_h, m_w)
        self.opens = any(len(axis["s"]) < len(axis["v"]) for axis in axes.values())
        self._largest = float(axes["h"]["s"].max() * axes["w"]["s"].max()) ** 2
        self._constant = Constants()

    @staticmethod
    def _axis(
        path: DegradationPath, resolution: int | None, side: int | None
    ) -> dict[str, np.ndarray]:
        u, s, v = path.factors(resolution, side)
        return {"a": path.matrix(resolution, side), "u": u, "s": s, "v": v}

    @property
    def lambda_max(self) -> float:
        """Largest eigenvalue of ``M Mᵀ``."""
        return self._largest

    def _on(self, name: str, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Array ``name`` ("u_h": factor U of the height) in a dtype, on the device of ``like``."""
        factor, axis = name[0], "h" if self._square else name[2]
        return self._constant((factor, axis), lambda: self._arrays[axis][factor], like, dtype)

    def singular_values(self, like: Tensor) -> Tensor:
        """``s_i s_j`` as float64 on the `float64_device` of ``like``, (k, l)."""
        s_h = self._on("s_h", like, torch.float64)
        return s_h[:, None] * self._on("s_w", like, torch.float64)

    def matrix(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """One-axis matrices of height and width, in the dtype and on the device of ``like``."""
        return self._on("a_h", like), self._on("a_w", like)

    def forward(self, x: Tensor) -> Tensor:
        """``M x``: (..., *shape_in) to (..., *shape_out)."""
        if self.is_identity:
            return x
        a, b = self.matrix(x)
        return a @ x @ b.T

    def adjoint(self, y: Tensor) -> Tensor:
        """``Mᵀ y``: (..., *shape_out) to (..., *shape_in)."""
        if self.is_identity:
            return y
        a, b = self.matrix(y)
        return a.T @ y @ b

    def lift(self, y: Tensor, gain: SpectralFunction) -> Tensor:
        """``V diag(gain(s)) Uᵀ y``: (..., *shape_out) to (..., *shape_in)."""
        weight = gain(self.singular_values(y)).to(y)
        inner = self._on("u_h", y).T @ y @ self._on("u_w", y)
        return self._on("v_h", y) @ (inner * weight) @ self._on("v_w", y).T

    def filter(self, x: Tensor, kept: SpectralFunction, rest: float) -> Tensor:
        """``V diag(kept(s)) Vᵀ x + rest (I − V Vᵀ) x``, (..., *shape_in)."""
        weight = (kept(self.singular_values(x)) - rest * self.opens).to(x)
        v_h, v_w = self._on("v_h", x), self._on("v_w", x)
        inside = v_h @ ((v_h.T @ x @ v_w) * weight) @ v_w.T
        return rest * x + inside if self.opens else inside


class SpectralDegradation(Degradation):
    """A factor for each DCT coefficient up to a highest frequency; others are left out.

    The factors are the singular values. A coefficient with factor zero is noise only.

    Parameters
    ----------
    shape_in : (int, int)
        Height and width of the input in pixels.
    factors : (h, w) float64 array
        Factors of the lowest DCT coefficients, not negative; the output has h × w pixels.
    """

    def __init__(self, shape_in: tuple[int, int], factors: np.ndarray):
        self.shape_in = shape_in
        self.shape_out = (factors.shape[0], factors.shape[1])
        self.opens = self.shape_in != self.shape_out
        self._largest = float(factors.max()) ** 2
        self._arrays = {"s": factors}
        for axis, before, after in zip("hw", self.shape_in, self.shape_out, strict=True):
            self._arrays[f"v_{axis}"] = np.ascontiguousarray(dct_basis(before)[:after])
            self._arrays[f"u_{axis}"] = dct_basis(after)
        self._constant = Constants()

    @property
    def lambda_max(self) -> float:
        """Largest eigenvalue of ``M Mᵀ``."""
        return self._largest

    def _on(self, name: str, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return self._constant(name, lambda: self._arrays[name], like, dtype)

    def singular_values(self, like: Tensor) -> Tensor:
        """Factors as float64 on the `float64_device` of ``like``, (h, w)."""
        return self._on("s", like, torch.float64)

    def analysis(self, x: Tensor) -> Tensor:
        """DCT coefficients of an input that the map keeps: (..., *shape_in) to (..., h, w)."""
        return self._on("v_h", x) @ x @ self._on("v_w", x).T

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Output from its DCT coefficients: (..., h, w)."""
        return self._on("u_h", coefficients).T @ coefficients @ self._on("u_w", coefficients)

    def forward(self, x: Tensor) -> Tensor:
        """``M x``: (..., *shape_in) to (..., *shape_out)."""
        return self.synthesis(self.analysis(x) * self._on("s", x))

    def adjoint(self, y: Tensor) -> Tensor:
        """``Mᵀ y``: (..., *shape_out) to (..., *shape_in)."""
        return self._up(y, self._on("s", y))

    def lift(self, y: Tensor, gain: SpectralFunction) -> Tensor:
        """Multiply coefficients by ``gain(factor)``: (..., *shape_out) to (..., *shape_in)."""
        return self._up(y, gain(self.singular_values(y)).to(y))

    def filter(self, x: Tensor, kept: SpectralFunction, rest: float) -> Tensor:
        """Multiply kept coefficients by ``kept(factor)``, the others by ``rest``."""
        weight = (kept(self.singular_values(x)) - rest * self.opens).to(x)
        inner = self.analysis(x) * weight
        inside = self._on("v_h", x).T @ inner @ self._on("v_w", x)
        return rest * x + inside if self.opens else inside

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """``M⁺ y``: coefficients divided by their factors, zero where the factor is zero."""
        return self.lift(y, lambda s: torch.where(s > 0, 1 / s.clamp(min=1e-30), 0.0))

    def project(self, x: Tensor) -> Tensor:
        """``M⁺ M x``: only the coefficients with a positive factor."""
        return self.filter(x, lambda s: (s > 0).to(s.dtype), 0.0)

    def _up(self, y: Tensor, weight: Tensor) -> Tensor:
        inner = (self._on("u_h", y) @ y @ self._on("u_w", y).T) * weight
        return self._on("v_h", y).T @ inner @ self._on("v_w", y)
