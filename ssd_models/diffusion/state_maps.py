"""The linear maps of a schedule: from the clean image to states, and from state to state."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from theory.images.axis_maps import scaled
from theory.schedule.attenuation import Attenuation
from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError

from .constants import Constants
from .degradation import Degradation, SeparableDegradation, SpectralDegradation

_ROUNDING = 1e-5  # relative: a caller's own degradation knows its largest eigenvalue in float32
_KEPT = 128  # degradations; without blur and attenuation there are only a few


class StateMaps:
    """Sizes of a schedule's states and the degradations ``M`` between them, on torch tensors.

    | schedule | degradation |
    | --- | --- |
    | resizes and blurs | `SeparableDegradation`, one for each pair of levels and blurs |
    | attenuation | `SpectralDegradation`, one for each pair of steps |
    | the caller's own | whatever ``degradation(s, t)`` returns |

    Parameters and errors are those of `ssd_models.diffusion.process.ScaleSpaceProcess`.
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
        if min(self.image_size) < 1:
            raise InputError(f"image_size {self.image_size}: both sides must be positive")
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
        """Step whose degradation a prediction at a level has, without its attenuation.

        At full resolution None: the clean image itself. At a lower level its least noisy step;
        without blur all steps of a level share their degradation, so that this is ``M_{1:s}`` of
        the next state ``s`` as well.
        """
        first = self._level_start(resolution)
        return first if resolution != self.schedule.resolution else None

    def target(self, x0: Tensor, resolution: int) -> Tensor:
        """Clean image (N, C, H, W) degraded to a level: what a denoiser predicts there."""
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

    def degradation(self, s: int | None, t: int) -> Degradation:
        """``M_{s+1:t}``, from the state at ``s`` (None: the clean image) to that at ``t``.

        Raises `InputError` if a step is out of range or ``s`` is noisier than ``t``.
        """
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

    def degrade(self, x0: Tensor, t: int | Tensor) -> Tensor:
        """``M_{1:t} x_0``: the clean image (N, C, H, W) as it lies behind the state at ``t``.

        ``t`` is one step or, as a tensor, one per image, all of the same resolution. Raises
        `InputError` for other steps, or images that do not have the process's size.
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

    def transfer(self, t: Tensor, side: int, like: Tensor) -> Tensor:
        """Factors of DCT coefficients from the clean image to states of a schedule without blur.

        Parameters
        ----------
        t : (N,) integer tensor
            Steps of the level of ``side`` pixels.
        side : int
        like : tensor
            Has the dtype and device of the result.

        Returns
        -------
        (N, 1, h, w) tensor, or (N, 1, 1, 1) if all coefficients have the same factor
        """
        share = side / self.schedule.resolution
        attenuation = self._attenuation
        if attenuation is None:
            return torch.full((len(t), 1, 1, 1), share, dtype=like.dtype, device=like.device)
        shape = self.level_shape(side)

        def vanishing() -> np.ndarray:  # snr at and below which each coefficient is zero
            with np.errstate(divide="ignore"):
                return attenuation.tolerance / self._envelope(shape)

        ratio = self._constant(("vanishing", side), vanishing, like)
        kept = 1 - ratio / self.table("base_snr", t, like)
        return share * kept.clamp(min=0) ** (attenuation.smoothness / 2)

    def table(self, name: str, t: Tensor, like: Tensor) -> Tensor:
        """Values of the schedule's array ``name`` at steps ``t`` (N,), as (N, 1, 1, 1)."""
        values = self._constant(name, lambda: getattr(self.schedule, name), like)
        return values[t.to(like.device, non_blocking=like.is_cuda), None, None, None]

    def _level_start(self, resolution: int) -> int:
        found = np.flatnonzero(self.schedule.resolutions == resolution)
        if not found.size:
            raise InputError(f"resolution {resolution}: is that of no step of the schedule")
        return int(found[0])

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

    def _attenuated(self, x0: Tensor, t: Tensor, side: int) -> Tensor:
        """``M_{1:t} x_0`` of images (N, C, H, W) at steps ``t`` (N,) of one level."""
        shape, share = self.level_shape(side), side / self.schedule.resolution
        level = self._spectral(("level", side), self.image_size, lambda: np.full(shape, share))
        return level.synthesis(level.analysis(x0) * self.transfer(t, side, x0))

    def _check_clean(self, x0: Tensor) -> None:
        size = self.image_size if self._own is None else self.degradation(None, 0).shape_in
        if x0.ndim != 4 or tuple(x0.shape[-2:]) != tuple(size):
            raise InputError(
                f"x0: has shape {tuple(x0.shape)}; the schedule needs (N, C, {size[0]}, {size[1]})"
            )

    def _check_valid(self, degradation: Degradation, s: int | None, t: int) -> None:
        """Raise `InputError` if a caller's degradation scales white noise beyond ``σ_t``."""
        if s is None or degradation.is_identity:
            return
        a_t, sigma_t, a_s, sigma_s = self._amplitudes(t, s)
        least = (a_t / a_s * sigma_s) ** 2 * degradation.lambda_max
        if sigma_t**2 < least * (1 - _ROUNDING):
            raise InputError(
                f"step {s} -> {t}: is not a valid step for this degradation, sigma² = "
                f"{sigma_t**2:.6g} where at least {least:.6g} is needed"
            )

    def _amplitudes(self, t: int, s: int) -> tuple[float, float, float, float]:
        alpha, sigma = self.schedule.alpha, self.schedule.sigma
        return float(alpha[t]), float(sigma[t]), float(alpha[s]), float(sigma[s])

    def _step(self, t: int) -> int:
        if not 0 <= int(t) < self.schedule.num_steps:
            raise InputError(f"step {t}: must be between 0 and {self.schedule.num_steps - 1}")
        return int(t)
