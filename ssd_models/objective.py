"""What a training batch draws, and its loss: one resolution path a batch, min-SNR weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from theory.schedules import ResolutionSchedule

from .embedding import TimeInput, time_values
from .process import ScaleSpaceProcess


class PathSampler:
    """Draws the steps of a batch: all share one input and one output resolution.

    Parameters
    ----------
    schedule : ResolutionSchedule
    change_fraction : float
        Share of batches at change steps, each a batch of one step; the other batches draw every
        step that keeps its resolution with the same probability.
    """

    def __init__(self, schedule: ResolutionSchedule, change_fraction: float):
        t = np.arange(schedule.num_steps)
        self.changes = np.array(list(schedule.changes), dtype=np.int64)
        self.kept = np.setdiff1d(t, self.changes)
        self.resolutions = schedule.resolutions
        self.fraction = change_fraction if len(self.changes) and len(self.kept) else 0.0
        self.num_steps = schedule.num_steps

    def draw(self, path_rng: np.random.Generator, rng: np.random.Generator, n: int) -> np.ndarray:
        """Steps of a batch, (n,); ``path_rng`` chooses the path, ``rng`` the steps on it."""
        if path_rng.random() < self.fraction:
            return np.full(n, path_rng.choice(self.changes))
        resolution = self.resolutions[path_rng.choice(self.kept)]
        return rng.choice(self.kept[self.resolutions[self.kept] == resolution], n)

    def weight(self, t: int) -> float:
        """Weight that gives the batch of step ``t`` its share in a uniform choice of steps."""
        if not self.fraction:
            return 1.0
        share = len(self.changes) / self.num_steps
        if t in self.changes:
            return share / self.fraction
        return (1 - share) / (1 - self.fraction)


def denoising_loss(
    unet: torch.nn.Module,
    process: ScaleSpaceProcess,
    x0: Tensor,
    t: np.ndarray,
    noise: Tensor,
    snr_clip: float,
    class_labels: Tensor | None = None,
    time_input: TimeInput = "step",
) -> Tensor:
    """Mean over images of ``min(snr_t, clip) · mean((M_{1:t-1} x_0 − x̂_0)²)``.

    Where the schedule blurs, the target is the level's least blurred image
    (`ScaleSpaceProcess.target`).

    ``snr_t`` is the full-resolution chain's (mathematics §7), so that every level sees the weight
    that DDPM gives the same content (min-SNR, Hang et al. 2023).
    """
    schedule = process.schedule
    r_out = int(schedule.output_resolutions[t[0]])
    with torch.autocast(x0.device.type, enabled=False):  # matrix products of the process
        target = process.target(x0, r_out)
        x_t = process.add_noise(x0, torch.from_numpy(t), noise)
    times = torch.from_numpy(time_values(schedule, t, time_input)).to(x0.device)
    prediction = unet(x_t, times, r_out, class_labels).sample.float()
    weight = torch.from_numpy(np.minimum(schedule.base_snr[t], snr_clip)).to(target)
    return (weight * (prediction - target).square().mean(dim=(1, 2, 3))).mean()
