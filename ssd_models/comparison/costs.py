"""What training and sampling of each arm cost: FLOP counted, seconds measured in one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from theory.oracle.steps import select_steps
from theory.schedule.resolution import ResolutionSchedule

from ..bench.contenders import Compute
from ..bench.machine import describe, torch_machine
from ..bench.path_timing import path_seconds
from ..bench.schedules import PathSize, path_calls, total_cost
from ..devices import compute_device
from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_flops
from ..training.building import build_unet
from ..training.config import TrainConfig
from ..training.objective import PathSampler

_TURNS = 7  # of a timing


def training_shares(schedule: ResolutionSchedule, config: TrainConfig) -> dict[PathSize, float]:
    """Share of the training images that each path takes."""
    sampler = PathSampler.of(config, schedule)
    images = {(p.r_in, p.r_out): p.probability * p.images for p in sampler.paths}
    total = sum(images.values())
    return {path: count / total for path, count in images.items()}


def sampling_calls(schedule: ResolutionSchedule, calls: int) -> dict[PathSize, int]:
    """Network calls on each path of a chain of about ``calls`` calls, see `sampler_steps`."""
    return path_calls(schedule, sampler_steps(schedule, calls))


def sampler_steps(schedule: ResolutionSchedule, calls: int) -> list[int]:
    """Steps of the second-order sampler of so many calls; all steps where there are no more."""
    return select_steps(schedule, None if calls >= schedule.num_steps else calls)


def flops(unet: FlexiUNet, schedule: ResolutionSchedule, training: bool) -> dict[PathSize, int]:
    """FLOP of one image on each path that the schedule uses."""
    steps = zip(schedule.resolutions, schedule.output_resolutions, strict=True)
    paths = sorted({(int(a), int(b)) for a, b in steps})
    return {path: path_flops(unet, *path, training=training) for path in paths}


def training_flops(schedule: ResolutionSchedule, config: TrainConfig, channels: int) -> float:
    """FLOP of training on one image, mean over the paths that training draws."""
    unet = build_unet(config, schedule, channels)
    return total_cost(training_shares(schedule, config), flops(unet, schedule, training=True))


def seconds(
    unets: Mapping[str, FlexiUNet],
    schedules: Mapping[str, ResolutionSchedule],
    configs: Mapping[str, TrainConfig],
    calls: Iterable[int],
) -> dict[str, Any]:
    """Seconds of training and sampling of each arm, from its paths, all timed in one run.

    All paths take turns, so that arms compare on a noisy machine.

    Returns
    -------
    dict
        ``setting`` in words, ``machine``, and by arm ``training`` (an image) and ``sampling`` (an
        image, by the number of calls).
    """
    keys = {arm: _network(config) for arm, config in configs.items()}
    paths: dict[tuple[Any, ...], set[PathSize]] = {}
    for arm, key in keys.items():
        paths.setdefault(key, set()).update(flops(unets[arm], schedules[arm], False))
    timed = {}
    for arm, key in keys.items():
        if key in timed:
            continue
        config = configs[arm]
        compute = Compute.of(config.bf16, config.compile)
        timed[key] = [
            {
                path: elapsed / config.batch_size
                for path, elapsed in path_seconds(
                    unets[arm],
                    paths[key],
                    config.batch_size,
                    _TURNS,
                    training,
                    compute,
                ).items()
            }
            for training in (False, True)
        ]
    arms = {}
    for arm, schedule in schedules.items():
        sampling, training = timed[keys[arm]]
        arms[arm] = {
            "training": total_cost(training_shares(schedule, configs[arm]), training),
            "sampling": {str(n): total_cost(sampling_calls(schedule, n), sampling) for n in calls},
        }
    machine = torch_machine(compute_device())
    batches = ", ".join(sorted({str(config.batch_size) for config in configs.values()}))
    return {
        "setting": f"{describe(machine)}, batch {batches}, medians of {_TURNS} turns by path",
        "machine": machine,
        "arms": arms,
    }


def _network(config: TrainConfig) -> tuple[Any, ...]:
    """What of a configuration the seconds of a path depend on."""
    return config.network, config.base_channels, config.batch_size, config.bf16, config.compile
