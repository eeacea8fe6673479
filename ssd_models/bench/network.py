"""`ssd bench unet` and `ssd bench train`: measured cost of each path of the Flexi-UNet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from theory.schedule.resolution import ResolutionSchedule

from ..network.path_costs import path_flops, path_name, path_parameters
from . import schedules
from .contenders import Compute, Contender, flexi_contender
from .machine import describe, torch_machine
from .path_timing import Seconds, contender_seconds, preset, waiting
from .report import Report, Table
from .schedules import PathSize
from .setting import NetworkSetting
from .timing import seconds_of


def measure_unet(setting: NetworkSetting, others: Sequence[Contender] = ()) -> Report:
    """Measure parameters, FLOP, latency, throughput and memory of each path, and a chain's cost.

    ``others`` are timed together with our network and the network of one level.
    """
    return _measure(setting, others, training=False)


def measure_train(setting: NetworkSetting, others: Sequence[Contender] = ()) -> Report:
    """Measure images per second and memory of a training step on each path and on the mixture.

    ``others`` are timed together with our network and the network of one level.
    """
    return _measure(setting, others, training=True)


def _measure(setting: NetworkSetting, others: Sequence[Contender], training: bool) -> Report:
    setting.check()
    if setting.schedule is not None:
        schedule = schedules.loaded(setting.schedule, setting.resolution)
    else:
        schedule = schedules.paper(setting.resolution, setting.levels)
    compute = Compute.of(setting.bf16, setting.compile)
    levels = schedules.network_levels(setting.levels, [schedule])
    ours = preset(setting, setting.resolution, levels)
    single = preset(setting, setting.resolution, 1)
    contenders = [
        flexi_contender("ours", ours, compute),
        flexi_contender(schedules.ONE_LEVEL, single, compute),
        *others,
    ]
    changes = {(b, a) for a, b in schedule.changes.values()}
    paths = sorted(ours.paths, key=lambda path: (-path[1], -path[0]))
    paths = [p for p in paths if p[1] in (p[0], 2 * p[0]) or p in changes]

    seconds = contender_seconds(contenders, paths, setting.batch, setting.repeats, training)
    flops = {path: path_flops(ours, *path, training=training) for path in paths}
    peak = _matmul_flops(compute)
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
    machine = torch_machine(compute.device)
    work = (
        "Training steps (forward, backward, AdamW, average of the weights)"
        if training
        else "Network calls without gradient"
    )
    name = setting.schedule or schedule.derivation.get("criterion")
    return Report(
        benchmark="train" if training else "unet",
        heading=(
            f"{work}: {setting.network} network, {setting.resolution} px, {ours.base_channels} "
            f"channels, levels {', '.join(map(str, ours.resolutions))}; batch {setting.batch}; "
            f"{compute}, channels last;\n{describe(machine)}; median of {setting.repeats} turns.\n"
            f"Mixture: every step of the schedule once ({name}: "
            f"{schedules.changes_text(schedule)})."
        ),
        setting={
            **asdict(setting),
            "bf16": compute.bf16,
            "compile": compute.compiled,
            "base_channels": ours.base_channels,
            "changes": schedules.changes_json(schedule),
            "machine": machine,
        },
        tables=[
            Table("paths", rows),
            _comparison(contenders, seconds, schedule, setting.batch),
            Table("ratios", _ratios(seconds, schedule), "images per second of ours over those of:"),
        ],
        facts={
            "matmul_tflop_per_second": peak / 1e12,
            "mixture_share_of_matmul": schedule.chain_cost(flops) / step / peak,
        },
    )


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
    return Table("images_per_second", rows, "images per second:")


def _ratios(seconds: Seconds, schedule: ResolutionSchedule) -> list[dict[str, Any]]:
    """Ratio of our images per second to those of each other network."""
    ours, rows = seconds["ours"], []
    for name, found in seconds.items():
        if found is ours:
            continue
        mixture = _mean(found, schedule) / _mean(ours, schedule)
        row: dict[str, Any] = {"contender": name, "mixture": mixture}
        if len(found) > 1:
            logs = [math.log(found[path] / ours[path]) for path in found]
            row |= {"geometric_mean": math.exp(statistics.fmean(logs)), "paths": len(found)}
        rows.append(row)
    return rows


def _mean(seconds: Mapping[PathSize, float], schedule: ResolutionSchedule) -> float:
    """Mean seconds of a step of the schedule, or at full resolution for a one-level network."""
    full = schedule.resolution
    if len(seconds) == 1:
        return seconds[full, full]
    return schedule.chain_cost(seconds)


def _matmul_flops(compute: Compute) -> float:
    """FLOP per second of a large matrix product, the best of 9."""
    device = compute.device
    n = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if compute.bf16 else torch.float32
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    times = [seconds_of(lambda: a @ b, 1, waiting(device)) for _ in range(9)]
    return 2 * n**3 / min(times)
