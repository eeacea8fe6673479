"""The process: dense Gaussian conditioning, marginals, adjoints, and DDPM/DDIM as one level."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ssd_models.degradation import SeparableDegradation
from ssd_models.process import ScaleSpaceProcess
from theory import InputError, NoiseSchedule, ResolutionSchedule
from theory.degradations import DegradationPath
from theory.operators import OPERATORS, resize_matrix

NOISE = NoiseSchedule.linear(40)
T, S = 25, 18  # a change lies between


def schedule(operator="box", noise_mode="matched", resolutions=(8, 4, 2)):
    return ResolutionSchedule.from_noise(
        np.repeat(resolutions, [20, 10, 10]), NOISE, noise_mode, operator
    )


def dense(operator, chain):
    a = np.eye(chain[0])
    for n_in, n_out in pairwise(chain):
        a = resize_matrix(operator, n_in, n_out) @ a
    return np.kron(a, a)


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


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("t", "s"), [(T, S), (35, 10), (39, 22), (20, 19)])
def test_posterior_is_dense_gaussian_conditioning(operator, noise_mode, t, s):
    plan = schedule(operator, noise_mode)
    process = ScaleSpaceProcess(plan)
    r_s, r_t = process.resolution(s), process.resolution(t)
    a_s, a_t = plan.alpha[s], plan.alpha[t]
    var_s, var_t = plan.sigma[s] ** 2, plan.sigma[t] ** 2
    c = a_t / a_s
    m = dense(operator, [r for r in (8, 4, 2) if r_t <= r <= r_s])
    # Joint Gaussian of (x_s, x_t) given x_0: cov(x_s, x_t) = c σ_s² Mᵀ, var(x_t) = σ_t² I.
    forward_cov = var_t * np.eye(r_t**2) - c**2 * var_s * m @ m.T
    total = c**2 * var_s * m @ m.T + forward_cov
    gain = c * var_s * m.T @ np.linalg.inv(total)
    covariance = var_s * np.eye(r_s**2) - gain @ (c * var_s * m)

    x0_s, x_t = random(1, 1, r_s, r_s), random(1, 1, r_t, r_t, seed=1)
    mean_s = a_s * x0_s.numpy().ravel()
    mean = mean_s + gain @ (x_t.numpy().ravel() - c * m @ mean_s)
    got = process.posterior_mean(x0_s, x_t, t, s).numpy().ravel()
    np.testing.assert_allclose(got, mean, rtol=0, atol=1e-10)
    zero_s, zero_t = torch.zeros(1, 1, r_s, r_s).double(), torch.zeros(1, 1, r_t, r_t).double()
    root = columns(
        lambda noise: process.posterior_sample(
            zero_s.expand(len(noise), -1, -1, -1),
            zero_t.expand(len(noise), -1, -1, -1),
            t,
            s,
            noise=noise,
        ),
        r_s,
    )
    np.testing.assert_allclose(root @ root.T, covariance, rtol=0, atol=1e-10)


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_reverse_steps_keep_the_marginal(operator, noise_mode, eta):
    # Cov of x_s made from x_t ~ q(x_t | x_0) must be σ_s² I, and its mean a_s M x_0.
    plan = schedule(operator, noise_mode)
    process = ScaleSpaceProcess(plan)
    x0 = random(1, 1, 8, 8)
    x0_s = process.degrade(x0, S)
    mean_t = plan.alpha[T] * process.degrade(x0, T)
    zero = torch.zeros_like(x0_s)
    through = columns(
        lambda x: process.posterior_mean(zero.expand(len(x), -1, -1, -1), x, T, S, eta), 4
    )
    zero_t = torch.zeros_like(mean_t)
    root = columns(
        lambda n: process.posterior_sample(
            zero.expand(len(n), -1, -1, -1), zero_t.expand(len(n), -1, -1, -1), T, S, eta, noise=n
        ),
        8,
    )
    covariance = plan.sigma[T] ** 2 * through @ through.T + root @ root.T
    np.testing.assert_allclose(covariance, plan.sigma[S] ** 2 * np.eye(64), rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        process.posterior_mean(x0_s, mean_t, T, S, eta), plan.alpha[S] * x0_s, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_forward_step_reproduces_the_forward_marginal(operator):
    # x_s ~ q(x_s | x_0) pushed through q(x_t | x_s) has the mean and covariance of q(x_t | x_0).
    plan = schedule(operator)
    process = ScaleSpaceProcess(plan)
    c = plan.alpha[T] / plan.alpha[S]
    m = columns(process.degradation(S, T), 8)
    step_cov = plan.sigma[T] ** 2 * np.eye(16) - c**2 * plan.sigma[S] ** 2 * m @ m.T
    assert np.linalg.eigvalsh(step_cov).min() > -1e-12
    x0 = random(1, 1, 8, 8)
    noiseless = process.add_noise(x0, S, torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    np.testing.assert_allclose(
        c * process.degradation(S, T)(noiseless),
        process.add_noise(x0, T, torch.zeros(1, 1, 4, 4, dtype=torch.float64)),
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
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call(ScaleSpaceProcess(schedule()), random(2, 1, 8, 8))
