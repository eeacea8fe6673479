"""Fréchet distance between Gaussian fits to two sets of features (Dowson & Landau 1982)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from theory.support.errors import InputError

from .checks import check_pair
from .estimates import GROUPS, Estimate, jackknife
from .scattering import scattering_features


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Wasserstein-2 distance ``|μ_a − μ_b|² + tr(A + B − 2 (A^½ B A^½)^½)``.

    Computed from eigenvalues of symmetric matrices, which are real and clipped at zero, so
    covariances may be singular (fewer rows than features, constant features).

    Parameters
    ----------
    a : (N, D) array
    b : (M, D) array
        One row per image, at least two; the covariances A and B are normalized by N − 1, M − 1.

    Raises
    ------
    InputError
        If shapes do not fit.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(
            f"features: have shapes {a.shape} and {b.shape}; give (N, D) and (M, D) with at least "
            "two rows"
        )
    (mean_a, covariance_a), (mean_b, covariance_b) = _moments(a), _moments(b)
    values, vectors = torch.linalg.eigh(covariance_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0)
    apart = (mean_a - mean_b).square().sum()
    traces = covariance_a.trace() + covariance_b.trace()
    return max(float(apart + traces - 2 * cross.sqrt().sum()), 0.0)


def frechet_scattering(
    sampled: np.ndarray, reference: np.ndarray, groups: int = GROUPS
) -> Estimate:
    """Fréchet distance of scattering features, each in units of its reference standard deviation.

    The raw features differ by orders of magnitude; in these units all have the same weight.
    Identical images with the reference's mean features are at a distance of about D. The jackknife
    keeps the units fixed.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) and (M, R, R, C) uint8
        See `ssd_models.metrics.scattering.scattering_features` for R and the number D of features.
        With fewer images than a few times D the distance is far above zero even for equal
        distributions; compare values at equal counts only.

    Raises
    ------
    InputError
        If image sizes differ or have no scattering features, or there are fewer images than groups.
    """
    check_pair(sampled, reference, at_least=max(groups, 3))
    return frechet_of_features(scattering_features(sampled), scattering_features(reference), groups)


def frechet_of_features(
    sampled: np.ndarray, reference: np.ndarray, groups: int = GROUPS
) -> Estimate:
    """`frechet_scattering` of precomputed features, (N, D) and (M, D)."""
    deviation = reference.std(axis=0, dtype=np.float64)
    unit = np.where(deviation > 0, deviation, 1)
    return jackknife(frechet_distance, sampled / unit, reference / unit, groups)


def _moments(features: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) in float64."""
    rows = torch.from_numpy(features.astype(np.float64))
    mean = rows.mean(dim=0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)
