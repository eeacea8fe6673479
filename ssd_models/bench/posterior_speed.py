"""`ssd bench posterior`: the speed of posterior noise at a change of resolution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from theory.schedule.noise import NoiseSchedule
from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError

from ..diffusion.degradation import SeparableDegradation
from ..diffusion.process import ScaleSpaceProcess
from .machine import describe, torch_machine
from .report import Column, Report, Table
from .timing import Job, median_seconds

_COLUMNS = (
    Column("noise", "  noise", lambda name: f"  {name}"),
    Column("milliseconds", "ms", ".2f"),
    Column("over_fastest", "over fastest", ".1f"),
)


def measure_posterior(
    operator: str, small: int, batch: int, channels: int, iterations: int, repeats: int
) -> Report:
    """Time of posterior noise at a change, exact and by Lanczos iterations an image."""
    if min(small, batch, channels, iterations, repeats) < 1:
        raise InputError("bench posterior: every number must be at least 1")
    noise = NoiseSchedule.linear()
    resolutions = np.repeat([2 * small, small], 500)
    schedule = ResolutionSchedule.from_noise(resolutions, noise, "paper", operator)
    process, t, s = ScaleSpaceProcess(schedule), 500, 499
    white = torch.randn(
        (batch, channels, 2 * small, 2 * small), generator=torch.Generator().manual_seed(0)
    )

    def exact() -> Tensor:
        return process.posterior_noise(white, t, s)

    def iterated() -> Tensor:
        return _lanczos_noise(process, white, t, s, iterations)

    jobs: dict[str, Job] = {
        "exact, batched": exact,
        f"{iterations} Lanczos iterations an image": iterated,
    }
    medians = median_seconds(jobs, repeats)
    fastest = min(medians.values())
    reference = exact()
    machine = torch_machine(white.device)
    return Report(
        benchmark="posterior",
        heading=(
            f"noise of the posterior at {small} -> {2 * small} px, {operator}, paper noise, batch "
            f"{batch} x {channels}, float32; {describe(machine)}; median of {repeats} turns"
        ),
        setting={
            "operator": operator,
            "small": small,
            "batch": batch,
            "channels": channels,
            "iterations": iterations,
            "repeats": repeats,
            "machine": machine,
        },
        tables=[
            Table(
                "noise",
                _COLUMNS,
                [
                    {
                        "noise": name,
                        "milliseconds": 1000 * median,
                        "over_fastest": median / fastest,
                    }
                    for name, median in medians.items()
                ],
            )
        ],
        facts={
            "largest_difference": float(
                (reference - iterated()).abs().max() / reference.abs().max()
            )
        },
        lines=[
            "largest difference between the two, over the largest value: {largest_difference:.1e}"
        ],
    )


def _lanczos_noise(
    process: ScaleSpaceProcess, white: Tensor, t: int, s: int, iterations: int
) -> Tensor:
    """``sqrt(σ_s² I − κ² σ_t² MᵀM) ξ`` for one image after another, as done without the SVD of M.

    Lanczos iterations on the covariance, reorthogonalized, all channels of an image one vector.
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
