"""Which steps a sampler visits, and one reverse step at a time, in the field's idiom."""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from theory.errors import InputError
from theory.noise import NoiseSchedule
from theory.oracle import visited_steps
from theory.schedules import ResolutionSchedule

from .process import ScaleSpaceProcess, standard_normal

SPACINGS = ("logsnr", "uniform")


def select_steps(
    schedule: ResolutionSchedule, num_steps: int | None = None, spacing: str = "logsnr"
) -> list[int]:
    """Choose the steps of a sampler: the first, the last, both sides of every change, and more.

    Parameters
    ----------
    schedule : ResolutionSchedule
    num_steps : int, optional
        Network calls wanted; all steps by default. Fewer than the mandatory steps give those.
    spacing : {"logsnr", "uniform"}
        Spread evenly in the log-snr of the full-resolution chain, which is continuous across
        changes, or in the step index.

    Returns
    -------
    list of int, falling
    """
    if spacing not in SPACINGS:
        raise InputError(f"spacing {spacing!r}: unknown; choose from {', '.join(SPACINGS)}")
    last = schedule.num_steps - 1
    if num_steps is None:
        return list(range(last, -1, -1))
    if not 1 <= num_steps <= schedule.num_steps:
        raise InputError(
            f"{num_steps} sampling steps: must be between 1 and the schedule's {last + 1}"
        )
    axis = -np.log(schedule.base_snr) if spacing == "logsnr" else np.arange(last + 1.0)
    mandatory = sorted({0, last} | schedule.change_sides)
    # Give each further step to the segment whose gaps are widest.
    inner = dict.fromkeys(pairwise(mandatory), 0)
    heap = [(-(axis[b] - axis[a]), a, b) for a, b in inner if b - a > 1]
    heapq.heapify(heap)
    for _ in range(num_steps - len(mandatory)):
        if not heap:
            break
        _, a, b = heapq.heappop(heap)
        inner[a, b] += 1
        if inner[a, b] < b - a - 1:
            heapq.heappush(heap, (-(axis[b] - axis[a]) / (inner[a, b] + 1), a, b))
    chosen = set(mandatory)
    for (a, b), count in inner.items():
        position = np.linspace(axis[a], axis[b], count + 2)[1:-1]
        steps = np.rint(np.interp(position, axis[a : b + 1], np.arange(a, b + 1))).astype(int)
        order = np.arange(count)  # rounding may have met: push apart inside (a, b)
        steps = np.maximum.accumulate(np.maximum(steps, a + 1) - order) + order
        steps = np.minimum(steps, b - count + order)
        chosen.update(steps.tolist())
    return sorted(chosen, reverse=True)


class ScaleSpaceScheduler:
    """Steps of a sampler over a `ResolutionSchedule`: set_timesteps, add_noise, step.

    Attributes
    ----------
    timesteps : (S,) int64 tensor, falling
        Set by `set_timesteps`; all steps at first.
    """

    def __init__(self, schedule: ResolutionSchedule):
        self.schedule = schedule
        self.process = ScaleSpaceProcess(schedule)
        self.set_timesteps()

    @classmethod
    def paper(
        cls, resolution: int, num_levels: int, name: str = "ConvexDecay_0.5", num_steps: int = 1000
    ) -> ScaleSpaceScheduler:
        """Scheduler with the paper's settings: linear betas, its noise, bilinear resizing."""
        noise = NoiseSchedule.linear(num_steps)
        return cls(ResolutionSchedule.paper(resolution, num_levels, name, noise))

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        spacing: str = "logsnr",
    ) -> None:
        """Choose steps by number (`select_steps`), or give them all, which are then used exactly.

        Raises
        ------
        InputError
            If both are given, or given steps leave out a side of a change.
        """
        if timesteps is None:
            steps = select_steps(self.schedule, num_inference_steps, spacing)
        elif num_inference_steps is not None:
            raise InputError("set_timesteps: give num_inference_steps or timesteps, not both")
        else:
            steps = visited_steps(self.schedule, timesteps)
            changes = [t for t in self.schedule.changes if t <= steps[0]]
            sides = {side for t in changes for side in (t - 1, t)}
            if missing := sorted(sides - set(steps)):
                raise InputError(
                    f"timesteps: must visit both sides of every change; {missing} are missing"
                )
        self.timesteps = torch.tensor(steps)
        self._next = dict(pairwise(steps))

    def out_resolution(self, t: int) -> int:
        """Resolution at which the network predicts at ``t``: that of the next state."""
        s = self._next.get(int(t))
        return self.schedule.resolution if s is None else self.process.resolution(s)

    def add_noise(self, x0: Tensor, noise: Tensor | None, timesteps: int | Tensor) -> Tensor:
        """See `ScaleSpaceProcess.add_noise`."""
        return self.process.add_noise(x0, timesteps, noise)

    def initial_noise(
        self,
        batch_size: int,
        channels: int,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """White noise of the first state, (N, C, r, r)."""
        t = int(self.timesteps[0])
        r = self.process.resolution(t)
        like = torch.empty(0, device=device)
        noise = standard_normal((batch_size, channels, r, r), like, generator)
        return noise * float(self.schedule.sigma[t])

    def step(
        self,
        x0: Tensor,
        t: int | Tensor,
        x_t: Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Go from ``x_t`` to the next chosen step, given the predicted clean image there.

        After the last step the prediction itself is the result.
        """
        t = int(t)
        s = self._next.get(t)
        if s is None:
            if t != int(self.timesteps[-1]):
                raise InputError(f"step {t}: is none of the chosen timesteps")
            return x0
        return self.process.posterior_sample(x0, x_t, t, s, eta, generator)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule's JSON file."""
        self.schedule.save(path)
