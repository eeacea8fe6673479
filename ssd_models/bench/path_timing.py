"""Seconds that each path of a network takes, in training and in inference."""

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

LEAST = 0.2  # seconds that a turn of a measurement lasts, at least
Seconds = dict[str, dict[PathSize, float]]  # of a batch, by contender and path


def path_seconds(
    unet: FlexiUNet,
    paths: Iterable[PathSize],
    batch: int,
    repeats: int = 5,
    training: bool = False,
    compute: Compute = CPU,
    least: float = LEAST,
) -> dict[PathSize, float]:
    """Median seconds of a batch on each path of a network, the paths taking turns.

    A schedule's seconds are the sum over its paths of share times seconds:
    `theory.ResolutionSchedule.chain_cost` of the result for a chain of all steps.

    Parameters
    ----------
    unet : FlexiUNet
        Is copied: neither its weights nor its device change.
    paths : iterable of (int, int)
        Resolution of the state and of the prediction, in pixels.
    batch : int
        Images.
    repeats : int
        Turns, of which the median counts, after one that warms up.
    training : bool
        A training step as `Trainer` makes it (forward, backward, AdamW, average of the weights)
        in place of a call without gradient.
    compute : Compute
        By default float32 on the CPU. The time that `torch.compile` takes does not count.
    least : float
        Seconds that a turn lasts at least: shorter jobs are repeated in it, and their mean counts.

    Returns
    -------
    dict
        ``{(resolution in, resolution out): seconds}``, of the whole batch.

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
    """Median seconds of a batch, by contender and path; all take turns.

    Paths that only some of several contenders have are measured on those.
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
    """Network of a setting's widths, always with the same weights."""
    width = {} if setting.base_channels is None else {"base_channels": setting.base_channels}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        name = f"{setting.network}-{resolution}"
        return FlexiUNet.from_preset(name, num_levels=levels, **width)


def waiting(device: torch.device) -> Job | None:
    """What waits until a device has done its work; None where calls do."""
    return torch.cuda.synchronize if device.type == "cuda" else None
