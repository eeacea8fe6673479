"""`ssd bench unet` and `ssd bench train`: what each path of the Flexi-UNet costs, measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from theory.schedule.resolution import ResolutionSchedule

from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_flops, path_name, path_parameters
from . import schedules
from .contenders import Contender, PathSize, flexi_contender, public_contender
from .machine import describe, torch_machine
from .path_timing import (
    Seconds,
    compute_device,
    contender_seconds,
    precision,
    precision_text,
    preset,
    waiting,
)
from .report import Column, Report, Table
from .setting import NetworkSetting
from .timing import seconds_of

_PATH_COLUMNS = (
    Column("path", "path", lambda path: f"{path:>8s}"),
    Column("parameters", "parameters", lambda count: f"{count / 1e6:.2f} M"),
    Column("gflop_per_image", "GFLOP an image", ".2f"),
    Column("milliseconds", "ms", ".1f"),
    Column("images_per_second", "images/s", ".1f"),
    Column("share_of_matmul", "of matmul", ".1%"),
    Column("peak_mebibytes", "memory", lambda size: f"{size:.0f} MiB"),
)
_LATENCY = Column("latency_milliseconds", "ms of one image", ".1f")
_RATIO_COLUMNS = (
    Column("contender", "", lambda name: f"ours over {name}"),
    Column("mixture", "times the images/s on the mixture", ".2f"),
    Column("geometric_mean", "in the geometric mean of its paths", ".2f"),
    Column("paths", "paths", "d"),
)


def measure_unet(setting: NetworkSetting) -> Report:
    """Parameters, FLOP, latency, throughput and memory of each path, and a chain's cost."""
    return _measure(setting, training=False)


def measure_train(setting: NetworkSetting) -> Report:
    """Images per second and memory of a training step on each path and on the mixture."""
    return _measure(setting, training=True)


def _measure(setting: NetworkSetting, training: bool) -> Report:
    setting.check()
    if setting.schedule is not None:
        schedule = schedules.loaded(setting.schedule, setting.resolution)
    else:
        schedule = schedules.paper(setting.resolution, setting.levels)
    device = compute_device()
    contenders = _contenders(setting, schedule, device)
    ours = contenders[0].module
    assert isinstance(ours, FlexiUNet)
    paths = sorted(ours.paths, key=lambda path: (-path[1], -path[0]))
    changes = {(b, a) for a, b in schedule.changes.values()}
    paths = [p for p in paths if p[1] in (p[0], 2 * p[0]) or p in changes]

    seconds = contender_seconds(contenders, paths, setting.batch, setting.repeats, training)
    flops = {path: path_flops(ours, *path, training=training) for path in paths}
    peak = _matmul_flops(device, contenders[0].bf16)
    latency: dict[PathSize, float] = {}
    if not training:
        latency = contender_seconds(contenders[:1], paths, 1, setting.repeats, False)["ours"]
    rows = []
    for path in paths:
        used = set(path_parameters(ours, *path))
        elapsed = seconds["ours"][path]
        row = {
            "path": path_name(path),
            "parameters": sum(p.numel() for name, p in ours.named_parameters() if name in used),
            "gflop_per_image": flops[path] / 1e9,
            "milliseconds": 1000 * elapsed,
            "images_per_second": setting.batch / elapsed,
            "share_of_matmul": flops[path] * setting.batch / elapsed / peak,
            "peak_mebibytes": contenders[0].peak_memory(path, setting.batch, training) / 2**20,
        }
        if latency:
            row["latency_milliseconds"] = 1000 * latency[path]
        rows.append(row)
    step = _mean(seconds["ours"], schedule) / setting.batch
    machine = torch_machine(device)
    return Report(
        benchmark="train" if training else "unet",
        heading=_heading(setting, schedule, contenders[0], machine, training),
        setting={
            **asdict(setting),
            "bf16": contenders[0].bf16,
            "compile": ours.is_compiled,
            "base_channels": ours.base_channels,
            "changes": schedules.changes_json(schedule),
            "machine": machine,
        },
        tables=[
            Table("paths", [*_PATH_COLUMNS, *([_LATENCY] if latency else [])], rows),
            _comparison(contenders, seconds, schedule, setting.batch),
            Table("ratios", _RATIO_COLUMNS, _ratios(contenders, seconds, schedule)),
        ],
        facts={
            "matmul_tflop_per_second": peak / 1e12,
            "mixture_share_of_matmul": schedule.chain_cost(flops) / step / peak,
        },
        lines=[
            "matrix product of the same precision: {matmul_tflop_per_second:.1f} TFLOP/s",
            "ours on the mixture: {mixture_share_of_matmul:.1%} of the matrix product's rate",
        ],
    )


def _contenders(
    setting: NetworkSetting, schedule: ResolutionSchedule, device: torch.device
) -> list[Contender]:
    bf16, compiled = precision(setting, device)
    levels = schedules.network_levels(setting.levels, [schedule])
    contenders = [
        flexi_contender(name, preset(setting, setting.resolution, n), bf16, compiled, device)
        for name, n in {"ours": levels, "one level (DDPM)": 1}.items()
    ]
    if setting.public is not None:
        base = contenders[0].module.base_channels
        assert isinstance(base, int)
        contenders.append(
            public_contender(setting.public, setting.resolution, levels, base, device)
        )
    return contenders


def _comparison(
    contenders: list[Contender], seconds: Seconds, schedule: ResolutionSchedule, batch: int
) -> Table:
    """Images per second of all contenders on each path and on the mixture."""
    rows = []
    for contender in contenders:
        found = seconds[contender.name]
        row: dict[str, Any] = {"contender": contender.name}
        row |= {path_name(path): batch / elapsed for path, elapsed in found.items()}
        rows.append({**row, "mixture": batch / _mean(found, schedule)})
    names = [*map(path_name, seconds["ours"]), "mixture"]
    columns = [Column("contender", "images/s"), *(Column(name, name, ".1f") for name in names)]
    return Table("images_per_second", columns, rows)


def _ratios(
    contenders: list[Contender], seconds: Seconds, schedule: ResolutionSchedule
) -> list[dict[str, Any]]:
    """How many times as many images per second ours makes."""
    ours, rows = seconds["ours"], []
    for contender in contenders[1:]:
        found = seconds[contender.name]
        mixture = _mean(found, schedule) / _mean(ours, schedule)
        row: dict[str, Any] = {"contender": contender.name, "mixture": mixture}
        if len(found) > 1:
            logs = [math.log(found[path] / ours[path]) for path in found]
            row |= {"geometric_mean": math.exp(statistics.fmean(logs)), "paths": len(found)}
        rows.append(row)
    return rows


def _mean(seconds: Mapping[PathSize, float], schedule: ResolutionSchedule) -> float:
    """Seconds of a mean step; a network of full resolution alone makes all of them there."""
    full = schedule.resolution
    if len(seconds) == 1:
        return seconds[full, full]
    return schedule.chain_cost(seconds)


def _matmul_flops(device: torch.device, bf16: bool) -> float:
    """FLOP per second of a large matrix product, the best of some."""
    n = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if bf16 else torch.float32
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    times = [seconds_of(lambda: a @ b, 1, waiting(device)) for _ in range(9)]
    return 2 * n**3 / min(times)


def _heading(
    setting: NetworkSetting,
    schedule: ResolutionSchedule,
    ours: Contender,
    machine: Mapping[str, Any],
    training: bool,
) -> str:
    unet = ours.module
    assert isinstance(unet, FlexiUNet)
    work = (
        "Training steps (forward, backward, AdamW, average of the weights)"
        if training
        else "Network calls without gradient"
    )
    name = setting.schedule or schedule.derivation.get("criterion")
    return (
        f"{work}: {setting.network} network, {setting.resolution} px, "
        f"{unet.base_channels} channels, levels {', '.join(map(str, unet.resolutions))}; batch "
        f"{setting.batch}; {precision_text(ours.bf16, unet.is_compiled)}, channels last;\n"
        f"{describe(machine)}; median of {setting.repeats} turns.\n"
        f"Mixture: every step of the schedule once ({name}: {schedules.changes_text(schedule)})."
    )
