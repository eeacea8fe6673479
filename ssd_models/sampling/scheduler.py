"""Scheduler with the interface of diffusers: set_timesteps, add_noise, step."""

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
    """Sampling steps over a `ResolutionSchedule`, taken one at a time.

    Parameters
    ----------
    schedule : ResolutionSchedule
    image_size : (int, int), optional
        Height and width of images that are not squares of the schedule's resolution.

    Attributes
    ----------
    timesteps : (S,) int64 tensor, falling
        Steps to visit, set by `set_timesteps`; all steps at first.
    """

    def __init__(self, schedule: ResolutionSchedule, image_size: tuple[int, int] | None = None):
        self.schedule = schedule
        self.process = ScaleSpaceProcess(schedule, image_size)
        self.set_timesteps()

    @classmethod
    def paper(
        cls, resolution: int, num_levels: int, name: str = PAPER, num_steps: int = 1000
    ) -> ScaleSpaceScheduler:
        """Make a scheduler of the paper: linear betas, its noise mode, bilinear resizing.

        Parameters as in `theory.ResolutionSchedule.paper`; ``num_steps`` is the number of steps T.
        """
        noise = NoiseSchedule.linear(num_steps)
        return cls(ResolutionSchedule.paper(resolution, num_levels, name, noise))

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        spacing: str = "logsnr",
        sampler: Sampler = DDIM,
        spectrum: Spectrum | None = None,
        last_snr: float | None = None,
    ) -> None:
        """Choose the steps to visit by their number, or set them one by one.

        Parameters
        ----------
        num_inference_steps : int, optional
            Number of network calls; all steps by default.
        timesteps : sequence of int, optional
            The steps themselves, in place of a number.
        spacing : {"logsnr", "uniform", "edm", "alpha", "planned"}
            How a number of steps is spread, see `theory.oracle.steps.select_steps`.
        sampler : Sampler
            Options of the sampler that takes the steps.
        spectrum : Spectrum, optional
            Of the data; for "planned" and "alpha".
        last_snr : float, optional
            Signal-to-noise ratio of the last step, see `theory.oracle.steps.select_steps`.

        Raises
        ------
        InputError
            If both a number and steps are given, or a sampler cannot follow the steps.
        """
        if timesteps is None:
            steps = select_steps(
                self.schedule, num_inference_steps, spacing, sampler, spectrum, last_snr
            )
        elif num_inference_steps is not None or last_snr is not None:
            other = "last_snr" if num_inference_steps is None else "num_inference_steps"
            raise InputError(f"set_timesteps: give {other} or timesteps, not both")
        else:
            steps = list(timesteps)
        steps = check_steps(self.schedule, steps, sampler)
        self.timesteps = torch.tensor(steps)
        self._next = dict(pairwise(steps))
        self._stepper = ReverseStepper(self.process, sampler)

    def out_resolution(self, t: int) -> int:
        """Resolution of the network's prediction at step ``t``, in pixels."""
        return self._stepper.out_resolution(int(t), self._next.get(int(t)))

    def add_noise(self, x0: Tensor, noise: Tensor | None, timesteps: int | Tensor) -> Tensor:
        """Noisy states at ``timesteps``, see `ScaleSpaceProcess.add_noise`."""
        return self.process.add_noise(x0, timesteps, noise)

    def initial_state(
        self,
        batch_size: int,
        channels: int,
        generator: Generators = None,
        device: torch.device | str = "cpu",
        field: GaussianField | None = None,
    ) -> Tensor:
        """Draw states at the first step, (batch_size, channels, h, w).

        With the Gaussian field of the data's spectrum they have the mean and covariance of the
        first step's marginal. Without it they are white noise of variance ``σ²``. Raises
        `InputError` if the field has other channels.
        """
        t = int(self.timesteps[0])
        like = torch.empty(0, device=device)
        if field is not None:
            field.check_channels(channels)
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
        """Take the reverse step from ``x_t`` to the next timestep.

        At order 2 the previous prediction is remembered; the first timestep starts a new chain.

        Parameters
        ----------
        x0 : (N, C, q, q) tensor
            Clean prediction from ``x_t``, at `out_resolution`.
        t : int
            One of ``timesteps``.
        x_t : (N, C, r, r) tensor
            State at ``t``.
        eta : float, optional
            From 0 (deterministic) to 1 (ancestral), kept for the following steps. By default that
            of the step before, at first that of `set_timesteps`.
        generator : torch.Generator or a sequence of them, optional

        Returns
        -------
        tensor
            State at the next timestep; after the last one the clean images.

        Raises
        ------
        InputError
            If ``t`` is not one of ``timesteps``, or a shape or ``eta`` is invalid.
        """
        t = int(t)
        if t not in self._next and t != int(self.timesteps[-1]):
            raise InputError(f"step {t}: is not one of the chosen timesteps")
        if t == int(self.timesteps[0]):
            self._stepper = ReverseStepper(self.process, self._stepper.sampler)
        if eta is not None:
            self._stepper.sampler = replace(self._stepper.sampler, eta=eta)
        return self._stepper.step(x0, x_t, t, self._next.get(t), generator)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule as a JSON file."""
        self.schedule.save(path)
