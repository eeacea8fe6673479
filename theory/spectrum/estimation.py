"""From moments of images to power, colour basis, mean image and standard errors."""

from __future__ import annotations

import numpy as np
from scipy.fft import idctn

from .moments import Moments, jackknife, symmetric


def estimate(moments: Moments) -> dict[str, np.ndarray]:
    """Arrays of a `theory.spectrum.spectrum.Spectrum` by name, from the moments of its images.

    Power and standard error are zero where the power is not larger than what rounding leaves.
    """
    images, channels = moments.images, len(moments.images.mean)
    covariance = symmetric(images.scatter, channels) / max(images.weight - 1, 1)
    basis = _eigenvectors(covariance.sum(axis=(2, 3)))
    power = np.einsum("ic,ijkl,jc->klc", basis, covariance, basis, optimize=True)
    square = np.einsum("iikl->kl", covariance) + np.square(images.mean).sum(axis=0)
    known = power > _rounding(square)[..., None]
    return {
        "power": np.where(known, power, 0.0),
        "mean": np.moveaxis(idctn(images.mean, axes=(1, 2), norm="ortho"), 0, 2),
        "colour_basis": basis,
        "standard_error": np.where(known, _standard_error(moments, basis), 0.0),
    }


def _eigenvectors(covariance: np.ndarray) -> np.ndarray:
    """Eigenvectors of a (C, C) covariance as columns, by falling eigenvalue, of positive sum."""
    eigenvalues, basis = np.linalg.eigh(covariance)
    basis = basis[:, np.argsort(-eigenvalues, kind="stable")]
    return basis * np.where(basis.sum(axis=0) < 0, -1.0, 1.0)


def _rounding(square: np.ndarray) -> np.ndarray:
    """Largest power that rounding alone leaves, (R, R), from the mean squares of coefficients.

    In units of the ε of single precision, in which images are decoded and transformed: the fast
    transform errs on each coefficient by up to ε times the image's norm; a coefficient and its mean
    err by a few ε of their own size (up to 4 in 3,000 sets of images that were all the same).
    """
    epsilon = float(np.finfo(np.float32).eps)
    return epsilon**2 * (64 * square + square.sum())


def _standard_error(moments: Moments, basis: np.ndarray) -> np.ndarray:
    """Standard error of the power of each colour component, (R, R, C).

    A component's power ``bᵀ Σ b`` is linear in the covariance's entries, so its variance follows
    from that of the mean of the groups' covariances.
    """
    rows, columns = np.triu_indices(len(basis))
    weights = basis[rows] * basis[columns] * np.where(rows == columns, 1.0, 2.0)[:, None]  # (P, C)
    first, second = np.triu_indices(len(weights))
    pairs = weights[first] * weights[second] * np.where(first == second, 1.0, 2.0)[:, None]
    variance = np.tensordot(jackknife(moments.covariances, moments.groups), pairs, (0, 0))
    return np.sqrt(variance.clip(min=0))
