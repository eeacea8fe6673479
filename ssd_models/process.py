"""The diffusion process with a change of resolution: forward marginals and exact posterior steps.

``q(x_t | x_0) = N(a_t M_{1:t} x_0, σ_t² I)`` and, for ``s < t``, with ``M = M_{s+1:t}`` and
``c = a_t/a_s``, ``q(x_t | x_s) = N(c M x_s, σ_t² I − c² σ_s² M Mᵀ)`` (mathematics §2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from theory.errors import InputError
from theory.posterior import reverse_step
from theory.schedules import ResolutionSchedule

from .degradation import Degradation


def standard_normal(
    shape: Sequence[int], like: Tensor, generator: torch.Generator | None
) -> Tensor:
    """White noise with the dtype and device of ``like``, drawn where ``generator`` lives."""
    device = like.device if generator is None else generator.device
    noise = torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=device)
    return noise.to(like.device)


class ScaleSpaceProcess:
    """Forward process and posterior of a `theory.ResolutionSchedule`, on torch tensors.

    Steps are integers (one for a whole batch, since they fix its resolution). Amplitudes are kept
    in float64; results have the dtype and device of the tensors given.
    """

    def __init__(self, schedule: ResolutionSchedule):
        self.schedule = schedule
        self._degradations: dict[tuple[int, ...], Degradation] = {}

    def resolution(self, t: int) -> int:
        """Side of the state at step ``t`` in pixels."""
        return int(self.schedule.resolutions[self._step(t)])

    def degradation(self, s: int | None, t: int) -> Degradation:
        """``M_{s+1:t}``, from the state at ``s`` (None: the clean image) to that at ``t``."""
        last = self._step(t)
        first = 0 if s is None else self._step(s)
        if first > last:
            raise InputError(f"steps {s} -> {t}: the first must not be noisier than the second")
        visited = tuple(dict.fromkeys(self.schedule.resolutions[first : last + 1].tolist()))
        if visited not in self._degradations:
            self._degradations[visited] = Degradation(self.schedule.operator, visited)
        return self._degradations[visited]

    def degrade(self, x0: Tensor, t: int) -> Tensor:
        """``M_{1:t} x_0``: the clean image (N, C, R, R) at the resolution of step ``t``."""
        if x0.shape[-1] != self.schedule.resolution or x0.shape[-2] != x0.shape[-1]:
            raise InputError(
                f"x0: has shape {tuple(x0.shape)}; the schedule needs "
                f"(N, C, {self.schedule.resolution}, {self.schedule.resolution})"
            )
        return self.degradation(None, t)(x0)

    def add_noise(
        self,
        x0: Tensor,
        t: int | Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """``x_t = a_t M_{1:t} x_0 + σ_t noise``.

        Parameters
        ----------
        x0 : (N, C, R, R) tensor
            Clean images at full resolution.
        t : int or (N,) integer tensor
            Step of the batch or of each image; all must have the same resolution.
        noise : (N, C, r_t, r_t) tensor, optional
            Standard normal; drawn from ``generator`` if not given.
        """
        steps = torch.as_tensor(t).reshape(-1).tolist()
        if len({self.resolution(step) for step in steps}) != 1 or len(steps) not in (1, len(x0)):
            raise InputError("t: give one step, or one per image, all of the same resolution")
        clean = self.degrade(x0, max(steps))
        if noise is None:
            noise = standard_normal(clean.shape, clean, generator)
        if noise.shape != clean.shape:
            raise InputError(
                f"noise: has shape {tuple(noise.shape)}, the state needs {tuple(clean.shape)}"
            )
        shape = (-1, 1, 1, 1)
        alpha = torch.as_tensor(self.schedule.alpha[steps]).to(clean).reshape(shape)
        sigma = torch.as_tensor(self.schedule.sigma[steps]).to(clean).reshape(shape)
        return alpha * clean + sigma * noise

    def posterior_mean(
        self, x0_at_s: Tensor, x_t: Tensor, t: int, s: int, eta: float = 1.0
    ) -> Tensor:
        """Mean of the reverse step ``t → s`` that knows the clean image.

        ``μ_s + K (x_t − a_t M μ_s / a_s)`` with ``μ_s = a_s x0_at_s``. For η = 1 it is the mean of
        ``q(x_s | x_t, x_0)``; see `posterior_sample`.
        """
        return self._mean(x0_at_s, x_t, t, s, self._gain(x0_at_s, x_t, t, s, eta)[0])

    def _mean(self, x0_at_s: Tensor, x_t: Tensor, t: int, s: int, gain: np.ndarray) -> Tensor:
        a_s, a_t = float(self.schedule.alpha[s]), float(self.schedule.alpha[t])
        degradation = self.degradation(s, t)
        residual = x_t - a_t * degradation(x0_at_s)
        return a_s * x0_at_s + degradation.lift(residual, gain)

    def posterior_sample(
        self,
        x0_at_s: Tensor,
        x_t: Tensor,
        t: int,
        s: int,
        eta: float = 1.0,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Draw ``x_s`` given ``x_t`` and the (predicted) clean image.

        Parameters
        ----------
        x0_at_s : (N, C, r_s, r_s) tensor
            ``M_{1:s} x_0``, or its prediction.
        x_t : (N, C, r_t, r_t) tensor
        t, s : int
            The present step and the less noisy one to go to.
        eta : float
            1: ancestral, the exact posterior; 0: deterministic but for the directions that the
            larger resolution opens (DDIM where the resolution stays). Between the two the gains
            ``k_i`` are interpolated linearly. Every value keeps the marginals.
        generator : torch.Generator, optional
        noise : (N, C, r_s, r_s) tensor, optional
            Standard normal, in place of a draw from ``generator``.
        """
        gain, kept, rest = self._gain(x0_at_s, x_t, t, s, eta)
        mean = self._mean(x0_at_s, x_t, t, s, gain)
        degradation = self.degradation(s, t)
        if degradation.is_identity and not np.any(kept):
            return mean
        if noise is None:
            noise = standard_normal(mean.shape, mean, generator)
        return mean + degradation.filter(noise, kept, rest)

    def _gain(
        self, x0_at_s: Tensor, x_t: Tensor, t: int, s: int, eta: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Gains ``k_i``, and the noise's standard deviation on the row space and outside it."""
        if not 0 <= s < t < self.schedule.num_steps:
            raise InputError(
                f"steps {t} -> {s}: need 0 <= s < t < {self.schedule.num_steps} (a reverse step)"
            )
        for name, tensor, step in (("x0_at_s", x0_at_s, s), ("x_t", x_t, t)):
            if tensor.shape[-2:] != (self.resolution(step),) * 2:
                raise InputError(
                    f"{name}: has shape {tuple(tensor.shape)}, step {step} has "
                    f"{self.resolution(step)} pixels"
                )
        singular = self.degradation(s, t).singular_values
        gain, variance = reverse_step(self.schedule, t, s, singular, eta)
        return gain, np.sqrt(variance), float(self.schedule.sigma[s])

    def _step(self, t: int) -> int:
        if not 0 <= int(t) < self.schedule.num_steps:
            raise InputError(f"step {t}: must be between 0 and {self.schedule.num_steps - 1}")
        return int(t)
