"""Bounds on the information that downsampling a noisy image discards, in bits (mathematics §4).

At step t a state of r pixels is sufficient if the part of ``I(x0; x_t)`` that it lacks is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvalsh

from ..images.operators import check_operator, dct_basis, resize_matrix
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .bounds import band_mask, channel_bits, covariance_information

DENSE_LIMIT = 1024  # coefficients per colour; up to here log-determinants are computed densely


@dataclass(frozen=True)
class DiscardedBound:
    """Bound on the information that a downsampling discards, and the method that computed it."""

    bits: float | np.ndarray  # per image, of the shape of snr
    method: str  # "dense" (log-determinant) or "diagonal" (a larger bound)


def discarded_information(
    spectrum: Spectrum, snr: float | np.ndarray, resolution: int, operator: str = "dct"
) -> float | np.ndarray:
    """Bound on ``I(x0; x_t) − I(x0; M x_t)`` for a downsampling ``M`` to ``resolution`` pixels.

    See `discarded_bound` for the formula, and for the method that was used.

    Parameters
    ----------
    spectrum : Spectrum
    snr : float or array
        ``a²/σ²`` of the state before downsampling, not negative.
    resolution : int
        Side of the kept image in pixels, from 1 to the spectrum's resolution.
    operator : {"dct", "box", "bilinear", "lanczos"}
        How the image is downsampled.

    Returns
    -------
    float or array of the shape of ``snr``
        Bits per image.

    Raises
    ------
    InputError
        If ``resolution`` is out of range or ``snr`` is negative.
    """
    return discarded_bound(spectrum, snr, resolution, operator).bits


def discarded_bound(
    spectrum: Spectrum,
    snr: float | np.ndarray,
    resolution: int,
    operator: str = "dct",
    method: str = "auto",
) -> DiscardedBound:
    """Bound on ``I(x0; x_t) − I(x0; M x_t)`` for any downsampling ``M`` (mathematics §4).

    Rotate ``x_t`` into the row space U of M and its complement V: the noises are independent, and
    ``M x_t`` is an invertible function of ``Uᵀ x_t``. What is lost is ``I(x0; Vᵀ x_t | Uᵀ x_t)``,
    at most

    * dense: ``½ log2 det(I + snr Σ) − ½ log2 det(I + snr Uᵀ Σ U)``, attained by Gaussian data with
      independent DCT coefficients;
    * diagonal: ``½ Σ_i log2(1 + snr (Vᵀ Σ V)_ii)``, larger, and cheap at every size.

    For ``dct`` both are ``½ Σ_{k discarded} log2(1 + snr S_k)``, a bound for all data with this
    spectrum. For the other operators the DCT coefficients are assumed to be uncorrelated.

    Parameters
    ----------
    spectrum, snr, resolution, operator
        As in `discarded_information`.
    method : {"auto", "dense", "diagonal"}
        "auto": dense where the kept image has at most 1024 pixels, else diagonal.

    Returns
    -------
    DiscardedBound

    Raises
    ------
    InputError
        If ``resolution`` is out of range, ``snr`` is negative, or a name is unknown.
    """
    if not 1 <= resolution <= spectrum.resolution:
        raise InputError(
            f"resolution {resolution}: must lie between 1 and the spectrum's {spectrum.resolution}"
        )
    check_operator(operator)
    if method not in ("auto", "dense", "diagonal"):
        raise InputError(f"method {method!r}: must be auto, dense or diagonal")
    if method == "auto":
        method = "dense" if resolution**2 <= DENSE_LIMIT else "diagonal"
    if operator == "dct" or resolution == spectrum.resolution:
        power = spectrum.power[~band_mask(spectrum.resolution, resolution)]
        return DiscardedBound(channel_bits(power, snr), method)
    u, v = _row_space(operator, spectrum, resolution)
    if method == "dense":
        kept = np.concatenate([_kept_variances(u, s) for s in np.moveaxis(spectrum.power, -1, 0)])
        bits = np.asarray(channel_bits(spectrum.power, snr)) - np.asarray(channel_bits(kept, snr))
        return DiscardedBound(float(bits) if bits.ndim == 0 else bits, method)
    parts = [(v, u), (u, v), (v, v)]
    lost = [
        (rows**2).T @ power @ columns**2
        for rows, columns in parts
        for power in np.moveaxis(spectrum.power, -1, 0)
    ]
    variances = np.concatenate([part.ravel() for part in lost])
    return DiscardedBound(channel_bits(variances, snr), method)


def dense_discarded_information(
    covariance: np.ndarray, matrix: np.ndarray, snr: float | np.ndarray
) -> float | np.ndarray:
    """Bound on ``I(x0; x_t) − I(x0; M x_t)`` for any linear ``M`` (mathematics §4).

    ``½ log2 det(I + snr Σ) − ½ log2 det(I + snr Uᵀ Σ U)`` with U the row space of M, attained by
    Gaussian data. It is zero for an invertible ``M`` such as a blur.

    Parameters
    ----------
    covariance : (D, D) array
        Covariance of whole images, see `theory.information.bounds.covariance_information`.
    matrix : (m, D) array
        ``M``. Singular directions below 1e-10 of the largest singular value count as lost.
    snr : float or array
        ``a²/σ²``, not negative.

    Returns
    -------
    float or array of the shape of ``snr``
        Bits per image.

    Raises
    ------
    InputError
        If ``covariance`` is not one, or ``matrix`` does not fit it, is zero or not finite.
    """
    matrix = np.asarray(matrix, np.float64)
    total = covariance_information(covariance, snr)
    if matrix.ndim != 2 or matrix.shape[1] != len(covariance):
        raise InputError(
            f"matrix: needs shape (m, {len(covariance)}) to fit the covariance, got {matrix.shape}"
        )
    if not (matrix.any() and np.isfinite(matrix).all()):
        raise InputError("matrix: is zero, or has values that are not finite")
    _, gains, rows = np.linalg.svd(matrix, full_matrices=False)
    kept = rows[gains > 1e-10 * gains[0]]
    return total - covariance_information(kept @ covariance @ kept.T, snr)


def _row_space(operator: str, spectrum: Spectrum, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of what one axis keeps and loses, in DCT coefficients: (R, r), (R, R − r).

    Each basis diagonalizes the power averaged over the other axis, which tightens the diagonal
    bound.
    """
    size = spectrum.resolution
    axis = resize_matrix(operator, size, resolution) @ dct_basis(size).T
    _, _, vh = np.linalg.svd(axis)
    marginal = spectrum.power.sum(axis=(1, 2))

    def uncorrelated(basis: np.ndarray) -> np.ndarray:
        return basis @ np.linalg.eigh((basis.T * marginal) @ basis)[1]

    return uncorrelated(vh[:resolution].T), uncorrelated(vh[resolution:].T)


def _kept_variances(u: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Eigenvalues of ``(U ⊗ U)ᵀ diag(S) (U ⊗ U)``, (r²,)."""
    size, kept = u.shape
    pairs = (u[:, :, None] * u[:, None, :]).reshape(size, kept * kept)  # u[k, i] u[k, j]
    matrix = (pairs.T @ power @ pairs).reshape(kept, kept, kept, kept)  # i, j of rows; of columns
    return eigvalsh(matrix.transpose(0, 2, 1, 3).reshape(kept * kept, -1)).clip(min=0)
