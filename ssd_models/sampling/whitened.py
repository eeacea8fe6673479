"""Sampling in coordinates that stay constant for Gaussian data: `sample_whitened`.

A state's coefficient is ``z = x/σ = γ c + n``, with ``c`` a clean coefficient of variance S minus
its mean, and unit noise ``n``. With ``ρ = γ² S``,

    w = z / √(1 + ρ),    α = asinh √ρ,    dw/dα = (x̂0(z) − x̂_Wiener(z)) / √S

is the deterministic flow from noise to data. For Gaussian data the right side is zero, so that any
number of steps is exact; a network's steps only integrate what is not Gaussian. A coefficient
without signal has α = 0 and is white noise in w, so that a new band needs no other rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from theory.images.operators import dct_basis
from theory.oracle.sampler import SECOND_ORDER, Sampler
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from ..diffusion.constants import Constants
from ..diffusion.gaussian import GaussianField
from ..diffusion.process import Generators, ScaleSpaceProcess, standard_normal
from .samplers import (
    Callback,
    Constraint,
    Denoiser,
    FiniteCheck,
    SamplerState,
    check_prediction,
    check_state,
    check_steps,
)


def sample_whitened(
    denoise: Denoiser,
    process: ScaleSpaceProcess,
    x: Tensor,
    steps: Sequence[int] | None = None,
    *,
    spectrum: Spectrum,
    generator: Generators = None,
    callback: Callback | None = None,
    constraint: Constraint | None = None,
    changes: str | None = None,
) -> Tensor:
    """Deterministic second-order multistep sampler that solves the Gaussian part exactly.

    Each step is ``w ← w + (α_s − α_t)(r + κ (r − r')) / √S``. Here ``r`` is the prediction minus
    that of the Wiener filter, ``r'`` the same at the previous step u, and
    ``κ = (α_s − α_t) / 2(α_t − α_u)``, at most 1, and 0 at a coefficient's first step. Where S is
    zero, ``α/√S`` is its limit ``γ``.

    Parameters
    ----------
    denoise : callable
        ``denoise(x_t, t, out_resolution)``, see `ssd_models.sampling.samplers`.
    process : ScaleSpaceProcess
        Of square images; its schedule has the operator `dct`, or no changes.
    x : (N, C, h, w) tensor
        State at the first, noisiest step.
    steps : sequence of int, optional
        Steps to visit, with one call of ``denoise`` each; all by default.
    spectrum : Spectrum
        Of the data, at full resolution.
    generator : torch.Generator or a sequence of them, optional
        For the noise in coefficients that a change adds.
    callback : callable, optional
        Called with a `SamplerState` after each step.
    constraint : callable, optional
        As in `ssd_models.sampling.samplers.sample_eta`.
    changes : {"network", "free", "corrected"}, optional
        As in `ssd_models.sampling.samplers.sample_eta`; with "free" new coefficients are drawn from
        the Gaussian marginal of the spectrum.

    Returns
    -------
    (N, C, R, R) tensor
        The clean prediction at the last step.

    Raises
    ------
    InputError
        If steps, shapes or the spectrum do not fit, or the denoiser's output is not finite.
    """
    sampler = Sampler(order=2, changes=changes)
    visited = check_steps(process.schedule, steps, sampler)
    states = whitened_trajectory(
        denoise, process, x, visited, spectrum, sampler, generator, constraint
    )
    for state in states:
        if callback is not None:
            callback(state)
    return state.x


def whitened_trajectory(
    denoise: Denoiser,
    process: ScaleSpaceProcess,
    x: Tensor,
    steps: Sequence[int],
    spectrum: Spectrum,
    sampler: Sampler = SECOND_ORDER,
    generator: Generators = None,
    constraint: Constraint | None = None,
) -> Iterator[SamplerState]:
    """Run the chain of `sample_whitened` and yield the state after each step."""
    sampler = sampler.on(process.schedule)
    free = sampler.free
    check_state(process, x, steps[0])
    finite = FiniteCheck(steps)
    coordinates = WhitenedCoordinates(process, spectrum)
    w = coordinates.from_state(x, steps[0])
    earlier: tuple[int, Tensor] | None = None  # previous step u and its remainder r'
    opened: tuple[int, Tensor] | None = None  # at a change: old size, and increment taken
    for t, s in pairwise([*steps, None]):
        assert t is not None
        arrives = process.schedule.resolution if s is None else process.resolution(s)
        resolution = process.resolution(t) if free and s is not None else arrives
        x0 = denoise(x, t, resolution)
        check_prediction(process, x0, x, t, resolution)
        finite.see(x0)
        if constraint is not None:
            x0 = constraint(x0, resolution)
        if s is None:
            yield SamplerState(t, None, x0, x0)
            return
        remainder = coordinates.remainder(x0, w, t)
        if opened is not None and remainder.shape == w.shape:  # the trapezoidal rule
            size, taken = opened
            fully = coordinates.length(None, t, w.shape[-1], like=w) * remainder
            half = 0.5 * (fully - taken)
            half[..., :size, :size] = 0
            w = w + half
        size = w.shape[-1]
        w = coordinates.widened(w, s, generator)
        slope = remainder.clone()
        if earlier is not None:
            u, before = earlier
            had = before.shape[-1]
            kappa = coordinates.ratio(u, t, s, like=w)
            slope[..., :had, :had] += kappa * (remainder[..., :had, :had] - before)
        predicted = slope.shape[-1]
        increment = coordinates.length(t, s, predicted, like=w) * slope
        w = w.clone()
        w[..., :predicted, :predicted] += increment
        crossed = process.resolution(t) != arrives
        opened = (size, increment) if crossed and sampler.changes == "corrected" else None
        if free or not crossed:  # at a change keep only the prediction after it
            earlier = (t, remainder)
        x = coordinates.to_state(w, s)
        written = None if x.is_inference() else x._version  # these have no version
        yield SamplerState(t, s, x, x0)
        if written is None or x._version != written:  # a callback changed the state
            w = coordinates.from_state(x, s)


class WhitenedCoordinates:
    """Conversion between states and whitened coefficients ``w`` of DCT and colour components.

    Parameters
    ----------
    process : ScaleSpaceProcess
    spectrum : Spectrum
        Of the data, at the process's full resolution.

    Raises
    ------
    InputError
        If resolutions do not fit, or the schedule's operator mixes DCT coefficients.
    """

    def __init__(self, process: ScaleSpaceProcess, spectrum: Spectrum):
        schedule, self.field = process.schedule, GaussianField.of(spectrum, process)
        if schedule.mixes_frequencies:
            raise InputError(
                f"whitened sampling: operator {schedule.operator!r} mixes DCT coefficients; use "
                "another sampler, or a schedule of operator 'dct'"
            )
        self.process, self.schedule = process, schedule
        self._deviation = np.sqrt(spectrum.power).transpose(2, 0, 1)  # (C, R, R)
        self._constant = Constants(16)

    def from_state(self, x: Tensor, t: int) -> Tensor:
        """Whiten a state at step ``t``: (N, C, r, r), channels become colour components."""
        self.field.check_channels(x.shape[1])
        centred = x - self._mean(t, x)
        scale = 1 / float(self.schedule.sigma[t]) / np.sqrt(1 + self._rho(t))
        return self._analysis(centred) * self._tensor(scale, x)

    def to_state(self, w: Tensor, t: int) -> Tensor:
        """State at step ``t`` from its ``w``: (N, C, r, r)."""
        scale = float(self.schedule.sigma[t]) * np.sqrt(1 + self._rho(t))
        return self._synthesis(w * self._tensor(scale, w)) + self._mean(t, w)

    def widened(self, w: Tensor, s: int, generator: Generators) -> Tensor:
        """Enlarge ``w`` to the size of the state at ``s``, with white noise as new coefficients."""
        size, have = self.process.resolution(s), w.shape[-1]
        if size == have:
            return w
        wide = standard_normal((*w.shape[:2], size, size), w, generator)
        wide[..., :have, :have] = w
        return wide

    def remainder(self, x0: Tensor, w: Tensor, t: int) -> Tensor:
        """Prediction minus the Wiener filter's, as full-resolution coefficients: (N, C, q, q)."""
        q, side = x0.shape[-1], w.shape[-1]
        mean = self.process.target(self.field.mean(x0), q)
        found = self._analysis(x0 - mean) * (self.schedule.resolution / q)
        gamma = self._gamma(t)
        wiener = gamma * self._power(side) / np.sqrt(1 + self._rho(t))
        found[..., :side, :side] -= self._tensor(wiener, w) * w
        return found

    def length(self, t: int | None, s: int, size: int, like: Tensor) -> Tensor:
        """``(α_s − α_t) / √S`` of the lowest coefficients, (C, size, size); t None: from α = 0."""
        start = 0.0 if t is None else self._position(t, size)
        return self._tensor(self._position(s, size) - start, like)

    def ratio(self, u: int, t: int, s: int, like: Tensor) -> Tensor:
        """Factor ``κ`` of the step from t to s, for coefficients that the previous state u has."""
        size = self.process.resolution(u)
        at_u, at_t, at_s = (self._position(step, size) for step in (u, t, s))
        last = at_t - at_u
        kappa = np.divide(at_s - at_t, 2 * last, out=np.zeros_like(last), where=last > 0)
        return self._tensor(np.minimum(kappa, 1.0), like)

    def _position(self, t: int, size: int) -> np.ndarray:
        """``α/√S`` at step ``t``, zero where the state has no signal: (C, size, size)."""
        gamma = np.zeros((size, size))
        kept = min(size, self.process.resolution(t))
        gamma[:kept, :kept] = self._gamma(t)[:kept, :kept]
        deviation = self._deviation[:, :size, :size]
        alpha = np.arcsinh(gamma * deviation)
        return np.divide(
            alpha, deviation, out=np.broadcast_to(gamma, alpha.shape).copy(), where=deviation > 0
        )

    def _gamma(self, t: int) -> np.ndarray:
        """Signal amplitude over noise of each coefficient of the state at ``t``, (r, r)."""
        return self.schedule.alpha[t] / self.schedule.sigma[t] * self.schedule.transfer(t)

    def _power(self, size: int) -> np.ndarray:
        return self._deviation[:, :size, :size] ** 2

    def _rho(self, t: int) -> np.ndarray:
        gamma = self._gamma(t)
        return gamma**2 * self._power(len(gamma))

    def _mean(self, t: int, like: Tensor) -> Tensor:
        return float(self.schedule.alpha[t]) * self.process.degrade(self.field.mean(like), t)

    def _tensor(self, array: np.ndarray, like: Tensor) -> Tensor:
        return torch.as_tensor(array, dtype=like.dtype).to(like.device)

    def _basis(self, size: int, like: Tensor) -> Tensor:
        return self._constant(size, lambda: dct_basis(size), like)

    def _analysis(self, x: Tensor) -> Tensor:
        basis = self._basis(x.shape[-1], x)
        components = self.field.components(x)
        return basis @ components @ basis.T

    def _synthesis(self, coefficients: Tensor) -> Tensor:
        basis = self._basis(coefficients.shape[-1], coefficients)
        components = basis.T @ coefficients @ basis
        return torch.einsum("ck,nkhw->nchw", self.field.colours(coefficients), components)
