"""Samplers with the exact denoiser of a Gaussian field: their output is what the oracle predicts.

Monte-Carlo comparisons look at every DCT coefficient of n images. The variance of one has the
relative standard error ``√(2/n)``; the largest of 64 must lie within 5.5 of them, and the mean
over all, whose standard error is ``√(2/(64 n))`` for independent ones, within 5.
"""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from ssd_models.gaussian import GaussianDenoiser, GaussianField
from ssd_models.process import ScaleSpaceProcess
from ssd_models.samplers import sample_dpmpp_2m, sample_eta
from theory import NoiseSchedule, ResolutionSchedule, Spectrum, dense_oracle_report, oracle_report
from theory.oracle_dense import pixel_covariance
from theory.spacing import select_steps

NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(8, 2.0)
STEPS = np.arange(1000)
KINDS = {
    "box": {"operator": "box"},
    "dct": {"operator": "dct"},
    "bilinear": {"operator": "bilinear"},
    "lanczos": {"operator": "lanczos"},
    "blur and dct": {"operator": "dct", "blur": 2.0 * (STEPS / 999) ** 2},
    "blur and box": {"operator": "box", "blur": 2.0 * (STEPS / 999) ** 2},
    "blur": {"resolutions": np.full(1000, 8), "blur": 4.0 * (STEPS / 999) ** 2},
    "identity": {"resolutions": np.full(1000, 8)},
}
RESOLUTIONS = np.repeat([8, 4, 2], [400, 300, 300])


def schedule(kind="box", noise_mode="matched"):
    options = {"resolutions": RESOLUTIONS, **KINDS[kind]}
    return ResolutionSchedule.from_noise(noise=NOISE, noise_mode=noise_mode, **options)


def start(denoiser, t, n, generator, dtype=torch.float64):
    clean = GaussianField(SPECTRUM).draw(n, generator, torch.empty(0, dtype=dtype))
    return denoiser.process.add_noise(clean, t, generator=generator)


def variances(images):
    return (dctn(images[:, 0].numpy(), axes=(1, 2), norm="ortho") ** 2).mean(axis=0)


def check_variances(measured, expected, n):
    ratio = measured / expected
    assert np.abs(ratio - 1).max() < 5.5 * np.sqrt(2 / n)
    assert abs(ratio.mean() - 1) < 5 * np.sqrt(2 / n / ratio.size)


@pytest.mark.parametrize("calls", [20, 50, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_denoiser_gives_the_oracles_spectrum(kind, noise_mode, eta, calls):
    plan = schedule(kind, noise_mode)
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    n = 2**11 if calls == 1000 else 2**14
    generator = torch.Generator().manual_seed(calls)
    steps = select_steps(plan, calls)
    x = start(denoiser, steps[0], n, generator, torch.float32)
    images = sample_eta(denoiser, denoiser.process, x, steps, generator=generator, eta=eta)
    predicted = dense_oracle_report(plan, SPECTRUM, steps, eta)
    check_variances(variances(images), predicted.power[:, :, 0], n)
    assert predicted.relative_w2 > 1e-6  # or this would not tell a sampler from the data
