"""The oracle in dense matrices: exact for every separable operator, at small resolutions.

`theory.oracle.recursion` follows one variance per DCT coefficient, which is exact for the ``dct``
operator only: the others mix coefficients. Here the covariance of the whole state is propagated,
together with the predictions that the sampler remembers. States at full resolution are expressed in
DCT coefficients, smaller ones in the eigenvectors of the covariance of their clean images, so that
steps that keep the resolution are diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ..images.axis_maps import DegradationPath
from ..images.operators import dct_basis
from ..schedule.resolution import ResolutionSchedule
from ..schedule.reverse_step import reverse_step
from ..spectrum.spectrum import Spectrum
from .recursion import half_step_ratio
from .sampler import Sampler

LARGEST = 32  # pixels; each change multiplies matrices of R² x R²


def pixel_covariance(spectrum: Spectrum, component: int) -> np.ndarray:
    """Covariance of the pixels of one colour component, for independent DCT coefficients.

    Returns (R², R²) float64, pixels in row-major order, in the spectrum's squared units.
    """
    basis = np.kron(dct_basis(spectrum.resolution), dct_basis(spectrum.resolution))
    return (basis.T * spectrum.power[:, :, component].ravel()) @ basis


def dense_covariance(
    schedule: ResolutionSchedule, power: np.ndarray, visited: list[int], sampler: Sampler
) -> np.ndarray:
    """Covariance of the DCT coefficients of the last clean prediction, for one colour component.

    Parameters
    ----------
    schedule : ResolutionSchedule
    power : (R²,) array
        Variances of the data's DCT coefficients, in row-major order.
    visited : list of int
        Steps, falling.
    sampler : Sampler
        With ``changes`` chosen (`Sampler.on`).

    Returns
    -------
    (R², R²) float64
    """
    return _Chain(schedule, power, sampler).run(visited)


@dataclass(frozen=True)
class _Level:
    """Coordinates of the clean images behind states of one kind, in which they are independent."""

    clean: np.ndarray  # (n, R²): from the DCT coefficients of the image
    variance: np.ndarray  # (n,)
    vectors: np.ndarray | None  # (r², n): from the coordinates to pixels; None: DCT coefficients


class _Chain:
    """Joint covariance of a sampler's state and of the predictions that it remembers."""

    def __init__(self, schedule: ResolutionSchedule, power: np.ndarray, options: Sampler):
        self.schedule, self.power, self.options = schedule, power, options
        self.size = schedule.resolution
        self.basis = dct_basis(self.size)
        self.logsnr = np.log(schedule.base_snr)
        self._levels: dict[DegradationPath, _Level] = {}
        self.covariance = np.empty((0, 0))
        self.history: tuple[int, int, int] | None = None  # prediction: step, resolution, length
        self.opened: int | None = None  # step before a corrected change just passed

    def run(self, visited: list[int]) -> np.ndarray:
        """Covariance of the last clean prediction's DCT coefficients, (R², R²)."""
        t = visited[0]
        self.covariance = np.diag(self.marginal(t))
        for s in visited[1:]:
            if self._is_diagonal(t, s):
                self._plain_step(t, s)
            else:
                self._step(t, s)
            t = s
        last = self.predicted(t, np.eye(self.size**2))
        state = self.covariance[: last.shape[1], : last.shape[1]]
        result = last @ state @ last.T
        if self.options.spectral_variance:
            result += np.diag(self.power) - (last * self.marginal(t)) @ last.T
        return (result + result.T) / 2

    def level(self, t: int | None) -> _Level:
        """Coordinates of the state at ``t``; of clean images for None."""
        path = self.schedule.path(None, 0 if t is None else t)
        if t is None:
            path = DegradationPath(path.operator, (self.size,))
        if path not in self._levels:
            self._levels[path] = self._make_level(path)
        return self._levels[path]

    def _make_level(self, path: DegradationPath) -> _Level:
        axis = path.matrix() @ self.basis.T
        if path.resolutions[-1] == self.size:  # blur at most, which scales coefficients
            factor = np.diag(self.basis @ axis)
            factors = np.outer(factor, factor).ravel()
            return _Level(np.diag(factors), factors**2 * self.power, None)
        clean = np.kron(axis, axis)
        variance, vectors = eigh((clean * self.power) @ clean.T)
        return _Level(vectors.T @ clean, variance.clip(min=0), vectors)

    def marginal(self, t: int) -> np.ndarray:
        """Variance of each coordinate of the state at ``t``."""
        signal = self.schedule.alpha[t] ** 2 * self.level(t).variance
        return signal + self.schedule.sigma[t] ** 2

    def predicted(self, t: int, target: np.ndarray) -> np.ndarray:
        """``E[target x0 | x_t]`` as a matrix on the state's coordinates."""
        cross = (target * self.power) @ self.level(t).clean.T
        return cross * (self.schedule.alpha[t] / self.marginal(t))

    def _is_diagonal(self, t: int, s: int) -> bool:
        at_level = self.history is None or self.history[1] == self.schedule.resolutions[t]
        return self.schedule.path(s, t).is_identity and self.opened is None and at_level

    def _plain_step(self, t: int, s: int) -> None:
        """Step that keeps the resolution, coordinate by coordinate."""
        schedule, order = self.schedule, self.options.order
        gain, fresh = reverse_step(schedule, t, s, 1.0, self.options.eta)
        clean = self.level(t).variance
        wiener = schedule.alpha[t] * clean / self.marginal(t)
        pull = schedule.alpha[s] - gain * schedule.alpha[t]  # on the prediction that is used
        n = len(clean)
        if order == 1:
            factor = pull * wiener + gain
            self.covariance = factor[:, None] * self.covariance * factor
            if self.options.spectral_variance:
                left = clean * schedule.sigma[t] ** 2 / self.marginal(t)
                fresh = fresh + pull**2 * left
            self.covariance[np.diag_indices(n)] += fresh
            return
        ratio = self._ratio(t, s)
        parts = len(self.covariance) // n  # the state, and the prediction before if there is one
        factors = np.zeros((2, parts, n))
        factors[0, 0] = pull * (1 + ratio) * wiener + gain
        factors[1, 0] = wiener
        if parts == 2:
            factors[0, 1] = -pull * ratio
        blocks = self.covariance.reshape(parts, n, parts, n)
        stepped = np.zeros((2, n, parts, n))
        for i in range(parts):
            stepped += factors[:, i, :, None, None] * blocks[i]
        result = np.zeros((2, n, 2, n))
        for i in range(parts):
            result += stepped[:, :, i, None, :] * factors[:, i]
        self.covariance = result.reshape(2 * n, 2 * n)
        self.history = (t, int(schedule.resolutions[t]), n)

    def _step(self, t: int, s: int) -> None:
        """Any step, by full matrices; mirrors `ssd_models.sampling.samplers.ReverseStepper`."""
        schedule, options = self.schedule, self.options
        r_t, r_s = int(schedule.resolutions[t]), int(schedule.resolutions[s])
        a_t, sigma_t, a_s, sigma_s = (
            float(x[u]) for u in (t, s) for x in (schedule.alpha, schedule.sigma)
        )
        before, after = self.level(t), self.level(s)
        rows = np.eye(len(self.covariance))  # selects the parts of the stacked vector
        x, rows = np.split(rows, [len(before.variance)])
        path = schedule.path(s, t)
        lifted = options.changes == "free" and r_s != r_t
        if lifted:
            kept = self.predicted(t, before.clean) @ x
            clean = self.between(r_t, r_s, "lift") @ kept
        else:
            clean = kept = self.predicted(t, after.clean) @ x
        history = None
        if self.history is not None:
            history, rows = np.split(rows, [self.history[2]])
        if self.opened is not None and r_s == r_t:
            x = self._corrected(x, rows, t)
        used = clean
        if history is not None and self.history is not None:
            difference = clean - history if self.history[1] == r_s else None
            if difference is None:
                down, up = (self.between(self.history[1], r_s, k) for k in ("down", "lift"))
                difference = up @ (down @ clean - history)
            used = clean + self._ratio(t, s) * difference
        eye = np.eye(len(after.variance))
        if path.is_identity:
            gain, fresh = reverse_step(schedule, t, s, 1.0, options.eta)
            k, degrade, noise = gain * eye, eye, fresh * eye
        else:
            k = self._lifting(path, s, t, lambda m: reverse_step(schedule, t, s, m, options.eta)[0])
            degrade = self._degrading(path, s, t)
            noise = sigma_s**2 * eye - sigma_t**2 * (k @ k.T)
        pull = a_s * eye - a_t * k @ degrade
        if options.spectral_variance:
            wiener = self.predicted(t, after.clean)
            left = np.diag(after.variance) - (wiener * self.marginal(t)) @ wiener.T
            noise = noise + pull @ left @ pull.T
        stack = [pull @ used + k @ x]
        if options.order == 2:
            # Of the two sides of a change with its own call the second's prediction is kept.
            if options.changes == "free" or r_s == r_t:
                stack.append(kept)
                self.history = (t, r_t, len(kept))
            elif history is not None:
                stack.append(history)
        self.opened = None
        if options.changes == "corrected" and r_s != r_t:
            stack.append(clean)
            self.opened = t
        step = np.concatenate(stack)
        self.covariance = step @ self.covariance @ step.T
        self.covariance[: len(noise), : len(noise)] += noise

    def _corrected(self, x: np.ndarray, before: np.ndarray, t: int) -> np.ndarray:
        """State just after a corrected change: the new band by the mean of two predictions."""
        assert self.opened is not None
        difference = self.predicted(t, self.level(t).clean) @ x - before
        path = self.schedule.path(t, self.opened)
        seen = (
            self._lifting(path, t, self.opened, np.ones_like)
            @ self._lifting(path, t, self.opened, np.ones_like).T
        )
        return x + 0.5 * self.schedule.alpha[t] * (difference - seen @ difference)

    def _ratio(self, t: int, s: int) -> float:
        if self.history is None:
            return 0.0
        return float(half_step_ratio(*(self.logsnr[[u]] for u in (self.history[0], t, s)))[0])

    def between(self, small: int, large: int, kind: str) -> np.ndarray:
        """Map of predictions from ``large`` to ``small`` (kind "down"), or its pseudo-inverse."""
        small_step, large_step = (self._target_step(r) for r in (small, large))
        assert small_step is not None
        path = self.schedule.path(large_step, small_step)
        if kind == "down":
            return self._degrading(path, large_step, small_step)
        return self._lifting(path, large_step, small_step, np.reciprocal)

    def _target_step(self, resolution: int) -> int | None:
        if resolution == self.size:
            return None
        return int(np.argmax(self.schedule.resolutions == resolution))

    def _degrading(self, path: DegradationPath, s: int | None, t: int) -> np.ndarray:
        """``M`` from the coordinates of ``s`` to those of ``t``."""
        axis = self._natural(path.matrix(), path)
        return self._from_natural(np.kron(axis, axis), s, t)

    def _lifting(
        self,
        path: DegradationPath,
        s: int | None,
        t: int,
        gain: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """``V diag(gain(s)) Uᵀ`` of ``M = U s Vᵀ``, between the coordinates of the states."""
        u, singular, v = path.factors()
        u, v = self._natural(u, path, columns=False), self._natural(v.T, path, rows=False).T
        weight = gain(np.outer(singular, singular).ravel())
        return self._from_natural(np.kron(u, u) @ (np.kron(v, v) * weight).T, s, t).T

    def _natural(
        self, matrix: np.ndarray, path: DegradationPath, rows: bool = True, columns: bool = True
    ) -> np.ndarray:
        """One-axis matrix with full-resolution sides converted from pixels to the DCT."""
        if rows and path.resolutions[-1] == self.size:
            matrix = self.basis @ matrix
        if columns and path.resolutions[0] == self.size:
            matrix = matrix @ self.basis.T
        return matrix

    def _from_natural(self, matrix: np.ndarray, s: int | None, t: int) -> np.ndarray:
        rows, columns = self.level(t).vectors, self.level(s).vectors
        matrix = matrix if rows is None else rows.T @ matrix
        return matrix if columns is None else matrix @ columns


def compare_with_data(generated: np.ndarray, power: np.ndarray) -> tuple[float, float]:
    """Squared W2 distance, and KL(generated ‖ data) in nats, of two centred Gaussians.

    Parameters
    ----------
    generated : (n, n) array
        Covariance; zero where the data have no variance.
    power : (n,) array
        Variances of the data's independent coefficients.

    Returns
    -------
    w2, kl : float
    """
    some = power > 0
    generated, root = generated[np.ix_(some, some)], np.sqrt(power[some])
    cross = eigh(root[:, None] * generated * root, eigvals_only=True).clip(min=0)
    w2 = power.sum() + np.trace(generated) - 2 * np.sqrt(cross).sum()
    ratio = eigh(generated / root[:, None] / root, eigvals_only=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = 0.5 * (ratio - 1 - np.log(ratio.clip(min=0))).sum()
    return max(float(w2), 0.0), float(kl)
