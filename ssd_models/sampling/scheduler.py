"""One reverse step at a time, in the field's idiom: set_timesteps, add_noise, step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from theory.oracle.sampler import DDIM, Sampler
from theory.oracle.steps import select_steps
from theory.schedule.noise import NoiseSchedule
from theory.schedule.paper import PAPER
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from ..diffusion.gaussian import GaussianField
from ..diffusion.process import Generators, ScaleSpaceProcess, standard_normal
from .samplers import ReverseStepper, check_steps


class ScaleSpaceScheduler:
    """Steps of a sampler over a `ResolutionSchedule`, and how they are taken.

    Parameters
    ----------
    schedule : ResolutionSchedule
    image_size : (int, int), optional
        Height and width of images that are not squares of the schedule's resolution.

    Attributes
    ----------
    timesteps : (S,) int64 tensor, falling
        Set by `set_timesteps`; all steps at first.
    """

    def __init__(self, schedule: ResolutionSchedule, image_size: tuple[int, int] | None = None):
        self.schedule = schedule
        self.process = ScaleSpaceProcess(schedule, image_size)
        self.set_timesteps()

    @classmethod
    def paper(
        cls, resolution: int, num_levels: int, name: str = PAPER, num_steps: int = 1000
    ) -> ScaleSpaceScheduler:
        """Scheduler with the paper's settings: linear betas, its noise, bilinear resizing."""
        noise = NoiseSchedule.linear(num_steps)
        return cls(ResolutionSchedule.paper(resolution, num_levels, name, noise))

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        spacing: str = "logsnr",
        sampler: Sampler = DDIM,
        spectrum: Spectrum | None = None,
    ) -> None:
        """Choose steps by number (`theory.oracle.steps.select_steps`), or give them all.

        Parameters
        ----------
        num_inference_steps : int, optional
            Network calls; all steps by default.
        timesteps : sequence of int, optional
            The steps themselves, in place of a number; used exactly.
        spacing : {"logsnr", "uniform", "edm", "alpha", "planned"}
            Of a number of steps.
        sampler : Sampler
            That takes the steps.
        spectrum : Spectrum, optional
            Of the data; for "planned" and "alpha".

        Raises
        ------
        InputError
            If steps are given twice, or cannot be followed.
        """
        if timesteps is None:
            steps = select_steps(self.schedule, num_inference_steps, spacing, sampler, spectrum)
        elif num_inference_steps is not None:
            raise InputError("set_timesteps: give num_inference_steps or timesteps, not both")
        else:
            steps = list(timesteps)
        steps = check_steps(self.schedule, steps, sampler)
        self.timesteps = torch.tensor(steps)
        self._next = dict(pairwise(steps))
        self._stepper = ReverseStepper(self.process, sampler)

    def out_resolution(self, t: int) -> int:
        """Resolution at which the network predicts at ``t``: that of the next state."""
        return self._stepper.out_resolution(int(t), self._next.get(int(t)))

    def add_noise(self, x0: Tensor, noise: Tensor | None, timesteps: int | Tensor) -> Tensor:
        """See `ScaleSpaceProcess.add_noise`."""
        return self.process.add_noise(x0, timesteps, noise)

    def initial_state(
        self,
        batch_size: int,
        channels: int,
        generator: Generators = None,
        device: torch.device | str = "cpu",
        field: GaussianField | None = None,
    ) -> Tensor:
        """State to start from, (N, C, h, w).

        With the Gaussian field of the data's spectrum: a draw from the marginal that the first
        step really has, to second order. Without: white noise of variance ``σ²``.
        """
        t = int(self.timesteps[0])
        like = torch.empty(0, device=device)
        if field is not None:
            if field.channels != channels:
                raise InputError(f"spectrum: has {field.channels} channels, the images {channels}")
            clean = field.draw(batch_size, generator, like)
            return self.process.add_noise(clean, t, generator=generator)
        noise = standard_normal((batch_size, channels, *self.process.shape(t)), like, generator)
        return noise * float(self.schedule.sigma[t])

    def step(
        self,
        x0: Tensor,
        t: int | Tensor,
        x_t: Tensor,
        eta: float | None = None,
        generator: Generators = None,
    ) -> Tensor:
        """Go from ``x_t`` to the next chosen step, given the predicted clean image there.

        ``eta`` is by default that of the sampler given to `set_timesteps`. After the last step the
        prediction itself is the result. At order 2 the predictions of a chain are remembered; its
        first step forgets those of the chain before.
        """
        t = int(t)
        if t not in self._next and t != int(self.timesteps[-1]):
            raise InputError(f"step {t}: is none of the chosen timesteps")
        if t == int(self.timesteps[0]):
            self._stepper = ReverseStepper(self.process, self._stepper.sampler)
        if eta is not None:
            self._stepper.sampler = replace(self._stepper.sampler, eta=eta)
        return self._stepper.step(x0, x_t, t, self._next.get(t), generator)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule's JSON file."""
        self.schedule.save(path)
