"""Seconds of each path of a network, in training and in inference."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import partial

import torch

from ..network.flexi_unet import FlexiUNet
from .contenders import CPU, Compute, Contender, flexi_contender
from .schedules import PathSize
from .setting import ComputeSetting
from .timing import Job, median_seconds

LEAST = 0.2  # shortest duration of a repetition in seconds
Seconds = dict[str, dict[PathSize, float]]  # per batch, by contender and path


def path_seconds(
    unet: FlexiUNet,
    paths: Iterable[PathSize],
    batch: int,
    repeats: int = 5,
    training: bool = False,
    compute: Compute = CPU,
    least: float = LEAST,
) -> dict[PathSize, float]:
    """Median seconds of a batch on each path of a network.

    Paths are timed in turns. `theory.ResolutionSchedule.chain_cost` of the result is the mean
    seconds of a call in a chain of all steps.

    Parameters
    ----------
    unet : FlexiUNet
        It is copied; its weights and device do not change.
    paths : iterable of (int, int)
        Resolution of the state and of the prediction, in pixels.
    batch : int
        Images per batch.
    repeats : int
        Repetitions whose median is taken, after one for warm-up.
    training : bool
        Time a training step as in `Trainer` (forward, backward, AdamW, average of the weights)
        instead of a call without gradient.
    compute : Compute
        By default float32 on the CPU. The time of `torch.compile` is not included.
    least : float
        Shortest duration of a repetition in seconds: shorter jobs are run several times in it and
        averaged.

    Returns
    -------
    dict
        ``{(resolution in, resolution out): seconds}`` of a whole batch.

    Raises
    ------
    InputError
        If the network has no such path.
    """
    module = copy.deepcopy(unet).train(training)
    contender = flexi_contender("network", module, compute)
    return contender_seconds([contender], list(paths), batch, repeats, training, least)["network"]


def contender_seconds(
    contenders: list[Contender],
    paths: list[PathSize],
    batch: int,
    repeats: int,
    training: bool,
    least: float = LEAST,
) -> Seconds:
    """Median seconds of a batch by contender and path, timed in turns.

    With several contenders each is timed on the paths that it has.
    """
    jobs: dict[tuple[str, PathSize], Job] = {
        (contender.name, path): partial(
            contender.train if training else contender.infer, path, batch
        )
        for path in paths
        for contender in contenders
        if path in contender.paths or len(contenders) == 1
    }
    found = median_seconds(jobs, repeats, least, waiting(contenders[0].compute.device))
    medians: Seconds = {contender.name: {} for contender in contenders}
    for (name, path), seconds in found.items():
        medians[name][path] = seconds
    return medians


def preset(setting: ComputeSetting, resolution: int, levels: int | None = None) -> FlexiUNet:
    """Network of a setting's widths, with weights of seed 0."""
    width = {} if setting.base_channels is None else {"base_channels": setting.base_channels}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        name = f"{setting.network}-{resolution}"
        return FlexiUNet.from_preset(name, num_levels=levels, **width)


def waiting(device: torch.device) -> Job | None:
    """Function that waits for a GPU; None on other devices."""
    return torch.cuda.synchronize if device.type == "cuda" else None
