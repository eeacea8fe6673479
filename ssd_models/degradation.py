"""Separable downsampling on torch tensors, and spectral functions of its Gram matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from theory.operators import chain_matrix


class Degradation:
    """The two-axis map ``M x = A x Aᵀ`` through successive resolutions.

    With ``A = U diag(s) Vᵀ`` the map has the singular values ``s_i s_j``.

    Parameters
    ----------
    operator : str
        Name of a `theory.resize_matrix`.
    resolutions : sequence of int
        Sides in pixels, from input to output; repeats are identities.
    """

    def __init__(self, operator: str, resolutions: Sequence[int]):
        self.is_identity = len(set(resolutions)) == 1
        matrix = chain_matrix(operator, list(resolutions))
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        self._arrays = {"matrix": matrix, "u": u, "v": np.ascontiguousarray(vt.T)}
        self.singular_values = np.outer(s, s)  # (m, m) of the two-axis map
        self._tensors: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    def _on(self, name: str, like: Tensor) -> Tensor:
        """The named matrix in the dtype and on the device of ``like``."""
        key = (name, like.device, like.dtype)
        if key not in self._tensors:
            self._tensors[key] = torch.as_tensor(
                self._arrays[name], dtype=like.dtype, device=like.device
            )
        return self._tensors[key]

    def forward(self, x: Tensor) -> Tensor:
        """``M x``: (..., n, n) to (..., m, m)."""
        if self.is_identity:
            return x
        matrix = self._on("matrix", x)
        return matrix @ x @ matrix.T

    __call__ = forward

    def adjoint(self, y: Tensor) -> Tensor:
        """``Mᵀ y``: (..., m, m) to (..., n, n)."""
        if self.is_identity:
            return y
        matrix = self._on("matrix", y)
        return matrix.T @ y @ matrix

    def lift(self, y: Tensor, values: np.ndarray | float) -> Tensor:
        """``V diag(values) Uᵀ y``: (..., m, m) to (..., n, n).

        ``values`` (m, m) or one number; with the singular values this is the adjoint.
        """
        if self.is_identity:
            return float(np.mean(values)) * y
        u, v = self._on("u", y), self._on("v", y)
        weights = torch.as_tensor(np.broadcast_to(values, self.singular_values.shape).copy())
        return v @ ((u.T @ y @ u) * weights.to(y)) @ v.T

    def filter(self, x: Tensor, kept: np.ndarray | float, rest: float) -> Tensor:
        """``V diag(kept) Vᵀ x`` on the row space of ``M``, plus ``rest`` times what is outside."""
        if self.is_identity:
            return float(np.mean(kept)) * x
        v = self._on("v", x)
        change = np.broadcast_to(kept, self.singular_values.shape) - rest
        return rest * x + v @ ((v.T @ x @ v) * torch.as_tensor(change).to(x)) @ v.T
