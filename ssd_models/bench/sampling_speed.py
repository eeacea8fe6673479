"""`ssd bench sampling`: seconds and FLOP of whole chains by schedule and number of calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from theory.oracle.steps import select_steps
from theory.schedule.resolution import ResolutionSchedule

from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_flops
from ..sampling.pipeline import ScaleSpacePipeline
from . import schedules
from .contenders import Compute
from .machine import describe, torch_machine
from .path_timing import preset, waiting
from .report import Report, Table
from .schedules import PathSize
from .setting import SamplingSetting
from .timing import Job, median_seconds


def measure_sampling(setting: SamplingSetting) -> Report:
    """Seconds and FLOP per image of one level, the paper's schedule and a derived one."""
    setting.check()
    chosen = _schedules(setting)
    compute = Compute.of(setting.bf16, setting.compile)
    levels = schedules.network_levels(setting.levels, chosen.values())
    unet = preset(setting, setting.resolution, levels).to(compute.device).eval()
    if compute.compiled:
        unet.compile()
    jobs: dict[tuple[str, int | None], Job] = {}  # key: schedule, calls (None for all steps)
    timed = {}
    for calls in (None, *setting.calls):
        for name, schedule in chosen.items():
            if calls is None:
                steps = select_steps(schedule, min(setting.timed, len(schedule)), "uniform")
            else:
                steps = select_steps(schedule, calls)
            timed[name, calls] = steps
            jobs[name, calls] = partial(
                ScaleSpacePipeline(unet, schedule),
                setting.batch,
                None,
                eta=1.0 if calls is None else 0.0,
                output_type="pt",
                timesteps=steps,
                sampler="eta" if calls is None else "dpmpp_2m",
                bf16=compute.bf16,
                max_batch=setting.batch,
            )
    found = median_seconds(jobs, setting.repeats, synchronize=waiting(compute.device))

    flops: dict[PathSize, int] = {}
    rows: list[dict[str, Any]] = []
    for (name, calls), seconds in found.items():
        schedule, steps = chosen[name], timed[name, calls]
        everything = range(len(schedule))[::-1] if calls is None else steps
        whole, run = (schedules.path_calls(schedule, part) for part in (everything, steps))
        flops |= {path: path_flops(unet, *path) for path in whole.keys() - flops.keys()}
        gflop = schedules.total_cost(whole, flops) / 1e9
        # A part of a chain has a larger share of changes than the whole chain, so its time is
        # scaled by FLOP, not by the number of steps.
        scale = gflop / (schedules.total_cost(run, flops) / 1e9)
        row = {
            "schedule": name,
            "sampler": "ancestral" if calls is None else "2nd order",
            "ancestral": calls is None,
            "calls": whole.total(),
            "gflop_per_image": gflop,
            "seconds_per_image": seconds / setting.batch * scale,
            "timed_calls": len(steps),
        }
        rows.append(row)
        first = rows[-1 - (len(rows) - 1) % len(chosen)]  # one level, equal number of calls
        row["speedup_same_calls"] = first["seconds_per_image"] / row["seconds_per_image"]
        row["speedup_over_ancestral"] = rows[0]["seconds_per_image"] / row["seconds_per_image"]
    machine = torch_machine(compute.device)
    return Report(
        benchmark="sampling",
        heading=_heading(setting, chosen, unet, machine, compute),
        setting={
            **asdict(setting),
            "bf16": compute.bf16,
            "compile": compute.compiled,
            "base_channels": unet.base_channels,
            "schedules": {
                name: schedules.changes_json(schedule) for name, schedule in chosen.items()
            },
            "machine": machine,
        },
        tables=[
            Table(
                "sampling",
                rows,
                "speedup same calls: over one level with as many calls; over ancestral: over one "
                "level with all steps",
                {"ancestral": None, "timed_calls": None},
            )
        ],
    )


def _schedules(setting: SamplingSetting) -> dict[str, ResolutionSchedule]:
    size, levels = setting.resolution, setting.levels
    if setting.schedule is not None:
        last = {setting.schedule: schedules.loaded(setting.schedule, size)}
    else:
        spectrum = schedules.photograph_like(size, setting.exponent)
        last = {schedules.DERIVED: schedules.derived(spectrum, levels)}
    return {
        schedules.ONE_LEVEL: schedules.one_level(size),
        schedules.PAPERS: schedules.paper(size, levels),
        **last,
    }


def _heading(
    setting: SamplingSetting,
    chosen: Mapping[str, ResolutionSchedule],
    unet: FlexiUNet,
    machine: Mapping[str, Any],
    compute: Compute,
) -> str:
    where = [
        f"{name}: {schedules.changes_text(schedule)}"
        for name, schedule in chosen.items()
        if name != schedules.ONE_LEVEL
    ]
    if setting.schedule is None:
        where[-1] += f" (on a power law of exponent {setting.exponent:g})"
    return (
        f"Whole sampling pipelines, one network for all: {setting.network}, {setting.resolution} "
        f"px, {unet.base_channels} channels; batch {setting.batch};\n"
        f"{compute}; {describe(machine)}; median of "
        f"{setting.repeats} turns.\nOf the 1000 ancestral steps {setting.timed}, evenly spaced in "
        "t, are timed and the time is scaled by FLOP\nto all steps; chains of few calls are timed "
        "whole (DPM-Solver++(2M), evenly spaced in log-snr). Changes:\n" + "\n".join(where)
    )
