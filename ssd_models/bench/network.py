"""`ssd bench unet` and `ssd bench train`: what each path of the Flexi-UNet costs, measured."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping
from functools import partial

import torch

from theory.errors import InputError
from theory.noise import NoiseSchedule
from theory.schedules import ResolutionSchedule

from ..flexi_unet import FlexiUNet
from ..training.building import use_bf16
from .contenders import Contender, PathSize, flexi_contender, public_contender
from .path_costs import path_flops, path_parameters
from .setting import NetworkSetting
from .timing import Job, median_seconds, seconds_of

_LEAST = 0.2  # seconds that a turn of a measurement lasts, at least
Seconds = dict[str, dict[PathSize, float]]  # of a batch, by contender and path


def bench_unet(setting: NetworkSetting) -> None:
    """Print parameters, FLOP, latency, throughput and memory of each path, and a chain's cost."""
    _run(setting, training=False)


def bench_train(setting: NetworkSetting) -> None:
    """Print images per second and memory of a training step on each path and on the mixture."""
    _run(setting, training=True)


def _run(setting: NetworkSetting, training: bool) -> None:
    setting.check()
    schedule = _schedule(setting)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    contenders = _contenders(setting, schedule, device)
    ours = contenders[0].module
    assert isinstance(ours, FlexiUNet)
    paths = sorted(ours.paths, key=lambda path: (-path[1], -path[0]))
    changes = {(b, a) for a, b in schedule.changes.values()}
    paths = [p for p in paths if p[1] in (p[0], 2 * p[0]) or p in changes]
    print(_heading(setting, schedule, contenders, device, training))

    seconds = _measure(contenders, paths, setting, training)
    flops = {path: path_flops(ours, *path, training=training) for path in paths}
    peak = _matmul_flops(device, contenders[0].bf16)
    unit = "GFLOP an image"
    print(
        f"\n{'path':>10s} {'parameters':>10s} {unit:>14s} {'ms':>8s} {'images/s':>9s} "
        f"{'of matmul':>9s} {'memory':>9s}"
    )
    for path in paths:
        elapsed = seconds["ours"][path]
        used = set(path_parameters(ours, *path))
        count = sum(p.numel() for name, p in ours.named_parameters() if name in used)
        memory = contenders[0].peak_memory(path, setting.batch, training)
        rate = flops[path] * setting.batch / elapsed
        print(
            f"{_name(path):>10s} {count / 1e6:8.2f} M {flops[path] / 1e9:14.2f} "
            f"{1000 * elapsed:8.1f} {setting.batch / elapsed:9.1f} {rate / peak:9.1%} "
            f"{memory / 2**20:5.0f} MiB"
        )
    if not training:
        latency = _measure(contenders[:1], paths, setting, False, batch=1)["ours"]
        print(
            "latency of one image, ms: "
            + "  ".join(f"{_name(path)} {1000 * latency[path]:.1f}" for path in paths)
        )
    print(f"matrix product of the same precision: {peak / 1e12:.1f} TFLOP/s")
    _print_comparison(contenders, seconds, schedule, setting)
    step = _mean(seconds["ours"], schedule) / setting.batch
    share = schedule.chain_cost(flops) / step / peak
    print(f"ours on the mixture: {share:.1%} of the matrix product's rate")


def _schedule(setting: NetworkSetting) -> ResolutionSchedule:
    if setting.schedule is not None:
        schedule = ResolutionSchedule.load(setting.schedule)
        if schedule.resolution != setting.resolution:
            raise InputError(
                f"{setting.schedule}: has resolution {schedule.resolution}, not "
                f"{setting.resolution}; give --resolution {schedule.resolution}"
            )
        return schedule
    noise = NoiseSchedule.linear(1000)
    return ResolutionSchedule.paper(setting.resolution, setting.levels, "ConvexDecay_0.5", noise)


def _contenders(
    setting: NetworkSetting, schedule: ResolutionSchedule, device: torch.device
) -> list[Contender]:
    bf16 = use_bf16(device) if setting.bf16 is None else setting.bf16
    compiled = device.type == "cuda" if setting.compile is None else setting.compile
    width = {} if setting.base_channels is None else {"base_channels": setting.base_channels}

    def network(levels: int) -> FlexiUNet:
        torch.manual_seed(0)
        name = f"{setting.network}-{setting.resolution}"
        return FlexiUNet.from_preset(name, num_levels=levels, **width)

    lowest = setting.resolution // min(schedule.levels)  # a power of two
    levels = max(setting.levels, lowest.bit_length())
    contenders = [
        flexi_contender("ours", network(levels), bf16, compiled, device),
        flexi_contender("one level (DDPM)", network(1), bf16, compiled, device),
    ]
    if setting.public is not None:
        base = contenders[0].module.base_channels
        assert isinstance(base, int)
        contenders.append(
            public_contender(setting.public, setting.resolution, levels, base, device)
        )
    return contenders


def _measure(
    contenders: list[Contender],
    paths: list[PathSize],
    setting: NetworkSetting,
    training: bool,
    batch: int | None = None,
) -> Seconds:
    """Median seconds of a batch, by contender and path."""
    batch = setting.batch if batch is None else batch
    device = contenders[0].device
    medians: Seconds = {contender.name: {} for contender in contenders}
    for path in paths:
        jobs: dict[str, Job] = {
            contender.name: partial(contender.train if training else contender.infer, path, batch)
            for contender in contenders
            if path in contender.paths
        }
        found = median_seconds(jobs, setting.repeats, _LEAST, _waiting(device))
        for name, seconds in found.items():
            medians[name][path] = seconds
    return medians


def _waiting(device: torch.device) -> Job | None:
    return torch.cuda.synchronize if device.type == "cuda" else None


def _print_comparison(
    contenders: list[Contender],
    seconds: Seconds,
    schedule: ResolutionSchedule,
    setting: NetworkSetting,
) -> None:
    """Images per second of all contenders, and how many times faster ours is."""
    paths = list(seconds["ours"])
    print(f"\nimages/s {'':11s}" + "".join(f"{_name(p):>9s}" for p in paths) + f"{'mixture':>9s}")
    means = {}
    for contender in contenders:
        found = seconds[contender.name]
        cells = [f"{setting.batch / found[p]:9.1f}" if p in found else f"{'-':>9s}" for p in paths]
        means[contender.name] = _mean(found, schedule)
        rate = setting.batch / means[contender.name]
        print(f"{contender.name:20s}" + "".join(cells) + f"{rate:9.1f}")
    for contender in contenders[1:]:
        found = seconds[contender.name]
        shared = [p for p in paths if p in found]
        ratios = [found[p] / seconds["ours"][p] for p in shared]
        mixture = means[contender.name] / means["ours"]
        line = f"ours over {contender.name}: {mixture:.2f} times the images/s on the mixture"
        if len(shared) > 1:
            geometric = math.exp(statistics.fmean(map(math.log, ratios)))
            line += f"; {geometric:.2f} in the geometric mean of its {len(shared)} paths"
        print(line)


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
    times = [seconds_of(lambda: a @ b, 1, _waiting(device)) for _ in range(9)]
    return 2 * n**3 / min(times)


def _heading(
    setting: NetworkSetting,
    schedule: ResolutionSchedule,
    contenders: list[Contender],
    device: torch.device,
    training: bool,
) -> str:
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    ours = contenders[0]
    assert isinstance(ours.module, FlexiUNet)
    precision = "bfloat16 autocast" if ours.bf16 else "float32"
    compiled = ", compiled" if ours.module.is_compiled else ""
    work = (
        "Training steps (forward, backward, AdamW, average of the weights)"
        if training
        else "Network calls without gradient"
    )
    changes = ", ".join(f"{t}: {a}->{b}" for t, (a, b) in schedule.changes.items())
    return (
        f"{work}: {setting.network} network, {setting.resolution} px, "
        f"{ours.module.base_channels} channels, levels "
        f"{', '.join(map(str, ours.module.resolutions))}; batch {setting.batch}; {precision}, "
        f"channels last{compiled}; torch {torch.__version__}, {machine}; median of "
        f"{setting.repeats} turns.\nMixture: every step of the schedule once "
        f"({schedule.derivation.get('name') or setting.schedule or 'ConvexDecay_0.5'}: "
        f"{changes or 'no changes'})."
    )


def _name(path: PathSize) -> str:
    return f"{path[0]}" if path[0] == path[1] else f"{path[0]}->{path[1]}"
