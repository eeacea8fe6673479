"""The paper's public sampler beside ours: one ancestral step on each path, and the whole chain."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed

from theory.oracle.sampler import Sampler
from theory.oracle.side_by_side import PAPER
from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError, reason

from ..diffusion.process import ScaleSpaceProcess
from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_name
from ..sampling.guidance import guided_denoiser
from ..sampling.samplers import ReverseStepper
from . import schedules
from .contenders import PathSize, public_contender
from .path_timing import precision_text, waiting
from .report import Column, Row, Table
from .timing import Job, median_seconds

# Modules that the public process imports and sampling does not use.
_UNUSED = ("torchvision", "pandas")
_STEP_COLUMNS = (
    Column("path", "ancestral step", lambda path: f"{path:>14s}"),
    Column("steps", "of 1000", "d"),
    Column("ours_milliseconds", "ours, ms/image", ".2f"),
    Column("public_milliseconds", "public, ms/image", ".2f"),
    Column("speedup", "ours over it", ".2f"),
)
_CHAIN_COLUMNS = (
    Column("chain", "public code, 1000 ancestral steps"),
    Column("seconds_per_image", "s/image", ".4g"),
    Column("ours_seconds_per_image", "ours", ".4g"),
    Column("speedup", "ours over it", ".2f"),
)


@dataclass(frozen=True)
class PublicSampler:
    """The published network with random weights, and its reverse process."""

    module: torch.nn.Module
    process: Any  # guided_diffusion.respace.SpacedScaleSpaceDiffusion
    schedule: ResolutionSchedule  # the paper's

    @classmethod
    def load(
        cls, folder: str, schedule: ResolutionSchedule, base_channels: int, device: torch.device
    ) -> PublicSampler:
        """Build both from a checkout of the public code, for the paper's ``schedule``.

        Raises
        ------
        InputError
            If the folder is no such checkout, its sampler cannot be built, or its schedule is
            another.
        """
        levels = list(schedule.levels)
        contender = public_contender(folder, levels[0], len(levels), base_channels, device)
        try:
            with _importable(folder):
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

    def step(self, x: torch.Tensor, t: int) -> Job:
        """One ancestral step from the states ``x`` at ``t``."""
        times = torch.full((len(x),), t, device=x.device)
        return partial(self.process.p_sample, self.module, x, times)


def compare_public(
    public: PublicSampler,
    unet: FlexiUNet,
    batch: int,
    repeats: int,
    bf16: bool,
    ours: Mapping[str, float],
) -> list[Table]:
    """Time ancestral steps of the public code and of ours in turns, on the paper's schedule.

    Parameters
    ----------
    public : PublicSampler
        Runs in float32, as it comes.
    unet : FlexiUNet
        Ours, of the same widths.
    batch : int
        Images.
    repeats : int
        Turns, of which the median counts.
    bf16 : bool
        Precision of ours.
    ours : mapping
        Seconds an image of our ancestral chains, by name of the schedule.

    Returns
    -------
    list of Table
        Steps by path; whole chains, whose seconds are the sum over the steps.
    """
    schedule, device = public.schedule, next(unet.parameters()).device
    counts: dict[PathSize, int] = {}
    steps: dict[PathSize, int] = {}
    for t in range(1, len(schedule)):
        path = int(schedule.resolutions[t]), int(schedule.resolutions[t - 1])
        counts[path] = counts.get(path, 0) + 1
        steps[path] = t
    counts[schedule.resolution, schedule.resolution] += 1  # step 0
    jobs: dict[tuple[str, PathSize], Job] = {}
    for path, t in steps.items():
        x = torch.randn(batch, 3, path[0], path[0], device=device)
        jobs["ours", path] = _our_step(unet, schedule, x, t, bf16)
        jobs["public", path] = public.step(x, t)
    with _process_group(), torch.no_grad():
        found = median_seconds(jobs, repeats, synchronize=waiting(device))
    seconds = {name: elapsed / batch for name, elapsed in found.items()}
    full = (schedule.resolution, schedule.resolution)
    chains = {
        schedules.ONE_LEVEL: len(schedule) * seconds["public", full],
        schedules.PAPERS: sum(count * seconds["public", path] for path, count in counts.items()),
    }
    step_rows: list[Row] = [
        {
            "path": path_name(path),
            "steps": counts[path],
            "ours_milliseconds": 1000 * seconds["ours", path],
            "public_milliseconds": 1000 * seconds["public", path],
            "speedup": seconds["public", path] / seconds["ours", path],
        }
        for path in sorted(steps, key=lambda path: (-path[1], -path[0]))
    ]
    chain_rows: list[Row] = [
        {
            "chain": name,
            "seconds_per_image": elapsed,
            "ours_seconds_per_image": ours[name],
            "speedup": elapsed / ours[name],
        }
        for name, elapsed in chains.items()
    ]
    caption = (
        f"Single steps: ours in {precision_text(bf16, unet.is_compiled)}, the public code as it "
        "comes, in float32, with Lanczos\niterations for the noise of each image at changes"
    )
    return [
        Table("public_steps", _STEP_COLUMNS, step_rows, caption),
        Table("public_chains", _CHAIN_COLUMNS, chain_rows),
    ]


def _our_step(
    unet: FlexiUNet, schedule: ResolutionSchedule, x: torch.Tensor, t: int, bf16: bool
) -> Job:
    """One ancestral step from ``t`` to ``t − 1``, as the pipeline makes it."""
    stepper = ReverseStepper(ScaleSpaceProcess(schedule), Sampler(eta=1.0))
    denoise = guided_denoiser(unet, schedule, bf16=bf16, max_batch=len(x))

    def step() -> torch.Tensor:
        return stepper.step(denoise(x, t, stepper.out_resolution(t, t - 1)), x, t, t - 1)

    return step


@contextmanager
def _process_group() -> Iterator[None]:
    """A group of this process alone, unless there is one: the public steps wait for all others."""
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
def _importable(folder: str) -> Iterator[None]:
    """Let modules of ``folder`` be imported, without what they import in vain."""
    missing = [name for name in _UNUSED if importlib.util.find_spec(name) is None]
    path = str(Path(folder).absolute())
    sys.path.insert(0, path)
    sys.modules.update({name: ModuleType(name) for name in missing})
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in missing:
            del sys.modules[name]
