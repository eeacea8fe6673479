"""Samplers with the exact denoiser of a Gaussian field: their output is what the oracle predicts.

Monte-Carlo comparisons look at every DCT coefficient of n images. The variance of one has the
relative standard error ``√(2/n)``; the largest of 64 must lie within 5.5 of them, and the mean
over all, whose standard error is ``√(2/(64 n))`` for independent ones, within 5.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from ssd_models import ScaleSpaceProcess, ScaleSpaceScheduler
from ssd_models.diffusion.gaussian import GaussianDenoiser, GaussianField
from ssd_models.sampling.samplers import ReverseStepper, sample_dpmpp_2m, sample_eta
from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    dense_oracle_report,
    oracle_report,
)
from theory.oracle.dense import pixel_covariance
from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps
from theory.schedule.noise import NOISE_MODES

NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(8, 2.0)
STEPS = np.arange(1000)
SAMPLERS = {"dpmpp_2m": sample_dpmpp_2m, "eta": sample_eta}
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


def columns(function, n):
    """Matrix of a linear function of n × n images."""
    out = function(torch.eye(n * n, dtype=torch.float64).reshape(-1, 1, n, n))
    return out.reshape(n * n, -1).T.numpy()


def variances(images):
    return (dctn(images[:, 0].numpy(), axes=(1, 2), norm="ortho") ** 2).mean(axis=0)


def check_variances(measured, expected, n):
    ratio = measured / expected
    assert np.abs(ratio - 1).max() < 5.5 * np.sqrt(2 / n)
    assert abs(ratio.mean() - 1) < 5 * np.sqrt(2 / n / ratio.size)


@pytest.mark.parametrize("calls", [20, 50, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("kind", "noise_mode"),
    [(k, m) for k in KINDS for m in NOISE_MODES if m == "matched" or "resolutions" not in KINDS[k]],
)
def test_a_perfect_denoiser_gives_the_oracles_spectrum(kind, noise_mode, eta, calls):
    plan = schedule(kind, noise_mode)
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    n = 2**11 if calls == 1000 else 2**14
    generator = torch.Generator().manual_seed(calls)
    steps = select_steps(plan, calls)
    x = start(denoiser, steps[0], n, generator, torch.float32)
    images = sample_eta(denoiser, denoiser.process, x, steps, generator=generator, eta=eta)
    predicted = dense_oracle_report(plan, SPECTRUM, steps, Sampler(eta))
    check_variances(variances(images), predicted.power[:, :, 0], n)
    assert predicted.relative_w2 > 1e-6  # or this would not tell a sampler from the data


@pytest.mark.parametrize("calls", [3, 10, 50])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_spectral_variance_gives_the_data_covariance_at_any_number_of_steps(kind, eta, calls):
    plan = schedule(kind, "matched" if eta else "paper")
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    n = 2**14
    generator = torch.Generator().manual_seed(calls)
    steps = select_steps(plan, calls)
    x = start(denoiser, steps[0], n, generator, torch.float32)
    images = sample_eta(
        denoiser, denoiser.process, x, steps, generator=generator, eta=eta, variance=denoiser
    )
    check_variances(variances(images), SPECTRUM.power[:, :, 0], n)
    root = np.linalg.cholesky(np.linalg.inv(pixel_covariance(SPECTRUM, 0)))
    white = images.reshape(n, -1).double().numpy() @ root
    covariance = white.T @ white / n - np.eye(64)
    # Standard errors: √(2/n) on the diagonal, √(1/n) off it; of the root mean square of all 4096,
    # about 1.2 % of its expected value.
    assert np.abs(covariance).max() < 6.5 * np.sqrt(1 / n)
    rms = np.sqrt(np.mean(covariance**2) * n / (1 + 1 / 64))
    assert abs(rms - 1) < 0.06
    plain = dense_oracle_report(plan, SPECTRUM, steps, Sampler(eta)).relative_w2
    assert plain > 1e-3 or calls == 50  # what it is compared with errs


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_spectral_variance_fills_the_bands_that_free_changes_open(eta):
    plan = schedule("dct")
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    n, generator = 2**14, torch.Generator().manual_seed(0)
    steps = [999, 500, 150, 0]  # a band opens where its signal is far above the noise
    x = start(denoiser, steps[0], n, generator, torch.float32)
    options = {"eta": eta, "changes": "free", "generator": generator}
    images = sample_eta(denoiser, denoiser.process, x, steps, variance=denoiser, **options)
    check_variances(variances(images), SPECTRUM.power[:, :, 0], n)
    plain = sample_eta(denoiser, denoiser.process, x, steps, **options)
    assert np.abs(variances(plain) / SPECTRUM.power[:, :, 0] - 1).max() > 0.2


@pytest.mark.parametrize("calls", [12, 50])
@pytest.mark.parametrize("changes", ["network", "free"])
@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("sampler", ["eta", "dpmpp_2m"])
def test_second_order_and_free_changes_give_the_oracles_spectrum(
    sampler, noise_mode, changes, calls
):
    plan = schedule("dct", noise_mode)
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    n = 2**15
    generator = torch.Generator().manual_seed(calls)
    steps = select_steps(plan, calls, sampler=Sampler(changes=changes))
    x = start(denoiser, steps[0], n, generator, torch.float32)
    options = {"eta": 0.0} if sampler == "eta" else {}
    images = SAMPLERS[sampler](
        denoiser, denoiser.process, x, steps, generator=generator, changes=changes, **options
    )
    order = 1 if sampler == "eta" else 2
    predicted = oracle_report(plan, SPECTRUM, steps, 0.0, order=order, changes=changes)
    check_variances(variances(images), predicted.power[:, :, 0], n)


def test_one_level_is_dpm_solver_pp_2m():
    plan = ResolutionSchedule.full_resolution(8, NOISE)
    process = ScaleSpaceProcess(plan)
    rng = np.random.default_rng(0)
    steps = [900, 600, 350, 120, 0]
    predictions = {t: torch.from_numpy(rng.normal(size=(2, 3, 8, 8))) for t in steps}
    x = expected = torch.from_numpy(rng.normal(size=(2, 3, 8, 8)))
    alpha, sigma = np.sqrt(NOISE.alpha_bar), np.sqrt(1 - NOISE.alpha_bar)
    lam = np.log(alpha / sigma)  # half the log-snr, as in the paper
    seen = []
    result = sample_dpmpp_2m(
        lambda x, t, r: predictions[t], process, x, steps, callback=seen.append
    )
    for i, (t, s) in enumerate(pairwise(steps)):  # Lu et al. 2022, algorithm 2
        d = predictions[t]
        h = lam[s] - lam[t]
        if i:
            r = (lam[t] - lam[steps[i - 1]]) / h
            d = (1 + 1 / (2 * r)) * d - 1 / (2 * r) * predictions[steps[i - 1]]
        expected = sigma[s] / sigma[t] * expected - alpha[s] * np.expm1(-h) * d
        torch.testing.assert_close(seen[i].x, expected, rtol=0, atol=1e-12)
        assert (seen[i].t, seen[i].s) == (t, s)
    torch.testing.assert_close(result, predictions[0])
    assert len(seen) == 5


@pytest.mark.parametrize("operator", ["box", "dct"])
def test_a_free_matched_change_only_lifts_the_state_and_adds_noise(operator):
    """In the kept band it is what the step without a change of resolution does."""
    resolutions = np.repeat([8, 4], [400, 600])
    plan = ResolutionSchedule.from_noise(resolutions, NOISE, operator=operator)
    process = ScaleSpaceProcess(plan)
    rng = np.random.default_rng(0)
    x, x0 = (torch.from_numpy(rng.normal(size=(2, 1, 4, 4))) for _ in range(2))
    stepper = ReverseStepper(process, Sampler(changes="free"))
    assert stepper.out_resolution(500, 399) == 4
    arrived = stepper.step(x0, x, 500, 399, torch.Generator().manual_seed(0))
    # The same step by a chain at 4 pixels whose noise is the matched one.
    a_t, sigma_t = plan.alpha[500], plan.sigma[500]
    full = NOISE.snr[399] * 4  # snr at half the resolution
    a_s, sigma_s = np.sqrt(full / (1 + full)), np.sqrt(1 / (1 + full))
    stepped = a_s * x0 + sigma_s / sigma_t * (x - a_t * x0)
    m = process.degradation(399, 500)
    torch.testing.assert_close(m(arrived) * a_s / plan.alpha[399], stepped, rtol=0, atol=1e-12)
    outside = arrived - m.project(arrived)
    assert outside.std() == pytest.approx(plan.sigma[399], rel=0.3)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("changes", ["network", "free"])
def test_the_scheduler_takes_the_same_steps(sampler, changes):
    plan = schedule("bilinear")
    scheduler = ScaleSpaceScheduler(plan)
    denoiser = GaussianDenoiser(SPECTRUM, scheduler.process)
    scheduler.set_timesteps(12, sampler=Sampler(0.0, 1 if sampler == "eta" else 2, changes))
    steps = scheduler.timesteps.tolist()
    x = start(denoiser, steps[0], 4, torch.Generator().manual_seed(0))
    eta = 0.5 if sampler == "eta" else 0.0
    options = {"eta": eta} if sampler == "eta" else {}
    expected = SAMPLERS[sampler](
        denoiser,
        scheduler.process,
        x,
        steps,
        generator=torch.Generator().manual_seed(1),
        changes=changes,
        **options,
    )
    for _ in range(2):  # a second chain begins without the first one's history
        generator, state = torch.Generator().manual_seed(1), x
        for t in scheduler.timesteps:
            x0 = denoiser(state, int(t), scheduler.out_resolution(t))
            state = scheduler.step(x0, t, state, eta, generator)
        torch.testing.assert_close(state, expected, rtol=0, atol=0)


def test_the_start_is_the_first_steps_marginal():
    plan = schedule("box")
    scheduler = ScaleSpaceScheduler(plan)
    n, t = 2**16, 450
    scheduler.set_timesteps(timesteps=[450, 400, 399, 0])
    clean = scheduler.process.degradation(None, t)
    covariance = columns(clean, 8) @ pixel_covariance(SPECTRUM, 0) @ columns(clean, 8).T
    covariance = plan.alpha[t] ** 2 * covariance + plan.sigma[t] ** 2 * np.eye(16)
    x = scheduler.initial_state(
        n, 1, torch.Generator().manual_seed(0), field=GaussianField(SPECTRUM)
    )
    flat = x.reshape(n, -1).double().numpy()
    np.testing.assert_allclose(flat.T @ flat / n, covariance, atol=6 * covariance.max() / n**0.5)
    assert np.abs(covariance - np.eye(16) * plan.sigma[t] ** 2).max() > 0.05  # not white
    white = scheduler.initial_state(n, 1, torch.Generator().manual_seed(0))
    assert white.var().item() == pytest.approx(plan.sigma[t] ** 2, rel=0.01)


def test_colours_and_the_mean_are_the_fields():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    power = np.stack([SPECTRUM.power[:, :, 0] * f for f in (1.0, 0.3, 0.05)], axis=-1)
    mean = np.random.default_rng(1).uniform(-0.5, 0.5, (8, 8, 3))
    field = Spectrum(power, mean, basis, 0, np.zeros_like(power))
    process = ScaleSpaceProcess(schedule("box"))
    denoiser = GaussianDenoiser(field, process)
    generator, n = torch.Generator().manual_seed(0), 2**15
    clean = denoiser.field.draw(n, generator, torch.empty(0))
    measured = Spectrum.from_images(clean.permute(0, 2, 3, 1).clamp(-1, 1).numpy() * 0.2)
    np.testing.assert_allclose(np.abs(measured.colour_basis.T @ basis), np.eye(3), atol=0.1)
    # Expectations: the error of the best linear estimate is uncorrelated with the state.
    for t, q in ((800, 2), (699, 8), (300, 8)):
        state = process.add_noise(clean, t, generator=generator)
        error = process.target(clean, q) - denoiser(state, t, q)
        bias = error.mean(dim=0).abs().max()
        assert bias < 6 * error.std(dim=0).max() / n**0.5
        flat = state - state.mean(dim=0)
        cross = torch.einsum("na,nb->ab", error.reshape(n, -1), flat.reshape(n, -1)) / n
        scale = torch.outer(error.std(dim=0).reshape(-1), flat.std(dim=0).reshape(-1))
        assert (cross / scale).abs().max() < 6 / n**0.5


def test_the_denoiser_refuses_states_that_it_cannot_invert():
    noise = NoiseSchedule.linear(100)
    plan = ResolutionSchedule.from_noise(np.repeat([128, 64], 50), noise, operator="box")
    denoiser = GaussianDenoiser(Spectrum.power_law(128, 2.0), ScaleSpaceProcess(plan))
    with pytest.raises(InputError, match="use operator 'dct'"):
        denoiser(torch.zeros(1, 1, 64, 64), 60, 64)
    with pytest.raises(InputError, match="spectrum: has resolution 8"):
        GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))


def run(x=None, steps=None, denoise=None, kind="box", sampler="eta", **options):
    process = ScaleSpaceProcess(schedule(kind))
    steps = [999, 700, 699, 400, 399, 0] if steps is None else steps
    x = torch.zeros(2, 1, 2, 2) if x is None else x
    denoise = denoise or (lambda x, t, r: torch.zeros(*x.shape[:2], r, r))
    return SAMPLERS[sampler](denoise, process, x, steps, **options)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: run(steps=[999, 700, 399, 0]), r"\[400, 699\] are missing"),
        (lambda: run(steps=[999, 700, 699]), r"\[399, 400\] are missing"),
        (lambda: run(steps=[999, 500], changes="free"), "must be at full resolution"),
        (lambda: run(steps=[999, 1000]), "between 0 and 999"),
        (lambda: run(steps=[999, 999, 0]), "must not be repeated"),
        (lambda: run(eta=1.5), "eta 1.5"),
        (lambda: run(eta=float("nan")), "eta nan"),
        (lambda: run(changes="none"), "changes 'none'"),
        (lambda: run(torch.zeros(2, 1, 8, 8)), r"step 999 needs \(N, C, 2, 2\)"),
        (lambda: run(denoise=lambda x, t, r: x), r"step 700: has shape \(2, 1, 2, 2\), needs"),
        (
            lambda: run(denoise=lambda x, t, r: torch.full((2, 1, r, r), torch.nan)),
            "model output at step 999: is not finite",
        ),
        (lambda: run(kind="blur", x=torch.zeros(1, 1, 8, 8), sampler="dpmpp_2m"), "without blur"),
        (lambda: run(kind="blur and box", changes="free"), "without blur"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
