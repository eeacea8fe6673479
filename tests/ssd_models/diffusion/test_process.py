"""The process: dense Gaussian conditioning, marginals, adjoints, and DDPM/DDIM as one level."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.fft import dct, dctn, idctn

from ssd_models.diffusion.degradation import SeparableDegradation
from ssd_models.diffusion.process import ScaleSpaceProcess
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.images.axis_maps import DegradationPath
from theory.images.operators import OPERATORS, dct_basis, resize_matrix
from theory.schedule.reverse_step import reverse_step

NOISE = NoiseSchedule.linear(40)
T, S = 25, 18  # a change lies between


BLUR = np.linspace(0, 3, 40) ** 2  # variance in squared pixels
KINDS = {  # operator, resolutions, blur
    **{operator: (operator, (8, 4, 2), None) for operator in OPERATORS},
    "blur": ("box", (8, 8, 8), BLUR),
    "blur and box": ("box", (8, 4, 2), BLUR),
    "blur and dct": ("dct", (8, 4, 2), BLUR),
    "other factors": ("bilinear", (9, 6, 5), None),
}


def schedule(kind="box", noise_mode="matched"):
    operator, resolutions, blur = KINDS[kind]
    return ResolutionSchedule.from_noise(
        np.repeat(resolutions, [20, 10, 10]), NOISE, noise_mode, operator, blur
    )


def dense(operator, chain):
    a = np.eye(chain[0])
    for n_in, n_out in pairwise(chain):
        a = resize_matrix(operator, n_in, n_out) @ a
    return np.kron(a, a)


def step_by_step(plan, s, t):
    """``M_{s+1:t}`` as the product of every single step's own resize and blur."""
    matrix = np.eye(plan.resolutions[s])
    for u in range(s + 1, t + 1):
        before, after = plan.resolutions[u - 1], plan.resolutions[u]
        variance = (plan.blur[u] - plan.blur[u - 1]) * (before / plan.resolution) ** 2
        k = np.arange(before)
        cosines = dct(np.eye(before), axis=0, norm="ortho")
        blur = cosines.T @ np.diag(np.exp(-variance / 2 * (np.pi * k / before) ** 2)) @ cosines
        matrix = resize_matrix(plan.operator, before, after) @ blur @ matrix
    return np.kron(matrix, matrix)


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def columns(function, n):
    """Matrix of a linear function of n × n images."""
    out = function(torch.eye(n * n, dtype=torch.float64).reshape(-1, 1, n, n))
    return out.reshape(n * n, -1).T.numpy()


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("chain", [(8, 4), (8, 4, 2), (9, 6), (5, 5)])
def test_operator_adjoint_and_dense_matrix_agree(operator, chain):
    path = DegradationPath(operator, tuple(dict.fromkeys(chain)))
    degradation = SeparableDegradation(path)
    x, y = random(3, chain[0], chain[0]), random(3, chain[-1], chain[-1], seed=1)
    assert (degradation(x) * y).sum().item() == pytest.approx(
        (x * degradation.adjoint(y)).sum().item(), abs=1e-12
    )
    np.testing.assert_allclose(
        columns(degradation, chain[0]), dense(operator, chain), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        degradation.lift(y, lambda s: s),
        degradation.adjoint(y),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("t", "s"), [(T, S), (35, 10), (39, 22), (20, 19), (39, 0)])
def test_posterior_is_dense_gaussian_conditioning(kind, noise_mode, t, s, dtype, tolerance):
    plan = schedule(kind, noise_mode)
    process = ScaleSpaceProcess(plan)
    r_s, r_t = process.resolution(s), process.resolution(t)
    a_s, a_t = plan.alpha[s], plan.alpha[t]
    var_s, var_t = plan.sigma[s] ** 2, plan.sigma[t] ** 2
    c = a_t / a_s
    m = step_by_step(plan, s, t)
    # Joint Gaussian of (x_s, x_t) given x_0: cov(x_s, x_t) = c σ_s² Mᵀ, var(x_t) = σ_t² I.
    forward_cov = var_t * np.eye(r_t**2) - c**2 * var_s * m @ m.T
    total = c**2 * var_s * m @ m.T + forward_cov
    gain = c * var_s * m.T @ np.linalg.inv(total)
    covariance = var_s * np.eye(r_s**2) - gain @ (c * var_s * m)

    x0_s, x_t = random(1, 1, r_s, r_s).to(dtype), random(1, 1, r_t, r_t, seed=1).to(dtype)
    mean_s = a_s * x0_s.double().numpy().ravel()
    mean = mean_s + gain @ (x_t.double().numpy().ravel() - c * m @ mean_s)
    got = process.posterior_mean(x0_s, x_t, t, s)
    assert got.dtype == dtype
    np.testing.assert_allclose(got.double().numpy().ravel(), mean, rtol=0, atol=tolerance)
    root = columns(lambda noise: process.posterior_noise(noise.to(dtype), t, s), r_s)
    np.testing.assert_allclose(root @ root.T, covariance, rtol=0, atol=tolerance)
    zero = torch.zeros(2, 1, r_s, r_s, dtype=dtype)
    noise = random(2, 1, r_s, r_s, seed=2).to(dtype)
    drawn = process.posterior_sample(zero, process.degradation(s, t)(zero), t, s, noise=noise)
    torch.testing.assert_close(drawn, process.posterior_noise(noise, t, s))


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_reverse_steps_keep_the_marginal(kind, noise_mode, eta):
    # Cov of x_s made from x_t ~ q(x_t | x_0) must be σ_s² I, and its mean a_s M x_0.
    plan = schedule(kind, noise_mode)
    process = ScaleSpaceProcess(plan)
    r_s, r_t = process.resolution(S), process.resolution(T)
    x0 = random(1, 1, plan.resolution, plan.resolution)
    x0_s = process.degrade(x0, S)
    mean_t = plan.alpha[T] * process.degrade(x0, T)
    zero = torch.zeros_like(x0_s)
    through = columns(
        lambda x: process.posterior_mean(zero.expand(len(x), -1, -1, -1), x, T, S, eta), r_t
    )
    root = columns(lambda n: process.posterior_noise(n, T, S, eta), r_s)
    covariance = plan.sigma[T] ** 2 * through @ through.T + root @ root.T
    np.testing.assert_allclose(covariance, plan.sigma[S] ** 2 * np.eye(r_s**2), rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        process.posterior_mean(x0_s, mean_t, T, S, eta), plan.alpha[S] * x0_s, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "other factors"])
def test_a_forward_step_reproduces_the_forward_marginal(kind):
    # x_s ~ q(x_s | x_0) pushed through q(x_t | x_s) has the mean and covariance of q(x_t | x_0).
    plan = schedule(kind)
    process = ScaleSpaceProcess(plan)
    c = plan.alpha[T] / plan.alpha[S]
    m = columns(process.degradation(S, T), 8)
    step_cov = plan.sigma[T] ** 2 * np.eye(len(m)) - c**2 * plan.sigma[S] ** 2 * m @ m.T
    assert np.linalg.eigvalsh(step_cov).min() > -1e-12
    x0 = random(1, 1, 8, 8)
    noiseless = process.add_noise(x0, S, torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    np.testing.assert_allclose(
        c * process.degradation(S, T)(noiseless),
        process.add_noise(x0, T, torch.zeros(1, 1, *process.shape(T), dtype=torch.float64)),
        atol=1e-12,
    )


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_one_level_is_ddpm_and_ddim(eta):
    plan = ResolutionSchedule.full_resolution(6, NOISE)
    process = ScaleSpaceProcess(plan)
    x0, x, z = random(2, 3, 6, 6), random(2, 3, 6, 6, seed=1), random(2, 3, 6, 6, seed=2)
    bar = NOISE.alpha_bar
    for t, s in ((39, 38), (30, 12), (1, 0)):
        ours = process.posterior_sample(x0, x, t, s, eta, noise=z)
        if eta == 1:  # Ho et al. 2020, eqs. 6 and 7
            beta = 1 - bar[t] / bar[s]
            mean = np.sqrt(bar[s]) * beta / (1 - bar[t]) * x0
            mean = mean + np.sqrt(1 - beta) * (1 - bar[s]) / (1 - bar[t]) * x
            expected = mean + np.sqrt((1 - bar[s]) / (1 - bar[t]) * beta) * z
        else:  # Song et al. 2021, eq. 12 with σ = 0
            epsilon = (x - np.sqrt(bar[t]) * x0) / np.sqrt(1 - bar[t])
            expected = np.sqrt(bar[s]) * x0 + np.sqrt(1 - bar[s]) * epsilon
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_blur_is_blurring_diffusion(eta):
    """Per-frequency formulas of Hoogeboom & Salimans 2023, section 3, in the DCT."""
    plan = schedule("blur")
    process = ScaleSpaceProcess(plan)
    k = np.arange(8)
    rate = np.pi**2 * (k[:, None] ** 2 + k**2) / 64  # λ of each frequency
    x0, x, z = (random(2, 1, 8, 8, seed=i) for i in range(3))
    to, back = (partial(f, axes=(2, 3), norm="ortho") for f in (dctn, idctn))
    for t, s in ((39, 38), (30, 12), (1, 0)):
        alpha_t, alpha_s = (plan.alpha[i] * np.exp(-rate * plan.blur[i] / 2) for i in (t, s))
        sigma_t, sigma_s = plan.sigma[t], plan.sigma[s]
        clean = process.from_target(process.target(x0, 8), s)
        np.testing.assert_allclose(
            plan.alpha[s] * clean.numpy(), back(alpha_s * to(x0.numpy())), atol=1e-12
        )
        if eta == 1:  # the posterior of two Gaussians that they state
            ratio = alpha_t / alpha_s
            forward = sigma_t**2 - ratio**2 * sigma_s**2
            variance = 1 / (1 / sigma_s**2 + ratio**2 / forward)
            mean = variance * (
                ratio / forward * to(x.numpy()) + alpha_s / sigma_s**2 * to(x0.numpy())
            )
            expected = back(mean + np.sqrt(variance) * to(z.numpy()))
        else:  # DDIM in each frequency
            residual = to(x.numpy()) - alpha_t * to(x0.numpy())
            expected = back(alpha_s * to(x0.numpy()) + sigma_s / sigma_t * residual)
        got = process.posterior_sample(clean, x, t, s, eta, noise=z)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def test_blur_under_steady_noise_is_inverse_heat_dissipation():
    """``q(u_t | u_0) = N(exp(−Λ τ_t) u_0, σ² I)`` (Rissanen et al. 2023, eq. 6), up to a scale."""
    sigma, times = 0.01, np.geomspace(0.1, 20, 30)  # τ; variance of the kernel is 2 τ
    scale = 1 / np.sqrt(1 + sigma**2)
    plan = ResolutionSchedule(
        np.full(30, 8), np.full(30, scale), np.full(30, sigma * scale), blur=2 * times
    )
    process = ScaleSpaceProcess(plan)
    x0, noise = random(2, 3, 8, 8), random(2, 3, 8, 8, seed=1)
    k = np.pi * np.arange(8) / 8
    for t in (0, 12, 29):
        decay = np.exp(-(k[:, None] ** 2 + k**2) * times[t])
        blurred = idctn(
            decay * dctn(x0.numpy(), axes=(2, 3), norm="ortho"), axes=(2, 3), norm="ortho"
        )
        np.testing.assert_allclose(
            process.add_noise(x0, t, noise) / scale, blurred + sigma * noise.numpy(), atol=1e-12
        )


def test_rectangular_images_are_two_axes():
    plan = schedule("bilinear")
    process = ScaleSpaceProcess(
        ResolutionSchedule.from_noise(  # halvings of 8 and of 12 pixels
            np.repeat([8, 4], [20, 20]), NOISE, operator="box"
        ),
        (12, 8),
    )
    assert process.shape(0) == (12, 8)
    assert process.shape(30) == (6, 4)
    x0 = random(1, 2, 12, 8)
    blocks = x0.reshape(1, 2, 6, 2, 4, 2).mean(dim=(3, 5))
    np.testing.assert_allclose(process.degrade(x0, 30), blocks, atol=1e-12)
    noise, x_t = random(1, 2, 12, 8, seed=1), random(1, 2, 6, 4, seed=2)
    got = process.posterior_sample(x0, x_t, 30, 10, 0.4, noise=noise)
    # By dense matrices of the two different axes.
    a, b = resize_matrix("box", 12, 6), resize_matrix("box", 8, 4)
    m = np.kron(a, b)
    s = process.schedule
    u, values, vt = np.linalg.svd(m, full_matrices=False)
    gain, variance = reverse_step(s, 30, 10, values, 0.4)
    spread = vt.T @ np.diag(np.sqrt(variance)) @ vt
    spread = spread + s.sigma[10] * (np.eye(96) - vt.T @ vt)
    for c in range(2):
        clean, x, z = (v[0, c].numpy().ravel() for v in (x0, x_t, noise))
        mean = s.alpha[10] * clean + vt.T @ (gain * (u.T @ (x - s.alpha[30] * m @ clean)))
        np.testing.assert_allclose(got[0, c].numpy().ravel(), mean + spread @ z, atol=1e-12)
    with pytest.raises(InputError, match="image side 9"):
        ScaleSpaceProcess(plan, (8, 9))


def test_images_blurred_by_different_steps_in_a_batch():
    process = ScaleSpaceProcess(schedule("blur and box"))
    x0, noise = random(3, 1, 8, 8), random(3, 1, 4, 4, seed=1)
    steps = [21, 28, 21]
    together = process.add_noise(x0, torch.tensor(steps), noise)
    for i, t in enumerate(steps):
        alone = process.add_noise(x0[i : i + 1], t, noise[i : i + 1])
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-12)
    assert (process.degrade(x0, 28) - process.degrade(x0, 21)).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_of_a_level_lead_to_every_state_of_it(kind):
    process = ScaleSpaceProcess(schedule(kind))
    x0 = random(2, 1, *process.shape(0))
    for s in (0, 10, 25, 39):
        target = process.target(x0, process.resolution(s))
        assert tuple(target.shape[-2:]) == process.level_shape(process.resolution(s))
        torch.testing.assert_close(
            process.from_target(target, s), process.degrade(x0, s), rtol=0, atol=1e-12
        )


def test_matched_change_adds_noise_only_in_new_directions():
    process = ScaleSpaceProcess(schedule("box"))
    zero_s, zero_t = torch.zeros(1, 1, 8, 8).double(), torch.zeros(1, 1, 4, 4).double()
    noise = random(1, 1, 8, 8)
    x = process.posterior_sample(zero_s, zero_t, 20, 19, eta=0.0, noise=noise)
    np.testing.assert_allclose(process.degradation(19, 20)(x), 0, atol=1e-12)
    blocks = noise.reshape(1, 1, 4, 2, 4, 2).mean(dim=(3, 5), keepdim=True)
    outside = (noise.reshape(1, 1, 4, 2, 4, 2) - blocks).reshape(1, 1, 8, 8)
    np.testing.assert_allclose(x, schedule().sigma[19] * outside, atol=1e-12)


def test_noise_of_several_steps_in_a_batch():
    plan = schedule()
    process = ScaleSpaceProcess(plan)
    x0, noise = random(2, 1, 8, 8), random(2, 1, 4, 4, seed=1)
    both = process.add_noise(x0, torch.tensor([21, 27]), noise)
    for i, t in enumerate((21, 27)):
        alone = process.add_noise(x0[i : i + 1], t, noise[i : i + 1])
        np.testing.assert_allclose(both[i : i + 1], alone)
        expected = plan.alpha[t] * process.degrade(x0, t)[i] + plan.sigma[t] * noise[i]
        np.testing.assert_allclose(alone[0], expected)


@pytest.mark.parametrize(("kind", "distinct"), [("box", 1), ("blur", 3)])
def test_a_batch_builds_no_map_per_image(kind, distinct, monkeypatch):
    process = ScaleSpaceProcess(schedule(kind))
    steps = torch.tensor([21, 27, 24] * 40)
    x0 = random(120, 1, 8, 8)
    built = []
    path = ResolutionSchedule.path
    monkeypatch.setattr(
        ResolutionSchedule, "path", lambda self, s, t: built.append(t) or path(self, s, t)
    )
    together = process.degrade(x0, steps)
    assert len(built) == distinct
    for i in range(3):
        alone = process.degrade(x0[i : i + 1], int(steps[i]))
        torch.testing.assert_close(together[i : i + 1], alone)
    noisy = process.noisy(together, steps, torch.zeros_like(together))
    alpha = torch.tensor(process.schedule.alpha)[steps].reshape(-1, 1, 1, 1)
    torch.testing.assert_close(noisy, alpha * together)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda p, x: p.add_noise(x, torch.tensor([5, 25])), "same resolution"),
        (lambda p, x: p.add_noise(x[..., :4, :4], 5), "the schedule needs"),
        (lambda p, x: p.add_noise(x, 40), "step 40: must be between 0 and 39"),
        (lambda p, x: p.add_noise(x, 25, x), "noise: has shape"),
        (lambda p, x: p.posterior_mean(x, x, 10, 12), "reverse step"),
        (lambda p, x: p.posterior_mean(x, x, 25, 5), "x_t: has shape"),
        (lambda p, x: p.posterior_mean(x, x, 10, 5, eta=2.0), "eta 2.0"),
        (lambda p, x: p.posterior_mean(x, x[:1], 10, 5), "must be as many"),
        (lambda p, x: p.posterior_sample(x, x, 10, 5, noise=x[:1]), "noise: has shape"),
        (lambda p, x: p.target(x, 3), "resolution 3: is that of no step"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call(ScaleSpaceProcess(schedule()), random(2, 1, 8, 8))


ATTENUATED = {
    (tolerance, smoothness): derive_schedule(
        Spectrum.power_law(16, 2.2),
        NoiseSchedule.linear(200),
        (16, 8, 4),
        tolerance=tolerance,
        smoothness=smoothness,
    )
    for tolerance in (0.3, 1.0)
    for smoothness in (1.0, 2.0)
}


@pytest.mark.parametrize("key", ATTENUATED)
def test_attenuated_states_have_the_gains_of_the_schedule(key):
    schedule = ATTENUATED[key]
    process = ScaleSpaceProcess(schedule)
    basis = torch.from_numpy(dct_basis(16))
    x0 = torch.randn(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0, 40, 120, 199):
        side = process.resolution(t)
        zero = torch.zeros(2, 1, side, side, dtype=torch.float64)
        own = torch.from_numpy(dct_basis(side))
        expected = (basis @ x0 @ basis.T)[..., :side, :side] * torch.from_numpy(
            schedule.signal_gains(t)[:side, :side]
        )
        state = process.add_noise(x0, t, zero)
        torch.testing.assert_close(own @ state @ own.T, expected, atol=1e-12, rtol=0)
        both = process.add_noise(x0, torch.tensor([t, t]), zero)  # a step for each image
        torch.testing.assert_close(both, state, atol=1e-12, rtol=0)


@pytest.mark.parametrize("key", ATTENUATED)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_attenuated_posterior_keeps_the_marginals(key, eta):
    """Gains and covariance of a reverse step that knows the image, coefficient by coefficient."""
    schedule = ATTENUATED[key]
    process = ScaleSpaceProcess(schedule)
    for t, s in ((199, 120), (120, 119), (60, 5)):
        r_t, r_s = process.resolution(t), process.resolution(s)
        x0 = torch.randn(1, 1, 16, 16, dtype=torch.float64)
        clean_s = process.from_target(process.target(x0, r_s), s)
        zero = torch.zeros(1, 1, r_t, r_t, dtype=torch.float64)
        mean = process.posterior_mean(clean_s, process.add_noise(x0, t, zero), t, s, eta)
        torch.testing.assert_close(mean, float(schedule.alpha[s]) * clean_s, atol=1e-10, rtol=0)
        # Noise of the state, carried over, and the step's own: together of variance σ_s² again.
        unit = torch.eye(r_t**2, dtype=torch.float64).reshape(-1, 1, r_t, r_t)
        nothing = torch.zeros(len(unit), 1, r_s, r_s, dtype=torch.float64)
        carried = process.posterior_mean(nothing, unit, t, s, eta).flatten(1)
        white = torch.eye(r_s**2, dtype=torch.float64).reshape(-1, 1, r_s, r_s)
        own = process.posterior_noise(white, t, s, eta).flatten(1)
        covariance = float(schedule.sigma[t]) ** 2 * carried.T @ carried + own.T @ own
        expected = float(schedule.sigma[s]) ** 2 * torch.eye(r_s**2, dtype=torch.float64)
        torch.testing.assert_close(covariance, expected, atol=1e-10, rtol=0)


def test_attenuation_reaches_both_axes_of_a_rectangle():
    """A frequency fades by its place in cycles per image side, whatever the pixels."""
    schedule = ATTENUATED[1.0, 2.0]
    wide = ScaleSpaceProcess(schedule, image_size=(16, 32))
    x0 = torch.randn(1, 1, 16, 32, dtype=torch.float64)
    t = 60
    side = wide.shape(t)
    state = wide.add_noise(x0, t, torch.zeros(1, 1, *side, dtype=torch.float64))
    h, w = (torch.from_numpy(dct_basis(n)) for n in side)
    clean = torch.from_numpy(dct_basis(16)) @ x0 @ torch.from_numpy(dct_basis(32)).T
    gains = (h @ state @ w.T) / clean[..., : side[0], : side[1]]
    torch.testing.assert_close(
        gains[0, 0, :, ::2],
        torch.from_numpy(schedule.signal_gains(t)[: side[0], : side[0]]),
        atol=1e-9,
        rtol=0,
    )
