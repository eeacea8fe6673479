"""`ssd bench sampling`: whole pipelines by schedule and number of calls, seconds and FLOP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Chain:
    """How one schedule is sampled, and which part of that is timed."""

    name: str  # of the schedule
    wanted: int | None  # calls, and those that changes need in any case; None: all steps
    steps: Sequence[int]  # that are run
    eta: float
    order: int
    calls: Counter[PathSize]  # of the whole chain, on each path

    @classmethod
    def of(
        cls, name: str, schedule: ResolutionSchedule, calls: int | None, timed: int = 0
    ) -> Chain:
        """Second order with so many calls; None: all steps, ancestral, of which ``timed`` run."""
        if calls is None:
            everything = select_steps(schedule)
            run = select_steps(schedule, min(timed, len(everything)), "uniform")
            return cls(name, None, run, 1.0, 1, schedules.path_calls(schedule, everything))
        steps = select_steps(schedule, calls)
        return cls(name, calls, steps, 0.0, 2, schedules.path_calls(schedule, steps))

    @property
    def sampler(self) -> str:
        """In words."""
        return "ancestral" if self.eta else "2nd order"


def measure_sampling(setting: SamplingSetting) -> Report:
    """Seconds and FLOP an image of one level, the paper's schedule and a derived one."""
    setting.check()
    chosen = _schedules(setting)
    compute = Compute.of(setting.bf16, setting.compile)
    levels = schedules.network_levels(setting.levels, chosen.values())
    unet = preset(setting, setting.resolution, levels).to(compute.device).eval()
    if compute.compiled:
        unet.compile()
    chains = [
        Chain.of(name, schedule, calls, setting.timed)
        for calls in (None, *setting.calls)
        for name, schedule in chosen.items()
    ]
    pipelines = {name: ScaleSpacePipeline(unet, schedule) for name, schedule in chosen.items()}
    jobs: dict[int, Job] = {
        number: partial(
            pipelines[chain.name],
            setting.batch,
            None,
            chain.eta,
            output_type="pt",
            timesteps=chain.steps,
            sampler="eta" if chain.order == 1 else "dpmpp_2m",
            bf16=compute.bf16,
            max_batch=setting.batch,
        )
        for number, chain in enumerate(chains)
    }
    found = median_seconds(jobs, setting.repeats, synchronize=waiting(compute.device))
    rows = _rows(chains, chosen, unet, {n: t / setting.batch for n, t in found.items()})
    caption = (
        "speedup same calls: times faster than one level with as many calls; over ancestral: than "
        "all its steps"
    )
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
        tables=[Table("sampling", rows, caption, {"ancestral": None, "timed_calls": None})],
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


def _rows(
    chains: Sequence[Chain],
    chosen: Mapping[str, ResolutionSchedule],
    unet: FlexiUNet,
    seconds: Mapping[int, float],
) -> list[dict[str, Any]]:
    """Rows of all chains, from the seconds an image of what was run of each."""
    flops = {
        path: path_flops(unet, *path) for path in {path for chain in chains for path in chain.calls}
    }
    rows: list[dict[str, Any]] = []
    for number, chain in enumerate(chains):
        # Where only part of a chain runs, changes are a larger share of it than of the whole:
        # scaled by FLOP, not by steps.
        whole = schedules.total_cost(chain.calls, flops)
        timed = schedules.path_calls(chosen[chain.name], chain.steps)
        rows.append(
            {
                "schedule": chain.name,
                "sampler": chain.sampler,
                "ancestral": chain.eta > 0,
                "calls": chain.calls.total(),
                "gflop_per_image": whole / 1e9,
                "seconds_per_image": seconds[number] * whole / schedules.total_cost(timed, flops),
                "timed_calls": len(chain.steps),
            }
        )
    first = {
        chain.wanted: row["seconds_per_image"]
        for chain, row in zip(chains, rows, strict=True)
        if chain.name == schedules.ONE_LEVEL
    }
    slowest = rows[0]["seconds_per_image"]
    for chain, row in zip(chains, rows, strict=True):
        row["speedup_same_calls"] = first[chain.wanted] / row["seconds_per_image"]
        row["speedup_over_ancestral"] = slowest / row["seconds_per_image"]
    return rows


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
        f"{setting.repeats} turns.\nOf the 1000 ancestral steps {setting.timed}, evenly in t, are "
        "timed, and the time is scaled by FLOP to all of\nthem; chains of few calls are timed "
        "whole (DPM-Solver++(2M), even in log-snr). Changes:\n" + "\n".join(where)
    )
