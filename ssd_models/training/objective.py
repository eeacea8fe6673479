"""What a training step draws, and its loss: one resolution path a step, weighted by noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from theory.schedule.resolution import ResolutionSchedule

from ..diffusion.constants import Constants
from ..diffusion.process import ScaleSpaceProcess
from ..network.embedding import TimeInput, time_values
from ..network.normalization import full_precision
from .config import TrainConfig
from .densities import step_density

MOST_IMAGES = 16  # how many times more images a small path's batch holds, at most


@dataclass(frozen=True, eq=False)
class TrainingPath:
    """Steps of a schedule that share one input and one output resolution."""

    r_in: int  # pixels to a side of the state x_t
    r_out: int  # of the prediction
    steps: np.ndarray  # (n,) t
    chances: np.ndarray  # (n,) probability of each, given the path
    probability: float  # that a training step takes this path
    share: float  # of the schedule's steps that lie on it
    images: int  # times the batch size that its batches hold

    @property
    def name(self) -> str:
        """As logs write it: ``32`` or ``32->64``."""
        return f"{self.r_in}" if self.r_in == self.r_out else f"{self.r_in}->{self.r_out}"

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Steps of a batch of ``count`` images, (count,)."""
        return rng.choice(self.steps, count, p=self.chances)


class PathSampler:
    """Chooses the path of a training step.

    Parameters
    ----------
    schedule : ResolutionSchedule
    change_fraction : float
        Share of training steps at changes of resolution, each of one change.
    constant_pixels : bool
        Batches of small paths hold more images, so that each has as many pixels as one at full
        resolution, up to 16 times the images. How often a path is taken stays.
    density : str
        How often each step that keeps its resolution is drawn, see `training.densities`.

    Notes
    -----
    With `weight` each path has the weight that its share of the T steps has, whatever the
    probabilities and sizes of batches; what a density prefers inside a path is not weighed back.
    """

    def __init__(
        self,
        schedule: ResolutionSchedule,
        change_fraction: float,
        constant_pixels: bool = False,
        density: str = "steps",
    ):
        t = np.arange(schedule.num_steps)
        changes = np.flatnonzero(schedule.output_resolutions != schedule.resolutions)
        kept = np.setdiff1d(t, changes)
        fraction = change_fraction
        if not len(changes) or not len(kept):
            fraction = float(len(changes) > 0)
        resolutions, outputs = schedule.resolutions, schedule.output_resolutions
        chances = step_density(schedule, density)
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
    def of(cls, config: TrainConfig, schedule: ResolutionSchedule) -> PathSampler:
        """With a training run's options."""
        return cls(schedule, config.change_fraction, config.constant_pixels, config.density)

    def choose(self, rng: np.random.Generator) -> TrainingPath:
        """Draw a path; `TrainingPath.draw` gives steps on it."""
        return self.paths[rng.choice(len(self.paths), p=[path.probability for path in self.paths])]

    @staticmethod
    def weight(path: TrainingPath) -> float:
        """Weight of a batch that gives its path the share it has in a uniform choice of steps."""
        return path.share / path.probability


class LossTerms(NamedTuple):
    """A batch's loss and what it is made of; scalars on the batch's device."""

    loss: Tensor  # mean of weight times error
    error: Tensor  # mean squared error of the prediction, unweighted
    target_power: Tensor  # mean square of what is to be predicted: the error of predicting zero
    snr_weight: Tensor  # mean weight of the noise levels


class DenoisingLoss:
    """Mean over images of ``w_t · mean((M_{1:t-1} x_0 − x̂_0)²)`` (mathematics §7).

    Where the schedule blurs, the target is the level's least blurred image
    (`ScaleSpaceProcess.target`). Weights and times are kept on the devices met, so that a call
    copies the steps alone.

    Parameters
    ----------
    process : ScaleSpaceProcess
    weights : (T,) array
        ``w_t`` of each step, see `training.weights`.
    time_input : {"step", "logsnr"}
        What the network is told of the noise.
    """

    def __init__(
        self, process: ScaleSpaceProcess, weights: np.ndarray, time_input: TimeInput = "step"
    ):
        self.process = process
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
            With the signature of `FlexiUNet`.
        x0 : (N, C, R, R) tensor in [-1, 1]
        t : (N,) int64 tensor on the host
            Steps of one path.
        noise : (N, C, r, r) tensor
            Standard normal, at the resolution of step ``t``.
        class_labels : (N,) tensor, optional
            Negative for no class.
        """
        process, device = self.process, x0.device
        places = t.to(device, non_blocking=x0.is_cuda)
        levels = self._constant("levels", lambda: self._levels, x0, torch.float32)
        times, weight = levels[:, places]
        r_out = int(process.schedule.output_resolutions[t.numpy()[0]])
        with full_precision(device):  # matrix products of the process
            target = process.target(x0, r_out)
            x_t = process.noisy(process.degrade(x0, t), places, noise)
        prediction = unet(x_t, times, r_out, class_labels).sample.float()
        error = (prediction - target).square().mean(dim=(1, 2, 3))
        with torch.no_grad():
            power = target.square().mean()
        return LossTerms((weight * error).mean(), error.mean().detach(), power, weight.mean())
