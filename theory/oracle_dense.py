"""The oracle in dense matrices: exact for every separable operator, at small resolutions.

`theory.oracle` follows one variance per DCT coefficient, which is exact for the ``dct`` operator
only: the other operators mix coefficients. Here the whole covariance of what a sampler generates
is propagated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from .errors import InputError
from .operators import dct_basis
from .oracle import OracleReport, check_sampler, octave_decibels, visited_steps
from .posterior import reverse_step
from .schedules import ResolutionSchedule
from .spectrum import Spectrum

LARGEST = 32  # pixels; a step multiplies matrices of R² x R²


def pixel_covariance(spectrum: Spectrum, component: int) -> np.ndarray:
    """Covariance of the pixels of one colour component, DCT coefficients independent.

    Returns (R², R²) float64, pixels in row-major order, in the spectrum's squared units.
    """
    basis = np.kron(dct_basis(spectrum.resolution), dct_basis(spectrum.resolution))
    return (basis.T * spectrum.power[:, :, component].ravel()) @ basis


def dense_oracle_report(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    steps: Sequence[int] | None = None,
    eta: float = 1.0,
    spectral_variance: bool = False,
) -> OracleReport:
    """`theory.oracle.oracle_report` with the operator as it is, at most 32 pixels.

    The sampler starts from the forward marginal and takes first-order steps. ``sources`` is empty:
    errors in different directions do not split.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Of at most 32 pixels.
    spectrum : Spectrum
        Of positive power.
    steps, eta, spectral_variance
        As in `theory.oracle.oracle_report`.

    Returns
    -------
    OracleReport
        ``relative_w2`` and ``kl`` are those of the full covariances; ``power`` holds the variances
        of the generated DCT coefficients.

    Raises
    ------
    InputError
        If the resolution is too large or is not the spectrum's, or an option is out of range.
    """
    size = schedule.resolution
    if size > LARGEST:
        raise InputError(
            f"dense oracle: resolution {size} is above {LARGEST}; use oracle_report, or a spectrum "
            f"at {LARGEST} pixels or less"
        )
    if spectrum.resolution != size:
        raise InputError(f"spectrum: has resolution {spectrum.resolution}, the schedule has {size}")
    check_sampler(eta, 1, spectral_variance)
    visited = visited_steps(schedule, steps)
    basis = np.kron(dct_basis(size), dct_basis(size))
    power = np.empty_like(spectrum.power)
    distance = divergence = 0.0
    for component in range(spectrum.channels):
        data = pixel_covariance(spectrum, component)
        generated = _propagate(schedule, data, visited, eta, spectral_variance)
        power[:, :, component] = np.einsum("ki,ij,kj->k", basis, generated, basis).reshape(
            size, size
        )
        w2, kl = _compare(generated, data)
        distance += w2
        divergence += kl
    return OracleReport(
        power=power,
        relative_w2=distance / float(spectrum.power.sum()),
        kl=divergence,
        octave_db=octave_decibels(power.clip(min=0), spectrum.power),
        num_calls=len(visited),
        sources={},
    )


def _propagate(
    schedule: ResolutionSchedule,
    data: np.ndarray,
    visited: list[int],
    eta: float,
    spectral_variance: bool,
) -> np.ndarray:
    """Covariance (R², R²) of the sampler's last clean prediction."""
    size = schedule.resolution

    def down(t: int) -> np.ndarray:  # M_{1:t} on both axes
        return _both_axes(schedule.path(None, t).matrix())

    t = visited[0]
    clean = down(t)
    covariance = _marginal(schedule, t, clean, data)
    for s in visited[1:]:
        clean_s = clean if schedule.path(s, t).is_identity else down(s)
        wiener = _wiener(schedule, t, clean, clean_s, data)
        step, noise = _reverse_map(schedule, t, s, wiener, eta)
        if spectral_variance:
            # The noise that keeps the marginal: a covariance, but for rounding.
            before = _marginal(schedule, t, clean, data)
            noise = _positive_part(_marginal(schedule, s, clean_s, data) - step @ before @ step.T)
        covariance = step @ covariance @ step.T + noise
        t, clean = s, clean_s
    last = _wiener(schedule, t, clean, np.eye(size * size), data)
    generated = last @ covariance @ last.T
    if spectral_variance:
        generated += data - last @ _marginal(schedule, t, clean, data) @ last.T
    return (generated + generated.T) / 2


def _reverse_map(
    schedule: ResolutionSchedule, t: int, s: int, wiener: np.ndarray, eta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix on ``x_t`` and covariance of the fresh noise of the step from ``t`` to ``s``."""
    a_s, sigma_s, sigma_t = schedule.alpha[s], schedule.sigma[s], schedule.sigma[t]
    path = schedule.path(s, t)
    if path.is_identity:
        gain, variance = reverse_step(schedule, t, s, 1.0, eta)
        identity = np.eye(len(wiener))
        return (a_s - gain * schedule.alpha[t]) * wiener + gain * identity, variance * identity
    axis = path.matrix()  # (r_t, r_s) = U diag(singular) Vᵀ
    u, singular, v = np.linalg.svd(axis, full_matrices=False)
    gain, _ = reverse_step(schedule, t, s, np.outer(singular, singular).ravel(), eta)
    k = (_both_axes(v).T * gain) @ _both_axes(u).T
    residual = np.eye(len(k.T)) - schedule.alpha[t] * _both_axes(axis) @ wiener
    noise = sigma_s**2 * np.eye(len(k)) - sigma_t**2 * (k @ k.T)
    return a_s * wiener + k @ residual, noise


def _both_axes(matrix: np.ndarray) -> np.ndarray:
    return np.kron(matrix, matrix)


def _marginal(
    schedule: ResolutionSchedule, t: int, clean: np.ndarray, data: np.ndarray
) -> np.ndarray:
    signal = schedule.alpha[t] ** 2 * clean @ data @ clean.T
    return signal + schedule.sigma[t] ** 2 * np.eye(len(clean))


def _wiener(
    schedule: ResolutionSchedule, t: int, clean: np.ndarray, target: np.ndarray, data: np.ndarray
) -> np.ndarray:
    """E[target x0 | x_t] as a matrix on ``x_t``."""
    marginal = _marginal(schedule, t, clean, data)
    return np.linalg.solve(marginal, schedule.alpha[t] * clean @ data @ target.T).T


def _positive_part(matrix: np.ndarray) -> np.ndarray:
    values, vectors = eigh((matrix + matrix.T) / 2)
    return (vectors * values.clip(min=0)) @ vectors.T


def _compare(generated: np.ndarray, data: np.ndarray) -> tuple[float, float]:
    """Squared W2 distance, and KL(generated ‖ data) in nats, of two centred Gaussians."""
    values, vectors = eigh(data)
    if values[0] <= 1e-12 * values[-1]:
        raise InputError("dense oracle: the spectrum has no power in some direction")
    root = (vectors * np.sqrt(values)) @ vectors.T
    cross = eigh(root @ generated @ root, eigvals_only=True).clip(min=0)
    w2 = np.trace(data) + np.trace(generated) - 2 * np.sqrt(cross).sum()
    whitened = vectors / np.sqrt(values)
    ratio = eigh(whitened.T @ generated @ whitened, eigvals_only=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = 0.5 * (ratio - 1 - np.log(ratio.clip(min=0))).sum()
    return max(float(w2), 0.0), float(kl)
