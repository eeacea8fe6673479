"""Time the paper's public sampler and ours: an ancestral step on each path, and the whole chain.

    python results/public_sampling.py CHECKOUT [--help] [-o FILE.json]

Steps of both samplers on the paper's schedule are timed in turns, with networks of equal width and
random weights. The public code runs unmodified in float32, with Lanczos iterations for the noise of
each image at changes. CHECKOUT is a checkout of the paper's public repository, whose Python code is
executed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed
import tyro
from public_code import CommonOptions, public_contender, run
from torch import Tensor

from ssd_models import FlexiUNet, ScaleSpaceProcess
from ssd_models.bench import median_seconds, schedules
from ssd_models.bench.contenders import Compute
from ssd_models.bench.machine import describe, torch_machine
from ssd_models.bench.path_timing import preset, waiting
from ssd_models.bench.report import Report, Table, publish
from ssd_models.bench.schedules import PathSize
from ssd_models.bench.setting import NetworkSetting
from ssd_models.bench.timing import Job
from ssd_models.network.path_costs import path_name
from ssd_models.sampling.guidance import guided_denoiser
from ssd_models.sampling.samplers import ReverseStepper
from theory import PAPER, InputError, ResolutionSchedule, Sampler
from theory.support.errors import reason

# Modules that the public code imports but sampling does not use.
UNUSED = ("torchvision", "pandas")


@dataclass(frozen=True)
class Options(CommonOptions):
    """Options of the comparison of samplers."""

    batch: int = 4
    """Images per batch."""

    def main(self) -> None:
        """Measure, print and write the report."""
        publish(lambda: compare_public(self), self.output)


@dataclass(frozen=True)
class PublicSampler:
    """The public network with random weights, and its reverse process."""

    module: torch.nn.Module
    process: Any  # guided_diffusion.respace.SpacedScaleSpaceDiffusion
    schedule: ResolutionSchedule  # the paper's

    @classmethod
    def load(
        cls, folder: str, schedule: ResolutionSchedule, base_channels: int, device: torch.device
    ) -> PublicSampler:
        """Build network and process from a checkout, for the paper's ``schedule``.

        Raises
        ------
        InputError
            If the folder is not a checkout of the public code, its sampler cannot be built, or its
            schedule differs.
        """
        levels = list(schedule.levels)
        contender = public_contender(folder, levels[0], len(levels), base_channels, device)
        try:
            with importable(folder):
                diffusion = importlib.import_module("guided_diffusion.scale_space_diffusion")
                spaced = importlib.import_module("guided_diffusion.respace")
            process = spaced.SpacedScaleSpaceDiffusion(
                use_timesteps=range(len(schedule)),
                betas=diffusion.get_named_beta_schedule("linear", len(schedule)),
                model_mean_type=diffusion.ModelMeanType.START_X_RS,
                model_var_type=diffusion.ModelVarType.FIXED_SMALL,
                loss_type=diffusion.LossType.MSE,
                resolutions_array=levels[::-1],
                ssd_config={
                    "resolution_schedule": PAPER,
                    "scale_min": levels[-1],
                    "multires_training_mode": "flexi_unet",
                    "unet_res_layer_map": {size: size for size in levels},
                },
            )
            own = [process.get_resolution(t) for t in range(len(schedule))]
        except (ImportError, AttributeError, TypeError, KeyError) as error:
            raise InputError(f"{folder}: its sampler cannot be run ({reason(error)})") from error
        if own != schedule.resolutions.tolist():
            raise InputError(f"{folder}: its schedule is not the {PAPER} that ours has")
        return cls(contender.module.eval(), process, schedule)

    def step(self, x: Tensor, t: int) -> Job:
        """Job of one ancestral step from the states ``x`` at ``t``."""
        times = torch.full((len(x),), t, device=x.device)
        return partial(self.process.p_sample, self.module, x, times)


def compare_public(options: Options) -> Report:
    """Time ancestral steps of both samplers; the time of a chain is the sum over its steps."""
    compute = Compute.of(None, None)
    schedule = schedules.paper(options.resolution, options.levels)
    public = PublicSampler.load(options.folder, schedule, options.base_channels, compute.device)
    setting = NetworkSetting("paper", options.base_channels, options.batch)
    unet = preset(setting, options.resolution, options.levels).to(compute.device).eval()
    if compute.compiled:
        unet.compile()
    sides = schedule.resolutions.tolist()
    steps = {(sides[t], sides[t - 1]): t for t in range(1, len(schedule))}
    jobs: dict[tuple[str, PathSize], Job] = {}
    for path, t in steps.items():
        x = torch.randn(options.batch, 3, path[0], path[0], device=compute.device)
        jobs["ours", path] = our_step(unet, schedule, x, t, compute)
        jobs["public", path] = public.step(x, t)
    with process_group(), torch.no_grad():
        found = median_seconds(jobs, options.repeats, synchronize=waiting(compute.device))
    seconds: dict[str, dict[PathSize, float]] = {"ours": {}, "public": {}}
    for (name, path), elapsed in found.items():
        seconds[name][path] = elapsed / options.batch
    full = (schedule.resolution, schedule.resolution)
    calls = schedules.path_calls(schedule, range(len(schedule))[::-1])
    paths = sorted(steps, key=lambda path: (-path[1], -path[0]))
    chains = {schedules.ONE_LEVEL: Counter({full: len(schedule)}), schedules.PAPERS: calls}
    machine = torch_machine(compute.device)
    return Report(
        benchmark="public_sampling",
        heading=(
            f"Ancestral steps, {options.resolution} px, {options.base_channels} channels, batch "
            f"{options.batch}; ours in {compute}, the public code in float32;\n"
            f"{describe(machine)}; median of {options.repeats} turns."
        ),
        setting={
            **asdict(options),
            "bf16": compute.bf16,
            "compile": compute.compiled,
            "machine": machine,
        },
        tables=[
            Table(
                "public_steps",
                [
                    {
                        "path": path_name(path),
                        "steps": calls[path],
                        "ours_milliseconds": 1000 * seconds["ours"][path],
                        "public_milliseconds": 1000 * seconds["public"][path],
                        "speedup": seconds["public"][path] / seconds["ours"][path],
                    }
                    for path in paths
                ],
                "One step of an image:",
            ),
            Table(
                "public_chains",
                [
                    {
                        "chain": name,
                        "public_seconds": schedules.total_cost(path_counts, seconds["public"]),
                        "ours_seconds": schedules.total_cost(path_counts, seconds["ours"]),
                    }
                    for name, path_counts in chains.items()
                ],
                "All 1000 steps of an image:",
            ),
        ],
    )


def our_step(
    unet: FlexiUNet, schedule: ResolutionSchedule, x: Tensor, t: int, compute: Compute
) -> Job:
    """Job of one ancestral step from ``t`` to ``t − 1``, as in the pipeline."""
    stepper = ReverseStepper(ScaleSpaceProcess(schedule), Sampler(eta=1.0))
    denoise = guided_denoiser(unet, schedule, bf16=compute.bf16, max_batch=len(x))

    def step() -> Tensor:
        return stepper.step(denoise(x, t, stepper.out_resolution(t, t - 1)), x, t, t - 1)

    return step


@contextmanager
def process_group() -> Iterator[None]:
    """Context with a process group, which the public code needs for its barriers."""
    grouped = torch.distributed.is_initialized()
    if not grouped:
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        if not grouped:
            torch.distributed.destroy_process_group()


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """Context in which modules of ``folder`` can be imported, with stubs for `UNUSED` modules."""
    missing = [name for name in UNUSED if importlib.util.find_spec(name) is None]
    path = str(Path(folder).absolute())
    sys.path.insert(0, path)
    sys.modules.update({name: ModuleType(name) for name in missing})
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in missing:
            del sys.modules[name]


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__).main)
