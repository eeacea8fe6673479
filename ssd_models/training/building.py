"""Building the network of a training configuration."""

from __future__ import annotations

from typing import Any

import torch

from theory.schedule.costs import is_halving
from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError

from ..network.flexi_unet import FlexiUNet
from .config import TrainConfig


def build_unet(
    config: TrainConfig,
    schedule: ResolutionSchedule,
    channels: int,
    num_classes: int | None = None,
) -> FlexiUNet:
    """Build a network for a schedule, with initial weights from the configuration's seed.

    Parameters
    ----------
    config : TrainConfig
    schedule : ResolutionSchedule
    channels : int
        Channels of the images.
    num_classes : int, optional
        None for an unconditional network.

    Raises
    ------
    InputError
        If a level of the schedule is not its resolution halved repeatedly, or is below the
        network's lowest.
    """
    full = schedule.resolution
    if off := [level for level in schedule.levels if not is_halving(full, level)]:
        raise InputError(
            f"schedule: levels {off} are not {full} halved, as the network needs them; derive one "
            "with a number of levels (`ssd derive --levels N`)"
        )
    overrides: dict[str, Any] = {
        "in_channels": channels,
        "num_classes": num_classes,
        "time_input": config.time_input,
        "preconditioning": config.preconditioning,
    }
    if config.base_channels is not None:
        overrides["base_channels"] = config.base_channels
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        unet = FlexiUNet.from_preset(f"{config.network}-{full}", **overrides)
    if lacking := [level for level in schedule.levels if level not in unet.resolutions]:
        raise InputError(
            f"schedule: levels {lacking} are below the network's smallest, "
            f"{unet.resolutions[-1]}; derive one with fewer (`ssd derive --levels "
            f"{len(unet.resolutions)}`)"
        )
    unet.gradient_checkpointing = config.gradient_checkpointing
    return unet
