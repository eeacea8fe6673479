"""Cost of training and sampling of each arm: computed FLOP and measured seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.oracle.steps import select_steps
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum

from ..bench.contenders import Compute
from ..bench.machine import describe, torch_machine
from ..bench.path_timing import path_seconds
from ..bench.schedules import PathSize, path_calls, total_cost
from ..devices import compute_device
from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_flops, path_name
from ..training.building import build_unet
from ..training.config import TrainConfig
from ..training.objective import PathSampler

_TURNS = 7  # repetitions of a timing


def training_images(
    schedule: ResolutionSchedule, config: TrainConfig, spectrum: Spectrum
) -> dict[PathSize, float]:
    """Expected images of an optimizer step on each path, for data of a spectrum."""
    sampler, batch = PathSampler.of(config, schedule, lambda: spectrum), config.images_per_step(1)
    return {(p.r_in, p.r_out): p.probability * p.images * batch for p in sampler.paths}


def training_shares(
    schedule: ResolutionSchedule, config: TrainConfig, spectrum: Spectrum
) -> dict[PathSize, float]:
    """Share of the training images on each path, for data of a spectrum."""
    images = training_images(schedule, config, spectrum)
    total = sum(images.values())
    return {path: count / total for path, count in images.items()}


def flops_per_step(costs: Mapping[str, Any]) -> float:
    """FLOP of an optimizer step, from the result of `arm_costs`."""
    return float(costs["training_images_per_step"] * costs["training_flops_per_image"])


def sampling_calls(
    schedule: ResolutionSchedule, calls: int, last_snr: float | None = None
) -> dict[PathSize, int]:
    """Network calls on each path of the chain of `sampler_steps`."""
    return path_calls(schedule, sampler_steps(schedule, calls, last_snr))


def sampler_steps(
    schedule: ResolutionSchedule, calls: int, last_snr: float | None = None
) -> list[int]:
    """Steps of a chain of ``calls`` network calls that ends at ``last_snr``; all if no more."""
    number = None if calls >= schedule.num_steps else calls
    return select_steps(schedule, number, last_snr=last_snr)


def flops(unet: FlexiUNet, schedule: ResolutionSchedule, training: bool) -> dict[PathSize, int]:
    """FLOP per image on each path of the schedule."""
    steps = zip(schedule.resolutions, schedule.output_resolutions, strict=True)
    paths = sorted({(int(a), int(b)) for a, b in steps})
    return {path: path_flops(unet, *path, training=training) for path in paths}


def arm_costs(
    schedule: ResolutionSchedule,
    config: TrainConfig,
    spectrum: Spectrum,
    chains: Mapping[str, dict[PathSize, int]],
) -> dict[str, Any]:
    """Computed costs of an arm, as in ``results.json``.

    Parameters
    ----------
    schedule, config, spectrum
        Schedule, training options, and spectrum of the images.
    chains : mapping
        `sampling_calls` by a name of the chain.

    Returns
    -------
    dict
        ``training_shares``, ``training_images_per_step`` and ``training_flops_per_image`` (means
        over the paths that training draws), ``sampling_calls`` and ``sampling_flops_per_image`` by
        chain, ``parameters``.
    """
    unet = build_unet(config, schedule, spectrum.power.shape[-1])
    shares = training_shares(schedule, config, spectrum)
    images = sum(training_images(schedule, config, spectrum).values())
    sampled = flops(unet, schedule, training=False)
    return {
        "training_shares": _named(shares),
        "training_images_per_step": round(images, 6),
        "training_flops_per_image": total_cost(shares, flops(unet, schedule, training=True)),
        "sampling_calls": {n: _named(paths) for n, paths in chains.items()},
        "sampling_flops_per_image": {n: total_cost(paths, sampled) for n, paths in chains.items()},
        "parameters": sum(p.numel() for p in unet.parameters()),
    }


def seconds(
    unets: Mapping[str, FlexiUNet],
    schedules: Mapping[str, ResolutionSchedule],
    configs: Mapping[str, TrainConfig],
    shares: Mapping[str, dict[PathSize, float]],
    chains: Mapping[str, Mapping[str, dict[PathSize, int]]],
) -> dict[str, Any]:
    """Seconds per image of training and sampling of each arm.

    They are sums over the paths of share times measured seconds. Paths of one network are timed in
    turns, so that noise of the machine affects all of them alike.

    Parameters
    ----------
    unets, schedules, configs : mappings
        Network, schedule and training options by arm.
    shares : mapping
        `training_shares` of each arm.
    chains : mapping
        `sampling_calls` of each arm, by a name of the chain.

    Returns
    -------
    dict
        ``setting`` (text), ``machine``, and ``arms``: for each arm ``training`` and ``sampling``
        (by the chain's name), in seconds per image.
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
    for arm, key in keys.items():
        sampling, training = timed[key]
        arms[arm] = {
            "training": total_cost(shares[arm], training),
            "sampling": {name: total_cost(calls, sampling) for name, calls in chains[arm].items()},
        }
    machine = torch_machine(compute_device())
    batches = ", ".join(sorted({str(config.batch_size) for config in configs.values()}))
    return {
        "setting": f"{describe(machine)}, batch {batches}, medians of {_TURNS} turns by path",
        "machine": machine,
        "arms": arms,
    }


def _network(config: TrainConfig) -> tuple[Any, ...]:
    """Options that determine the seconds of a path."""
    return config.network, config.base_channels, config.batch_size, config.bf16, config.compile


def _named(paths: Mapping[PathSize, Any]) -> dict[str, Any]:
    return {path_name(path): value for path, value in paths.items()}
