"""Time of posterior noise at a change of resolution: exact, and by Lanczos iterations.

    python results/posterior_speed.py [--help] [-o results/posterior_speed.json]

The exact noise is computed for a whole batch at once, the Lanczos iterations for each image.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from ssd_models import ScaleSpaceProcess
from ssd_models.bench import median_seconds
from ssd_models.bench.machine import describe, torch_machine
from ssd_models.bench.report import Report, Table, publish
from ssd_models.bench.timing import Job
from ssd_models.cli.options import ReportOutput
from ssd_models.diffusion.degradation import SeparableDegradation
from theory import InputError, NoiseSchedule, ResolutionSchedule


@dataclass(frozen=True)
class Setting:
    """Options of the measurement."""

    operator: Literal["box", "dct", "bilinear", "lanczos"] = "bilinear"
    """How the change downsamples."""
    small: int = 32
    """Side of the smaller state in pixels; the larger has twice that."""
    batch: int = 64
    """Images per batch."""
    channels: int = 3
    """Channels of each image."""
    iterations: int = 40
    """Largest number of Lanczos iterations."""
    repeats: int = 7
    """Repetitions; their median is reported."""


def measure(setting: Setting) -> Report:
    """Time the posterior noise at a change of resolution, exact and by Lanczos iterations."""
    small, batch, channels = setting.small, setting.batch, setting.channels
    if min(small, batch, channels, setting.iterations, setting.repeats) < 1:
        raise InputError("every number must be at least 1")
    resolutions = np.repeat([2 * small, small], 500)
    schedule = ResolutionSchedule.from_noise(
        resolutions, NoiseSchedule.linear(), "paper", setting.operator
    )
    process, t, s = ScaleSpaceProcess(schedule), 500, 499
    shape = (batch, channels, 2 * small, 2 * small)
    white = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def exact() -> Tensor:
        return process.posterior_noise(white, t, s)

    def iterated() -> Tensor:
        return lanczos_noise(process, white, t, s, setting.iterations)

    jobs: dict[str, Job] = {
        "exact, batched": exact,
        f"{setting.iterations} Lanczos iterations an image": iterated,
    }
    medians = median_seconds(jobs, setting.repeats)
    rows = [
        {
            "noise": name,
            "milliseconds": 1000 * median,
            "over_fastest": median / min(medians.values()),
        }
        for name, median in medians.items()
    ]
    reference = exact()
    difference = (reference - iterated()).abs().max() / reference.abs().max()
    machine = torch_machine(white.device)
    return Report(
        benchmark="posterior",
        heading=(
            f"noise of the posterior at {small} -> {2 * small} px, {setting.operator}, paper "
            f"noise, batch {batch} x {channels}, float32; {describe(machine)}; median of "
            f"{setting.repeats} turns"
        ),
        setting={**asdict(setting), "machine": machine},
        tables=[Table("noise", rows)],
        facts={"largest_difference": float(difference)},
    )


def lanczos_noise(
    process: ScaleSpaceProcess, white: Tensor, t: int, s: int, iterations: int
) -> Tensor:
    """``sqrt(σ_s² I − κ² σ_t² MᵀM) ξ`` of each image, without the SVD of M.

    Uses Lanczos iterations with reorthogonalization on the covariance; all channels of an image
    form one vector.
    """
    schedule, degradation = process.schedule, process.degradation(s, t)
    assert isinstance(degradation, SeparableDegradation)
    variance = float(schedule.sigma[s]) ** 2
    kappa = float(schedule.alpha[t] / schedule.alpha[s]) * variance / float(schedule.sigma[t]) ** 2
    share = (kappa * float(schedule.sigma[t])) ** 2

    def covariance(x: Tensor) -> Tensor:
        return variance * x - share * degradation.adjoint(degradation.forward(x))

    out = []
    for image in white:
        norm = image.norm()
        basis = [(image / norm).reshape(-1)]
        diagonal, off = [], []
        for _ in range(iterations):
            w = covariance(basis[-1].reshape(image.shape)).reshape(-1)
            diagonal.append(w @ basis[-1])
            known = torch.stack(basis)
            w = w - known.T @ (known @ w)
            off.append(w.norm())
            if off[-1] < 1e-6 * variance:
                break
            basis.append(w / off[-1])
        k = len(diagonal)
        matrix = torch.diag(torch.stack(diagonal))
        if k > 1:
            side = torch.stack(off[: k - 1])
            matrix = matrix + torch.diag(side, 1) + torch.diag(side, -1)
        values, vectors = torch.linalg.eigh(matrix)
        weights = vectors @ (values.clamp_min(0).sqrt() * vectors[0])
        out.append((norm * (weights @ torch.stack(basis[:k]))).reshape(image.shape))
    return torch.stack(out)


def main(setting: Setting = Setting(), output: ReportOutput = None) -> None:
    """Measure, print and write the report."""
    try:
        publish(lambda: measure(setting), output)
    except InputError as error:
        sys.exit(f"posterior_speed: {error}")


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
