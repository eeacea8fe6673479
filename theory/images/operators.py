"""Separable resizes: one-axis matrices for any factor.

A resize acts on both image axes with the same one-axis matrix: ``M x = A x Aᵀ``. The singular value
decomposition of ``M``, which the diffusion process needs, follows from that of ``A``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.fft import idct

from ..support.errors import InputError


def dct_basis(size: int) -> np.ndarray:
    """Orthonormal DCT-II matrix ``B``, (size, size) float64: coefficients are ``B @ signal``."""
    return idct(np.eye(size), norm="ortho", axis=0).T


def _box(n_in: int, n_out: int) -> np.ndarray:
    """Area average: each output pixel is the mean of the input over its cell."""
    edges = np.arange(n_out + 1) * (n_in / n_out)  # (n_out + 1,) output cells in input pixels
    cells = np.arange(n_in)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.clip(overlap, 0, None) * (n_out / n_in)


def _dct(n_in: int, n_out: int) -> np.ndarray:
    """Keep the lowest DCT-II coefficients (or pad with zeros), scaled to preserve constants."""
    n = min(n_in, n_out)
    return np.sqrt(n_out / n_in) * dct_basis(n_out)[:n].T @ dct_basis(n_in)[:n]


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.clip(1 - np.abs(x), 0, None)


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _filtered(kernel: Callable[[np.ndarray], np.ndarray], n_in: int, n_out: int) -> np.ndarray:
    """Sample a kernel, widened by the downsampling factor, around each output pixel's centre.

    Weights outside the image are dropped and each row is normalized, which is what
    ``torch.nn.functional.interpolate(antialias=True, align_corners=False)`` and Pillow compute.
    """
    factor = n_in / n_out
    centres = (np.arange(n_out)[:, None] + 0.5) * factor
    weights = kernel((np.arange(n_in) + 0.5 - centres) / max(factor, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def interpolation_matrix(n_in: int, n_out: int) -> np.ndarray:
    """One-axis matrix of linear interpolation at the output pixels' centres.

    Without antialiasing, for signals that are smooth already, as in a pyramid.

    Parameters
    ----------
    n_in, n_out : int
        Samples before and after, at least 1.

    Returns
    -------
    (n_out, n_in) float64
    """
    centres = (np.arange(n_out)[:, None] + 0.5) * (n_in / n_out)
    weights = _triangle(np.arange(n_in) + 0.5 - centres)
    return weights / weights.sum(axis=1, keepdims=True)


_RESIZERS: dict[str, Callable[[int, int], np.ndarray]] = {
    "box": _box,
    "dct": _dct,
    "bilinear": lambda n_in, n_out: _filtered(_triangle, n_in, n_out),
    "lanczos": lambda n_in, n_out: _filtered(_lanczos3, n_in, n_out),
}

OPERATORS = tuple(_RESIZERS)
"""Names of the resize operators."""


@lru_cache(maxsize=256)
def _resize_matrix(operator: str, n_in: int, n_out: int) -> np.ndarray:
    matrix = _RESIZERS[operator](n_in, n_out)
    matrix.setflags(write=False)
    return matrix


def check_operator(operator: str) -> str:
    """Return ``operator`` if it is a known name; raise `InputError` otherwise."""
    if operator not in _RESIZERS:
        raise InputError(f"operator {operator!r}: unknown; choose from {', '.join(OPERATORS)}")
    return operator


def resize_matrix(operator: str, n_in: int, n_out: int) -> np.ndarray:
    """One-axis matrix ``A`` that resizes a signal of ``n_in`` samples to ``n_out``.

    Every row sums to one, so constants are preserved. An image ``x`` of shape (n_in, n_in) is
    resized as ``A @ x @ A.T``.

    Parameters
    ----------
    operator : {"box", "dct", "bilinear", "lanczos"}
        Area average; ideal low-pass filter in the orthonormal DCT-II; triangle filter with
        antialiasing, as torch's
        ``interpolate(mode="bilinear", antialias=True, align_corners=False)``; Lanczos filter with
        three lobes, antialiased in the same way.
    n_in, n_out : int
        Number of samples before and after, at least 1. The factor need not be an integer.
        ``n_out > n_in`` interpolates.

    Returns
    -------
    (n_out, n_in) float64, read-only

    Raises
    ------
    InputError
        For an unknown operator or a size below 1.
    """
    check_operator(operator)
    if n_in < 1 or n_out < 1:
        raise InputError(f"resize_matrix: sizes must be at least 1, got {n_in} -> {n_out}")
    return _resize_matrix(operator, int(n_in), int(n_out))
