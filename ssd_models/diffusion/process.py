"""The diffusion process with linear degradations: forward marginals and exact posterior steps.

``q(x_t | x_0) = N(a_t M_{1:t} x_0, σ_t² I)`` and, for ``s < t``, with ``M = M_{s+1:t}`` and
``c = a_t/a_s``, ``q(x_t | x_s) = N(c M x_s, σ_t² I − c² σ_s² M Mᵀ)`` (mathematics §2).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from theory.images.axis_maps import scaled
from theory.schedule.attenuation import Attenuation
from theory.schedule.resolution import ResolutionSchedule
from theory.schedule.reverse_step import check_eta, reverse_gains
from theory.support.errors import InputError

from .constants import Constants
from .degradation import Degradation, SeparableDegradation, SpectralDegradation

_ROUNDING = 1e-5  # relative: a user's own degradation knows its largest eigenvalue in float32
_KEPT = 128  # degradations; without blur there are only a few


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


class ScaleSpaceProcess:
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

    def __init__(
        self,
        schedule: ResolutionSchedule,
        image_size: tuple[int, int] | None = None,
        degradation: Callable[[int | None, int], Degradation] | None = None,
    ):
        self.schedule = schedule
        self.image_size = image_size or (schedule.resolution,) * 2
        self._own = degradation
        self._degradations: dict[Hashable, Degradation] = {}
        self._constant = Constants()
        if degradation is None and image_size is not None:
            for level in schedule.levels:
                for side in image_size:
                    scaled(level, side, schedule.resolution)

    def resolution(self, t: int) -> int:
        """Resolution of the state at step ``t`` as the schedule names it, in pixels."""
        return int(self.schedule.resolutions[self._step(t)])

    def shape(self, t: int) -> tuple[int, int]:
        """Height and width of the state at step ``t`` in pixels."""
        if self._own is not None:
            return self.degradation(None, t).shape_out
        r, full = self.resolution(t), self.schedule.resolution
        return scaled(r, self.image_size[0], full), scaled(r, self.image_size[1], full)

    def level_shape(self, resolution: int) -> tuple[int, int]:
        """Height and width in pixels of states at a level of the schedule."""
        return self.shape(self._level_start(resolution))

    def target_step(self, resolution: int) -> int | None:
        """Step whose resizes and blurs a prediction at a level has; None: the clean image.

        At a lower level it is the level's least noisy step. Without blur and attenuation all steps
        of a level degrade alike, so that ``M_{1:s} x_0`` of the next state ``s`` is what is
        predicted. Predictions are never attenuated.
        """
        first = self._level_start(resolution)
        return first if resolution != self.schedule.resolution else None

    def target(self, x0: Tensor, resolution: int) -> Tensor:
        """What a denoiser predicts at a level: the clean image, (N, C, H, W), degraded to it."""
        step = self.target_step(resolution)
        self._check_clean(x0)
        return x0 if step is None else self._unattenuated(None, step)(x0)

    def from_target(self, prediction: Tensor, s: int) -> Tensor:
        """``M_{1:s} x_0`` from a prediction at the level of ``s``."""
        if self._attenuation is not None:
            size = prediction.shape[-2:]
            unscaled = self.resolution(s) / self.schedule.resolution
            return self._spectral(("target", s), size, lambda: self._factors(s) / unscaled)(
                prediction
            )
        return self.degradation(self.target_step(self.resolution(s)), s)(prediction)

    def between_levels(self, small: int, large: int) -> Degradation:
        """Map from predictions at one level to those at a smaller one."""
        step = self.target_step(small)
        assert step is not None
        return self._unattenuated(self.target_step(large), step)

    def _level_start(self, resolution: int) -> int:
        found = np.flatnonzero(self.schedule.resolutions == resolution)
        if not found.size:
            raise InputError(f"resolution {resolution}: is that of no step of the schedule")
        return int(found[0])

    def degradation(self, s: int | None, t: int) -> Degradation:
        """``M_{s+1:t}``, from the state at ``s`` (None: the clean image) to that at ``t``."""
        last = self._step(t)
        first = None if s is None else self._step(s)
        if first is not None and first > last:
            raise InputError(f"steps {s} -> {t}: the first must not be noisier than the second")
        if self._attenuation is None or first == last:
            return self._unattenuated(first, last)
        size = self.image_size if first is None else self.shape(first)

        def factors() -> np.ndarray:
            after = self._factors(last)
            if first is None:
                return after
            before = self._factors(first)[: after.shape[0], : after.shape[1]]
            return np.divide(after, before, out=np.zeros_like(after), where=after > 0)

        return self._spectral((first, last), size, factors)

    @property
    def _attenuation(self) -> Attenuation | None:
        return None if self._own is not None else self.schedule.attenuation

    def _factors(self, t: int) -> np.ndarray:
        """Factor of each DCT coefficient from the clean image to the state at ``t``, its shape."""
        assert self._attenuation is not None
        gain = self._attenuation.gain(self.schedule.base_snr[t], self._envelope(self.shape(t)))
        return self.resolution(t) / self.schedule.resolution * gain

    def _envelope(self, shape: tuple[int, int]) -> np.ndarray:
        """The attenuation's envelope at the DCT coefficients of a state of ``shape`` pixels."""
        assert self._attenuation is not None
        full = self.schedule.resolution
        height, width = self.image_size
        return self._attenuation.grid(*shape, (full / height, full / width))

    def _spectral(
        self, key: Hashable, size: Sequence[int], factors: Callable[[], np.ndarray]
    ) -> SpectralDegradation:
        if key not in self._degradations:
            self._keep(key, SpectralDegradation((size[0], size[1]), factors()))
        found = self._degradations[key]
        assert isinstance(found, SpectralDegradation)
        return found

    def _keep(self, key: Hashable, made: Degradation) -> None:
        if len(self._degradations) >= _KEPT:  # those of single steps are many: drop the oldest
            del self._degradations[next(iter(self._degradations))]
        self._degradations[key] = made

    def _unattenuated(self, first: int | None, last: int) -> Degradation:
        """The resizes and blurs of ``M``, or the caller's own map."""
        path = self.schedule.path(first, last)
        key: Hashable = path if self._own is None else (first, last)
        if key not in self._degradations:
            if self._own is None:
                made: Degradation = SeparableDegradation(
                    path, self.image_size, self.schedule.resolution
                )
            else:
                with torch.inference_mode(False):  # it is kept, also for gradients
                    made = self._own(first, last)
                self._check_valid(made, first, last)
            self._keep(key, made)
        return self._degradations[key]

    def degrade(self, x0: Tensor, t: int | Tensor) -> Tensor:
        """``M_{1:t} x_0``: the clean image (N, C, H, W) as it lies behind the state at ``t``.

        ``t`` is one step or, as a tensor, one per image, all of the same resolution.
        """
        self._check_clean(x0)
        if not isinstance(t, Tensor):
            return self.degradation(None, t)(x0)
        steps = t.reshape(-1).cpu().numpy()
        one_size = len({self.resolution(step) for step in np.unique(steps)}) == 1
        if not one_size or len(steps) not in (1, len(x0)):
            raise InputError("t: give one step, or one per image, all of the same resolution")
        if self._attenuation is not None:
            return self._attenuated(x0, t.reshape(-1), self.resolution(int(steps[0])))
        # At one resolution, steps of equal blur degrade alike.
        kinds = steps if self._own is not None else self.schedule.blur[steps]
        _, firsts, which = np.unique(kinds, return_index=True, return_inverse=True)
        maps = [self.degradation(None, int(step)) for step in steps[firsts]]
        if len(maps) == 1:
            return maps[0](x0)
        return torch.cat([maps[kind](x0[i : i + 1]) for i, kind in enumerate(which)])

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

    def _attenuated(self, x0: Tensor, t: Tensor, side: int) -> Tensor:
        """``M_{1:t} x_0`` of images (N, C, H, W) at steps ``t`` (N,) of one level."""
        attenuation = self._attenuation
        assert attenuation is not None
        shape = self.level_shape(side)
        share = side / self.schedule.resolution
        level = self._spectral(("level", side), self.image_size, lambda: np.full(shape, share))

        def drowned() -> np.ndarray:  # snr at which each coefficient vanishes
            with np.errstate(divide="ignore"):
                return attenuation.tolerance / self._envelope(shape)

        snr = self._table("base_snr", x0)[t.to(x0.device, non_blocking=x0.is_cuda)]
        kept = 1 - self._constant(("drowned", side), drowned, x0) / snr[:, None, None, None]
        gain = share * kept.clamp(min=0) ** (attenuation.smoothness / 2)
        return level.synthesis(level.analysis(x0) * gain)

    def _table(self, name: str, like: Tensor) -> Tensor:
        """Array ``name`` of the schedule, (T,), on the device of ``like``."""
        return self._constant(name, lambda: getattr(self.schedule, name), like)

    def noisy(
        self,
        clean: Tensor,
        t: int | Tensor,
        noise: Tensor | None = None,
        generator: Generators = None,
    ) -> Tensor:
        """`add_noise` of images that are degraded to their steps already: ``a_t x + σ_t ε``.

        Steps ``t`` on the device of ``clean`` cost no copy from the host.
        """
        if noise is None:
            noise = standard_normal(clean.shape, clean, generator)
        if noise.shape != clean.shape:
            raise InputError(
                f"noise: has shape {tuple(noise.shape)}, the state needs {tuple(clean.shape)}"
            )
        if not isinstance(t, Tensor):
            return float(self.schedule.alpha[t]) * clean + float(self.schedule.sigma[t]) * noise
        places = t.reshape(-1).to(clean.device, non_blocking=clean.is_cuda)
        a, b = (self._table(n, clean)[places, None, None, None] for n in ("alpha", "sigma"))
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

    def _amplitudes(self, t: int, s: int) -> tuple[float, float, float, float]:
        alpha, sigma = self.schedule.alpha, self.schedule.sigma
        return float(alpha[t]), float(sigma[t]), float(alpha[s]), float(sigma[s])

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

    def _check_clean(self, x0: Tensor) -> None:
        size = self.image_size if self._own is None else self.degradation(None, 0).shape_in
        if x0.ndim != 4 or tuple(x0.shape[-2:]) != tuple(size):
            raise InputError(
                f"x0: has shape {tuple(x0.shape)}; the schedule needs (N, C, {size[0]}, {size[1]})"
            )

    def _check_valid(self, degradation: Degradation, s: int | None, t: int) -> None:
        """Refuse a step of a user's degradation that scales white noise by more than is there."""
        if s is None or degradation.is_identity:
            return
        a_t, sigma_t, a_s, sigma_s = self._amplitudes(t, s)
        least = (a_t / a_s * sigma_s) ** 2 * degradation.lambda_max
        if sigma_t**2 < least * (1 - _ROUNDING):
            raise InputError(
                f"step {s} -> {t}: is not a valid step for this degradation, sigma² = "
                f"{sigma_t**2:.6g} where at least {least:.6g} is needed"
            )

    def _step(self, t: int) -> int:
        if not 0 <= int(t) < self.schedule.num_steps:
            raise InputError(f"step {t}: must be between 0 and {self.schedule.num_steps - 1}")
        return int(t)
