"""Resolution paths of training steps, and the weighted denoising loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum

from ..diffusion.constants import Constants
from ..diffusion.preconditioning import LinearPreconditioning
from ..diffusion.process import ScaleSpaceProcess
from ..network.embedding import TimeInput, time_values
from ..network.normalization import full_precision
from .config import TrainConfig
from .densities import step_density
from .weights import loss_weights

MOST_IMAGES = 16  # largest factor on the batch size of a small path


@dataclass(frozen=True, eq=False)
class TrainingPath:
    """Steps of a schedule that share one input and one output resolution."""

    r_in: int  # resolution of the state x_t, pixels
    r_out: int  # resolution of the prediction
    steps: np.ndarray  # (n,) t
    chances: np.ndarray  # (n,) probability of each step, given the path
    probability: float  # of the path at a training step
    share: float  # fraction of the schedule's steps on this path
    images: int  # factor on the batch size

    @property
    def name(self) -> str:
        """Name in logs: ``32`` or ``32->64``."""
        return f"{self.r_in}" if self.r_in == self.r_out else f"{self.r_in}->{self.r_out}"

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the steps of ``count`` images, (count,)."""
        return rng.choice(self.steps, count, p=self.chances)


class PathSampler:
    """Random choice of the path of a training step.

    Parameters
    ----------
    schedule : ResolutionSchedule
    change_fraction : float
        Fraction of training steps on paths that change the resolution, the same for each change.
    constant_pixels : bool
        Enlarge the batches of small paths to as many pixels as at full resolution, up to 16 times
        the images. The probability of a path stays the same.
    density : str
        Density of the steps that keep their resolution, see `training.densities`.
    spectrum : callable
        Returns the spectrum of the training images, or None if there is none; called only by
        densities that depend on the data.

    Notes
    -----
    `weight` gives each path the weight of its share of the T steps, whatever the probabilities and
    batch sizes. It does not compensate for the density among the steps of one path.
    """

    def __init__(
        self,
        schedule: ResolutionSchedule,
        change_fraction: float,
        constant_pixels: bool = False,
        density: str = "steps",
        spectrum: Callable[[], Spectrum | None] = lambda: None,
    ):
        t = np.arange(schedule.num_steps)
        changes = np.flatnonzero(schedule.output_resolutions != schedule.resolutions)
        kept = np.setdiff1d(t, changes)
        fraction = change_fraction
        if not len(changes) or not len(kept):
            fraction = float(len(changes) > 0)
        resolutions, outputs = schedule.resolutions, schedule.output_resolutions
        chances = step_density(schedule, density, spectrum)
        levels = [kept[resolutions[kept] == r] for r in schedule.levels]
        total = chances[kept].sum()
        groups = [
            (steps, (1 - fraction) * chances[steps].sum() / total) for steps in levels if len(steps)
        ]
        groups += [(np.array([change]), fraction / len(changes)) for change in changes]
        self.paths = []
        for steps, probability in groups:
            r_in, r_out = int(resolutions[steps[0]]), int(outputs[steps[0]])
            ratio = (schedule.resolution // max(r_in, r_out)) ** 2
            self.paths.append(
                TrainingPath(
                    r_in=r_in,
                    r_out=r_out,
                    steps=steps,
                    chances=chances[steps] / chances[steps].sum(),
                    probability=probability,
                    share=len(steps) / len(t),
                    images=min(ratio, MOST_IMAGES) if constant_pixels else 1,
                )
            )

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        schedule: ResolutionSchedule,
        spectrum: Callable[[], Spectrum | None] = lambda: None,
    ) -> PathSampler:
        """Make the sampler of a training configuration."""
        pixels, density = config.constant_pixels, config.density
        return cls(schedule, config.change_fraction, pixels, density, spectrum)

    def choose(self, rng: np.random.Generator) -> TrainingPath:
        """Draw a path; `TrainingPath.draw` draws its steps."""
        return self.paths[rng.choice(len(self.paths), p=[path.probability for path in self.paths])]

    @staticmethod
    def weight(path: TrainingPath) -> float:
        """Loss weight that gives a path its share under a uniform choice of steps."""
        return path.share / path.probability


class LossTerms(NamedTuple):
    """Loss of a batch and its parts; scalars on the device of the batch."""

    loss: Tensor  # mean of weight times error
    error: Tensor  # mean squared error of the prediction, unweighted
    target_power: Tensor  # mean square of the target: the error of predicting zero
    snr_weight: Tensor  # mean weight of the noise levels


class DenoisingLoss:
    """Mean over images of ``w_t · mean((M_{1:t-1} x_0 − x̂_0)²)`` (mathematics §7).

    If the schedule blurs, the target is the least blurred image of the level
    (`ScaleSpaceProcess.target`). Tables over the steps are cached on each device, so that a call
    only copies the steps.

    Parameters
    ----------
    process : ScaleSpaceProcess
    weights : (T,) array
        ``w_t`` of each step, see `training.weights`.
    time_input : {"step", "logsnr"}
        Input of the network for the noise level.
    preconditioning : LinearPreconditioning, optional
        Makes clean predictions of the network's outputs.
    """

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        process: ScaleSpaceProcess,
        spectrum: Callable[[], Spectrum | None],
    ) -> DenoisingLoss:
        """Make the loss of a training configuration.

        Parameters
        ----------
        config : TrainConfig
        process : ScaleSpaceProcess
        spectrum : callable
            Returns the spectrum of the training images, or None if there is none; called only by
            options that depend on the data.

        Raises
        ------
        InputError
            If an option needs a spectrum and there is none, or does not fit the process.
        """
        name = config.preconditioning
        measured = None if name == "none" else spectrum()
        return cls(
            process,
            loss_weights(process.schedule, config, spectrum),
            config.time_input,
            LinearPreconditioning.of(name, measured, process),
        )

    def __init__(
        self,
        process: ScaleSpaceProcess,
        weights: np.ndarray,
        time_input: TimeInput = "step",
        preconditioning: LinearPreconditioning | None = None,
    ):
        self.process, self._preconditioning = process, preconditioning
        schedule = process.schedule
        times = time_values(schedule, np.arange(schedule.num_steps), time_input)
        self._levels = np.stack([times, weights])  # (2, T)
        self._constant = Constants()

    def __call__(
        self,
        unet: torch.nn.Module,
        x0: Tensor,
        t: Tensor,
        noise: Tensor,
        class_labels: Tensor | None = None,
    ) -> LossTerms:
        """Compute the loss of a batch.

        Parameters
        ----------
        unet : module
            Network with the signature of `FlexiUNet`.
        x0 : (N, C, R, R) tensor in [-1, 1]
        t : (N,) int64 tensor on the host
            Steps of one path.
        noise : (N, C, r, r) tensor
            Standard normal, at the resolution of step ``t``.
        class_labels : (N,) tensor, optional
            Class indices, negative for no class.

        Returns
        -------
        LossTerms
        """
        process, device = self.process, x0.device
        places = t.to(device, non_blocking=x0.is_cuda)
        levels = self._constant("levels", lambda: self._levels, x0, torch.float32)
        times, weight = levels[:, places]
        r_out = int(process.schedule.output_resolutions[t.numpy()[0]])
        with full_precision(device):  # for the matrix products of the process
            target = process.target(x0, r_out)
            x_t = process.noisy(process.degrade(x0, t), places, noise)
        prediction = unet(x_t, times, r_out, class_labels).sample.float()
        if self._preconditioning is not None:
            with full_precision(device):
                prediction = self._preconditioning(prediction, x_t, t, r_out)
        error = (prediction - target).square().mean(dim=(1, 2, 3))
        with torch.no_grad():
            power = target.square().mean()
        return LossTerms((weight * error).mean(), error.mean().detach(), power, weight.mean())
