"""`ssd bench growth`: mean cost of a network call by resolution and number of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch

from theory.schedule.costs import network_levels
from theory.schedule.paper import PAPER
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_flops
from . import schedules
from .contenders import Compute
from .machine import describe, torch_machine
from .path_timing import path_seconds, preset
from .report import Report, Table
from .schedules import PathSize
from .setting import GrowthSetting


@dataclass(frozen=True)
class _Chains:
    """Schedules of a resolution by number of levels, from one to the network's."""

    resolution: int
    paper: Mapping[int, ResolutionSchedule]
    derived: Mapping[int, ResolutionSchedule]

    @classmethod
    def of(cls, resolution: int, exponent: float, spectrum: Spectrum | None) -> _Chains:
        if spectrum is None:
            data = schedules.photograph_like(resolution, exponent)
        else:
            data = spectrum.at_resolution(resolution)
        numbers = range(1, network_levels(resolution) + 1)
        return cls(
            resolution,
            {levels: schedules.paper(resolution, levels) for levels in numbers},
            {levels: schedules.derived(data, levels) for levels in numbers},
        )

    @property
    def paths(self) -> list[PathSize]:
        """Paths that any of the schedules uses."""
        chains = [*self.paper.values(), *self.derived.values()]
        every = (schedules.path_calls(chain, range(len(chain))[::-1]) for chain in chains)
        found = {path for calls in every for path in calls}
        return sorted(found, reverse=True)


def measure_growth(setting: GrowthSetting) -> Report:
    """FLOP per image of a mean call by resolution and levels, and optionally its time."""
    setting.check()
    spectrum = None if setting.spectrum is None else Spectrum.load(setting.spectrum)
    largest = None if spectrum is None else spectrum.resolution
    counted, timed = (
        [
            _Chains.of(size, setting.exponent, spectrum)
            for size in sorted(set(sizes))
            if largest is None or size <= largest
        ]
        for sizes in (setting.resolutions, setting.measure)
    )
    if not counted:
        raise InputError(
            f"{setting.spectrum}: has {largest} px; give --resolutions of at most that"
        )
    compute = Compute.of(setting.bf16, setting.compile)
    rows = [row for chains in counted for row in _counted(chains)]
    tables = [
        Table("levels", rows, "GFLOP an image of a mean call, by network and schedule"),
        Table(
            "resolutions",
            _growth(rows),
            "The same of ours at the most levels, and how many times the resolution before",
        ),
    ]
    if timed:
        measured = [row for chains in timed for row in _timed(chains, setting, compute)]
        caption = (
            f"{setting.network} network, an image of a mean call; batch {setting.batch}, "
            f"{compute}, median of {setting.repeats} turns"
        )
        tables.append(Table("timed", measured, caption))
    machine = torch_machine(compute.device)
    source = setting.spectrum or f"a power law of exponent {setting.exponent:g}"
    return Report(
        benchmark="growth",
        heading=(
            "Mean call of 1000 ancestral steps by resolution and number of levels; saving: over "
            f"one level. {describe(machine)}.\nPaper's: {PAPER}; {schedules.DERIVED} on {source}. "
            "FLOP, 2 per multiply-add, of the paper's widths.\nThe public network runs "
            "whole at a change into full resolution and never runs the last decoder block of a\n"
            "level; ours runs that block (costlier calls), and changes into full resolution "
            "without the largest encoder level."
        ),
        setting={
            **asdict(setting),
            "bf16": compute.bf16,
            "compile": compute.compiled,
            "changes": {
                f"{chains.resolution}": {
                    "paper": schedules.changes_json(chains.paper[max(chains.paper)]),
                    "derived": schedules.changes_json(chains.derived[max(chains.derived)]),
                }
                for chains in counted
            },
            "machine": machine,
        },
        tables=tables,
    )


def _counted(chains: _Chains) -> list[dict[str, Any]]:
    """GFLOP of the public network and of ours with the paper's widths, by number of levels."""
    tables = {}
    for variant in ("paper", "default"):
        with torch.device("meta"):
            unet = FlexiUNet.from_preset(f"paper-{chains.resolution}", variant=variant)
        tables[variant] = {path: path_flops(unet, *path) / 1e9 for path in chains.paths}
    public, ours = tables["paper"], tables["default"]
    return _rows(
        chains,
        ("public_gflop", "public_saving", chains.paper, public),
        ("paper_gflop", "paper_saving", chains.paper, ours),
        ("derived_gflop", "derived_saving", chains.derived, ours),
    )


def _growth(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Cost of one level and of most levels at each resolution, relative to the previous one."""
    most = {row["resolution"]: row for row in rows}  # the last of each has the most levels
    one = [row["paper_gflop"] for row in rows if row["levels"] == 1]
    kept = ("resolution", "levels", "paper_gflop", "derived_gflop")
    found = [
        {**{key: row[key] for key in kept}, "one_level_gflop": single}
        for row, single in zip(most.values(), one, strict=True)
    ]
    for before, after in pairwise(found):
        for name in ("one_level", "paper", "derived"):
            after[f"{name}_growth"] = after[f"{name}_gflop"] / before[f"{name}_gflop"]
    return found


def _timed(chains: _Chains, setting: GrowthSetting, compute: Compute) -> list[dict[str, Any]]:
    """GFLOP and milliseconds per image of a network with the setting's widths."""
    unet = preset(setting, chains.resolution)
    flops = {path: path_flops(unet, *path) / 1e9 for path in chains.paths}
    seconds = path_seconds(unet, chains.paths, setting.batch, setting.repeats, compute=compute)
    milliseconds = {path: 1000 * elapsed / setting.batch for path, elapsed in seconds.items()}
    return _rows(
        chains,
        ("paper_gflop", "paper_gflop_saving", chains.paper, flops),
        ("paper_milliseconds", "paper_saving", chains.paper, milliseconds),
        ("derived_gflop", "derived_gflop_saving", chains.derived, flops),
        ("derived_milliseconds", "derived_saving", chains.derived, milliseconds),
    )


def _rows(
    chains: _Chains,
    *columns: tuple[str, str, Mapping[int, ResolutionSchedule], Mapping[PathSize, float]],
) -> list[dict[str, Any]]:
    """One row per number of levels.

    Each of ``columns`` holds the key of the mean cost of a call, the key of the saving over one
    level, the schedules by number of levels, and the cost of a call by path.
    """
    full = (chains.resolution, chains.resolution)
    rows = []
    for levels in chains.paper:
        row: dict[str, Any] = {"resolution": chains.resolution, "levels": levels}
        for key, saving, chain, costs in columns:
            row[key] = chain[levels].chain_cost(costs)
            row[saving] = costs[full] / row[key]
        rows.append(row)
    return rows
