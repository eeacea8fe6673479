"""Scale space: an image smoothed to a range of scales, at constant resolution.

Smoothing by the discrete Gaussian solves the heat equation on the pixel grid, so it is diagonal in
the DCT: with half-sample reflection at the borders, frequency ``k`` of an axis of ``n`` pixels is
multiplied by ``exp(−t (1 − cos(πk/n)))``. All functions work on the first two axes of (H, W) or
(H, W, C) arrays, which need not be square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn, idctn
from scipy.special import ive

from ..support.errors import InputError
from .operators import resize_matrix

KINDS = ("discrete", "continuous")


def discrete_gaussian(variance: float, tail: float = 1e-12) -> np.ndarray:
    """Kernel of the discrete Gaussian, ``T(n, t) = e^{−t} I_n(t)`` (Lindeberg 1990, eq. 20).

    Unlike a sampled Gaussian it has exactly the variance ``t``, and two of them convolve to the
    kernel of the summed variances.

    Parameters
    ----------
    variance : float
        ``t`` in pixels², not negative.
    tail : float
        Sum of the weights cut off on each side, at most; from 1e-15 to 1.

    Returns
    -------
    (2 N + 1,) float64
        Symmetric; sums to 1 up to twice ``tail``.

    Raises
    ------
    InputError
        If ``variance`` or ``tail`` is out of range.
    """
    _check_variance(variance)
    if not 1e-15 <= tail < 1:
        raise InputError(f"tail {tail}: must lie between 1e-15 and 1")
    radius = int(np.ceil(4 + 8 * np.sqrt(variance) + variance / 16))
    half = ive(np.arange(radius + 1), variance)  # the modified Bessel functions, times e^{−t}
    beyond = half[::-1].cumsum()[::-1]  # mass from n on
    keep = max(int((beyond > tail).sum()), 1)
    return np.concatenate([half[keep - 1 : 0 : -1], half[:keep]])


def heat_transfer(size: int, variance: float | np.ndarray, kind: str = "discrete") -> np.ndarray:
    """Gain of smoothing on each DCT-II frequency of one axis.

    Parameters
    ----------
    size : int
        Pixels ``n`` of the axis.
    variance : float or array of shape (...)
        ``t`` in pixels², not negative.
    kind : {"discrete", "continuous"}
        ``exp(−t (1 − cos(πk/n)))``, the heat equation on the grid, equal to convolution with
        `discrete_gaussian`; or ``exp(−t (πk/n)²/2)``, the heat equation of the continuous image, as
        inverse heat dissipation uses it (Rissanen et al. 2023; there ``τ = t/2``).

    Returns
    -------
    (..., size) float64

    Raises
    ------
    InputError
        If an argument is out of range or the kind unknown.
    """
    variance = np.asarray(variance, np.float64)
    _check_variance(variance)
    if size < 1:
        raise InputError(f"size {size}: must be at least 1")
    if kind not in KINDS:
        raise InputError(f"kind {kind!r}: must be one of {', '.join(KINDS)}")
    return np.exp(variance[..., None] * _axis_laplacian(size, kind) / 2)


def gaussian_scale_space(
    image: np.ndarray, variances: Sequence[float], kind: str = "discrete"
) -> np.ndarray:
    """Smooth an image to several scales: the solution ``L(t)`` of ``∂L/∂t = ½ ∇²L``.

    Smoothing keeps the mean; by ``s`` and then ``t`` it equals smoothing by ``s + t``; and it adds
    no extrema to a one-dimensional signal.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
        Computed in float64.
    variances : sequence of S floats
        Scales ``t = σ²`` in pixels², not negative, in any order.
    kind : {"discrete", "continuous"}
        See `heat_transfer`.

    Returns
    -------
    (S, H, W) or (S, H, W, C) float64

    Raises
    ------
    InputError
        If the image has another shape or values that are not finite, or a variance is negative.
    """
    coefficients, transfer, _ = _spectral(image, variances, kind)
    return _back(coefficients * transfer)


def smooth(image: np.ndarray, variance: float, kind: str = "discrete") -> np.ndarray:
    """Smooth an image to one scale; see `gaussian_scale_space`."""
    return gaussian_scale_space(image, [variance], kind)[0]


def laplacian_scale_space(
    image: np.ndarray, variances: Sequence[float], kind: str = "discrete"
) -> np.ndarray:
    """Scale-normalized Laplacian ``t ∇²L(t)`` (Lindeberg 1998).

    It responds most strongly to blobs of variance ``t``, with a negative value at the centre of a
    bright one. ``∇²`` is the five-point Laplacian of the grid for kind "discrete".

    Parameters, exceptions and the shape returned are those of `gaussian_scale_space`.
    """
    coefficients, transfer, laplacian = _spectral(image, variances, kind)
    scale = np.asarray(variances, np.float64).reshape(-1, *[1] * (coefficients.ndim))
    return _back(coefficients * transfer * laplacian * scale)


def difference_of_gaussians(
    image: np.ndarray, variances: Sequence[float], kind: str = "discrete"
) -> np.ndarray:
    """Differences ``L(t_i) − L(t_{i+1})`` of consecutive scales: band-pass images.

    Together with the coarsest scale they sum to the finest. For close scales they approach
    ``−½ (t_{i+1} − t_i) ∇²L``.

    Parameters
    ----------
    image, kind
        As in `gaussian_scale_space`.
    variances : sequence of S floats
        Rising, at least two.

    Returns
    -------
    (S − 1, H, W) or (S − 1, H, W, C) float64

    Raises
    ------
    InputError
        If there are fewer than two variances or they do not rise, or as `gaussian_scale_space`.
    """
    if len(variances) < 2 or not (np.diff(variances) > 0).all():
        raise InputError(
            f"variances {list(variances)}: differences need two or more, from fine to coarse"
        )
    stack = gaussian_scale_space(image, variances, kind)
    return stack[:-1] - stack[1:]


def resized_stack(
    image: np.ndarray, sizes: Sequence[tuple[int, int]], operator: str = "dct"
) -> list[np.ndarray]:
    """Resize an image to several sizes, each from the full image.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
    sizes : sequence of (height, width)
        In pixels, at most the image's; factors need not be integers.
    operator : {"dct", "box", "bilinear", "lanczos"}
        See `theory.resize_matrix`.

    Returns
    -------
    list of (h, w) or (h, w, C) float64

    Raises
    ------
    InputError
        If a size is out of range or the image has another shape.
    """
    image = _check_image(image)
    height, width = image.shape[:2]
    stack = []
    for h, w in sizes:
        if not (1 <= h <= height and 1 <= w <= width):
            raise InputError(f"size {h} x {w}: must lie between 1 x 1 and {height} x {width}")
        rows, columns = resize_matrix(operator, height, h), resize_matrix(operator, width, w)
        stack.append(np.einsum("ij,jk...,lk->il...", rows, image, columns, optimize=True))
    return stack


def _axis_laplacian(size: int, kind: str) -> np.ndarray:
    """Eigenvalues in the DCT-II of the second difference (or derivative) of one axis, ≤ 0."""
    frequency = np.pi * np.arange(size) / size
    return -(frequency**2) if kind == "continuous" else -2 * (1 - np.cos(frequency))


def _spectral(
    image: np.ndarray, variances: Sequence[float], kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """DCT coefficients of the image, gains of each scale, and the Laplacian's eigenvalues."""
    image = _check_image(image)
    t = np.asarray(variances, np.float64)
    if t.ndim != 1 or t.size == 0:
        raise InputError("variances: needs at least one scale, in one axis")
    height, width = image.shape[:2]
    transfer = (
        heat_transfer(height, t, kind)[:, :, None] * heat_transfer(width, t, kind)[:, None, :]
    )
    laplacian = _axis_laplacian(height, kind)[:, None] + _axis_laplacian(width, kind)
    colours = (1,) * (image.ndim - 2)
    return (
        dctn(image, axes=(0, 1), norm="ortho"),
        transfer.reshape(*transfer.shape, *colours),
        laplacian.reshape(*laplacian.shape, *colours),
    )


def _back(coefficients: np.ndarray) -> np.ndarray:
    return idctn(coefficients, axes=(1, 2), norm="ortho")


def _check_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, np.float64)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(
            f"scale space: the image needs shape (H, W) or (H, W, C), got {image.shape}"
        )
    if not np.isfinite(image).all():
        raise InputError("scale space: the image has values that are not finite")
    return image


def _check_variance(variance: float | np.ndarray) -> None:
    if not (np.isfinite(variance) & (np.asarray(variance) >= 0)).all():
        raise InputError("variance: must be finite and not negative")
