"""The diffusion process: noise on degraded images, and exact posterior steps.

``q(x_t | x_0) = N(a_t M_{1:t} x_0, σ_t² I)`` and, for ``s < t``, with ``M = M_{s+1:t}`` and
``c = a_t/a_s``, ``q(x_t | x_s) = N(c M x_s, σ_t² I − c² σ_s² M Mᵀ)`` (mathematics §2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from theory.schedule.reverse_step import check_eta, reverse_gains
from theory.support.errors import InputError

from .degradation import Degradation
from .state_maps import StateMaps

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One generator for all images, or one for each, whose noise then depends on its own alone."""


def standard_normal(shape: Sequence[int], like: Tensor, generator: Generators) -> Tensor:
    """White noise with the dtype and device of ``like``, drawn where ``generator`` lives."""
    if isinstance(generator, Sequence):
        if len(generator) != shape[0]:
            raise InputError(f"generator: {len(generator)} of them for {shape[0]} images")
        return torch.cat([standard_normal((1, *shape[1:]), like, own) for own in generator])
    device = like.device if generator is None else generator.device
    noise = torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=device)
    return noise.to(like.device)


class ScaleSpaceProcess(StateMaps):
    """Forward process and posterior of a `theory.ResolutionSchedule`, on torch tensors.

    Steps are integers (one for a whole batch, since they fix its resolution). Amplitudes are kept
    in float64; results have the dtype and device of the tensors given. A reverse step copies
    nothing between host and device, once it has met the device.

    Parameters
    ----------
    schedule : ResolutionSchedule
    image_size : (int, int), optional
        Height and width of the images, where they are not squares of the schedule's resolution;
        every level must have whole numbers of pixels. Amplitudes are the schedule's.
    degradation : callable, optional
        Your own ``M_{s+1:t}`` in place of the schedule's resizes and blurs: from ``(s, t)``, with
        ``s`` None for the clean image, to a `Degradation`.
    """

    def add_noise(
        self,
        x0: Tensor,
        t: int | Tensor,
        noise: Tensor | None = None,
        generator: Generators = None,
    ) -> Tensor:
        """``x_t = a_t M_{1:t} x_0 + σ_t noise``.

        Parameters
        ----------
        x0 : (N, C, H, W) tensor
            Clean images at full resolution.
        t : int or (N,) integer tensor
            Step of the batch or of each image; all must have the same resolution.
        noise : tensor of the state's shape, optional
            Standard normal; drawn from ``generator`` if not given.
        """
        steps = torch.as_tensor(t)
        t = int(steps) if steps.numel() == 1 else steps
        return self.noisy(self.degrade(x0, t), t, noise, generator)

    def noisy(
        self,
        clean: Tensor,
        t: int | Tensor,
        noise: Tensor | None = None,
        generator: Generators = None,
    ) -> Tensor:
        """`add_noise` of images that are degraded to their steps already: ``a_t x + σ_t ε``.

        Steps ``t`` on the device of ``clean`` cost no copy from the host. Raises `InputError` if
        the noise has another shape.
        """
        if noise is None:
            noise = standard_normal(clean.shape, clean, generator)
        if noise.shape != clean.shape:
            raise InputError(
                f"noise: has shape {tuple(noise.shape)}, the state needs {tuple(clean.shape)}"
            )
        if not isinstance(t, Tensor):
            return float(self.schedule.alpha[t]) * clean + float(self.schedule.sigma[t]) * noise
        a, b = (self.table(name, t.reshape(-1), clean) for name in ("alpha", "sigma"))
        return a * clean + b * noise

    def posterior_mean(
        self, x0_at_s: Tensor, x_t: Tensor, t: int, s: int, eta: float = 1.0
    ) -> Tensor:
        """Mean of the reverse step ``t → s`` that knows the clean image.

        ``μ_s + K (x_t − a_t M μ_s / a_s)`` with ``μ_s = a_s x0_at_s``. For η = 1 it is the mean of
        ``q(x_s | x_t, x_0)``; see `posterior_sample`.
        """
        degradation = self._reverse(x0_at_s, x_t, t, s, eta)
        a_t, sigma_t, a_s, sigma_s = self._amplitudes(t, s)
        if degradation.is_identity:
            gain = float(reverse_gains((a_t, sigma_t), (a_s, sigma_s), 1.0, eta)[0])
            return (a_s - gain * a_t) * x0_at_s + gain * x_t
        residual = x_t - a_t * degradation(x0_at_s)
        if eta == 1:  # K = κ Mᵀ
            kappa = a_t / a_s * (sigma_s / sigma_t) ** 2
            return a_s * x0_at_s + kappa * degradation.adjoint(residual)
        return a_s * x0_at_s + degradation.lift(
            residual, lambda m: reverse_gains((a_t, sigma_t), (a_s, sigma_s), m, eta)[0]
        )

    def posterior_noise(self, noise: Tensor, t: int, s: int, eta: float = 1.0) -> Tensor:
        """Noise of the reverse step ``t → s``, made of white noise of the shape of the state at s.

        Its covariance is ``σ_s² I − σ_t² K Kᵀ``, drawn exactly (mathematics §2).
        """
        degradation = self.degradation(s, t)
        a_t, sigma_t, a_s, sigma_s = self._amplitudes(t, s)

        def deviation(m: Tensor) -> Tensor:
            return reverse_gains((a_t, sigma_t), (a_s, sigma_s), m, eta)[1] ** 0.5

        if degradation.is_identity:
            variance = reverse_gains((a_t, sigma_t), (a_s, sigma_s), 1.0, eta)[1]
            return float(variance) ** 0.5 * noise
        return degradation.filter(noise, deviation, sigma_s)

    def needs_noise(self, t: int, s: int, eta: float) -> bool:
        """Whether the reverse step ``t → s`` draws anything."""
        degradation = self.degradation(s, t)
        return eta > 0 or (degradation.opens and not degradation.is_identity)

    def posterior_sample(
        self,
        x0_at_s: Tensor,
        x_t: Tensor,
        t: int,
        s: int,
        eta: float = 1.0,
        generator: Generators = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Draw ``x_s`` given ``x_t`` and the (predicted) clean image.

        Parameters
        ----------
        x0_at_s : (N, C, *shape(s)) tensor
            ``M_{1:s} x_0``, or its prediction.
        x_t : (N, C, *shape(t)) tensor
        t, s : int
            The present step and the less noisy one to go to.
        eta : float
            1: ancestral, the exact posterior; 0: deterministic but for the directions that the
            larger resolution opens (DDIM where the resolution stays). Between the two the gains
            ``k_i`` are interpolated linearly. Every value keeps the marginals.
        generator : torch.Generator, optional
        noise : tensor of the shape of ``x0_at_s``, optional
            Standard normal, in place of a draw from ``generator``.

        Raises
        ------
        InputError
            If a shape is not that of its step, ``eta`` leaves [0, 1], or ``s < t`` does not hold.
        """
        mean = self.posterior_mean(x0_at_s, x_t, t, s, eta)
        if not self.needs_noise(t, s, eta):
            return mean
        if noise is None:
            noise = standard_normal(mean.shape, mean, generator)
        if noise.shape != mean.shape:
            raise InputError(
                f"noise: has shape {tuple(noise.shape)}, the state needs {tuple(mean.shape)}"
            )
        return mean + self.posterior_noise(noise, t, s, eta)

    def _reverse(self, x0_at_s: Tensor, x_t: Tensor, t: int, s: int, eta: float) -> Degradation:
        check_eta(eta)
        if not 0 <= s < t < self.schedule.num_steps:
            raise InputError(
                f"steps {t} -> {s}: need 0 <= s < t < {self.schedule.num_steps} (a reverse step)"
            )
        for name, tensor, step in (("x0_at_s", x0_at_s, s), ("x_t", x_t, t)):
            if tuple(tensor.shape[-2:]) != self.shape(step):
                raise InputError(
                    f"{name}: has shape {tuple(tensor.shape)}, the state at step {step} has "
                    f"{' x '.join(map(str, self.shape(step)))} pixels"
                )
        if x0_at_s.shape[:-2] != x_t.shape[:-2]:
            raise InputError(
                f"x0_at_s: has shape {tuple(x0_at_s.shape)} and x_t {tuple(x_t.shape)}; images and "
                "channels must be as many"
            )
        return self.degradation(s, t)
