"""The real samplers as exact linear maps: what they make of Gaussian data, without sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssd_models.diffusion.gaussian import GaussianDenoiser
from ssd_models.diffusion.process import ScaleSpaceProcess
from theory import ResolutionSchedule, Spectrum
from theory.images.operators import dct_basis


class FedProcess(ScaleSpaceProcess):
    """A process whose reverse steps draw one unit vector of noise for one image of the batch.

    The images of the batch are, in this order, those that get no noise, then for each step that
    draws one image for each pixel of its state.
    """

    def __init__(self, schedule: ResolutionSchedule, plain: int):
        super().__init__(schedule)
        self.used = plain

    def posterior_sample(
        self,
        x0_at_s: Tensor,
        x_t: Tensor,
        t: int,
        s: int,
        eta: float = 1.0,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Step with the noise of this step's images."""
        if self.needs_noise(t, s, eta):
            noise = torch.zeros_like(x0_at_s)
            count = noise.shape[-1] * noise.shape[-2]
            unit = torch.eye(count, dtype=noise.dtype).reshape(count, 1, *noise.shape[-2:])
            noise[self.used : self.used + count] = unit
            self.used += count
        return super().posterior_sample(x0_at_s, x_t, t, s, eta, None, noise)


def generated_covariance(
    sampler: Callable[..., Tensor],
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    steps: Sequence[int],
    **options: Any,
) -> np.ndarray:
    """Covariance of the DCT coefficients that a sampler generates, (R², R²) float64.

    It starts from the first step's marginal. The spectrum has one component of zero mean.
    """
    size, first = schedule.resolution, int(schedule.resolutions[steps[0]])
    process = FedProcess(schedule, first**2)
    eta = options.get("eta", 0.0)
    drawn = sum(
        process.resolution(s) ** 2 for t, s in pairwise(steps) if process.needs_noise(t, s, eta)
    )
    x = torch.zeros(first**2 + drawn, 1, first, first, dtype=torch.float64)
    x[: first**2] = torch.eye(first**2, dtype=x.dtype).reshape(-1, 1, first, first)
    out = sampler(GaussianDenoiser(spectrum, process), process, x, list(steps), **options)
    assert process.used == len(x)
    basis = dct_basis(size)
    columns = (basis @ out[:, 0].numpy() @ basis.T).reshape(len(x), -1)

    coefficients = torch.from_numpy(basis.T[:, None, :, None] * basis.T[:, None])
    clean = process.degrade(coefficients.permute(2, 3, 0, 1).reshape(-1, 1, size, size), steps[0])
    clean = clean.reshape(size**2, -1).numpy()  # (R², r²): of each DCT coefficient
    a, sigma = schedule.alpha[steps[0]], schedule.sigma[steps[0]]
    start = a**2 * (clean.T * spectrum.power.ravel()) @ clean + sigma**2 * np.eye(first**2)
    beginning, noises = columns[: first**2], columns[first**2 :]
    return beginning.T @ start @ beginning + noises.T @ noises


def relative_w2(generated: np.ndarray, power: np.ndarray) -> float:
    """Squared W2 distance to independent coefficients of variances ``power`` > 0, over their sum.

    ``Σ (√a − √b)²`` over the eigenvalues where the covariances commute; the general formula
    otherwise.
    """
    apart = np.abs(generated - np.diag(np.diag(generated))).max()
    if apart < 1e-12 * generated.max():
        return float(((np.sqrt(np.diag(generated)) - np.sqrt(power)) ** 2).sum() / power.sum())
    root = np.sqrt(power)
    cross = np.linalg.eigvalsh(root[:, None] * generated * root).clip(min=0)
    return float(1 + np.trace(generated) / power.sum() - 2 * np.sqrt(cross).sum() / power.sum())
