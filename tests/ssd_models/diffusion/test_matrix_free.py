"""Degradations known as functions: agreement with the singular value decomposition, and with dense
matrices where there is no other path."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d

from ssd_models import ScaleSpaceProcess
from ssd_models.diffusion.degradation import SeparableDegradation
from ssd_models.diffusion.matrix_free import MatrixFreeDegradation
from ssd_models.sampling.samplers import sample_eta
from theory import InputError, NoiseSchedule, ResolutionSchedule
from theory.images.axis_maps import DegradationPath

NOISE = NoiseSchedule.linear(40)
PATHS = {
    "box": DegradationPath("box", (16, 8)),
    "bilinear": DegradationPath("bilinear", (16, 8)),
    "lanczos": DegradationPath("lanczos", (16, 12)),
    "blur": DegradationPath("box", (12,), (0.25,)),
    "blur and box": DegradationPath("box", (16, 8), (0.7, 0.0)),
}


def random(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def both(name, dtype, **options):
    """The same map as singular values and as a function."""
    exact = SeparableDegradation(PATHS[name])
    like = torch.empty(0, dtype=dtype)
    return exact, MatrixFreeDegradation(
        lambda x: exact.forward(x), exact.shape_in, 2, like=like, **options
    )


def at_change(own, change=20):
    """Degradations of a process that is the identity but for ``own`` at step ``change``."""

    def degradation(s, t):
        if t >= change and (s is None or s < change):
            return own
        side = own.shape_in[0] if t < change else own.shape_out[0]
        return SeparableDegradation(DegradationPath("box", (side,)))

    return degradation


def schedule(path, noise_mode="matched"):
    return ResolutionSchedule.from_noise(
        np.repeat([path.resolutions[0], path.resolutions[-1]], 20),
        NOISE,
        noise_mode,
        path.operator,
        np.repeat([0.0, path.blurs[0]], 20),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("name", PATHS)
def test_the_posterior_is_that_of_the_singular_values(name, noise_mode, eta, dtype):
    exact, free = both(name, dtype)
    plan = schedule(PATHS[name], noise_mode)
    t, s = 25, 19
    assert free.lambda_max == pytest.approx(exact.lambda_max, rel=1e-4)
    x0 = random(3, 2, *exact.shape_in, dtype=dtype)
    x_t = random(3, 2, *exact.shape_out, seed=1, dtype=dtype)
    noise = random(3, 2, *exact.shape_in, seed=2, dtype=dtype)
    results = [
        ScaleSpaceProcess(plan, degradation=at_change(own)).posterior_sample(
            x0, x_t, t, s, eta, noise=noise
        )
        for own in (exact, free)
    ]
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-5)


def test_adjoint_by_autograd_also_without_gradients():
    exact, free = both("lanczos", torch.float64)
    y = random(2, 2, *exact.shape_out)
    with torch.inference_mode():
        got = free.adjoint(y.clone())
    torch.testing.assert_close(got, exact.adjoint(y))
    assert not free.adjoint(y).requires_grad


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_gradients_pass_as_through_the_exact_decomposition(eta):
    exact, free = both("lanczos", torch.float64)
    x0, x_t = random(2, 2, *exact.shape_in), random(2, 2, *exact.shape_out, seed=1)
    weight = random(2, 2, *exact.shape_in, seed=2)
    plan = schedule(PATHS["lanczos"])
    found = []
    for own in (exact, free):
        process = ScaleSpaceProcess(plan, degradation=at_change(own))
        given = [x0.clone().requires_grad_(), x_t.clone().requires_grad_()]
        result = process.posterior_sample(*given, 25, 19, eta, noise=weight)
        found.append(torch.autograd.grad((result * weight).sum(), given))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)


KERNEL = random(1, 1, 3, 3, seed=4).abs()
MASK = torch.from_numpy(np.random.default_rng(5).random((1, 1, 8, 8)) > 0.4)


def own_map(x):
    """A random mask of a blurred image, halved: no basis diagonalizes this."""
    n, c, h, w = x.shape
    kernel = (KERNEL / KERNEL.sum()).to(x)
    blurred = conv2d(x.reshape(n * c, 1, h, w), kernel, padding=1).reshape(n, c, h, w)
    return avg_pool2d(MASK.to(x) * blurred, 2)


def test_a_function_of_ones_own_has_the_dense_posterior():
    free = MatrixFreeDegradation(own_map, (8, 8), like=torch.empty(0, dtype=torch.float64))
    m = own_map(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).reshape(64, 16).T.numpy()
    assert free.lambda_max == pytest.approx(np.linalg.norm(m, 2) ** 2, rel=1e-9)
    plan = ResolutionSchedule.from_noise(np.repeat([8, 4], 20), NOISE, "paper")
    process = ScaleSpaceProcess(plan, degradation=at_change(free))
    t, s = 25, 18
    c = plan.alpha[t] / plan.alpha[s]
    kappa = c * plan.sigma[s] ** 2 / plan.sigma[t] ** 2
    covariance = plan.sigma[s] ** 2 * np.eye(64) - (kappa * plan.sigma[t]) ** 2 * m.T @ m
    white = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    root = process.posterior_noise(white, t, s).reshape(64, 64).numpy()
    np.testing.assert_allclose(root.T @ root, covariance, atol=1e-9)
    # Every image of a batch is treated on its own, whatever its scale; zeros stay zeros.
    scales = torch.tensor([1.0, 1e-3, 0.0, 1e3], dtype=torch.float64).reshape(4, 1, 1, 1)
    x = random(4, 1, 8, 8)
    together = process.posterior_noise(scales * x, t, s)
    alone = torch.cat([process.posterior_noise(x[i : i + 1], t, s) for i in range(4)])
    torch.testing.assert_close(together, scales * alone, rtol=1e-6, atol=1e-12)


def test_composition_is_one_map_after_another():
    first = SeparableDegradation(DegradationPath("box", (8,), (0.4,)))
    second = MatrixFreeDegradation(own_map, (8, 8), like=torch.empty(0, dtype=torch.float64))
    both = MatrixFreeDegradation.composed([first, second], like=torch.empty(0, dtype=torch.float64))
    x, y = random(2, 1, 8, 8), random(2, 1, 4, 4, seed=1)
    torch.testing.assert_close(both(x), own_map(first(x)))
    inner = ((both(x) * y).sum(), (x * both.adjoint(y)).sum())
    torch.testing.assert_close(*inner)
    with pytest.raises(InputError, match="cannot be followed"):
        MatrixFreeDegradation.composed([second, second])
    with pytest.raises(InputError, match="needs at least one part"):
        MatrixFreeDegradation.composed([])


def test_a_chain_with_ones_own_degradation_samples():
    """The mask hides pixels of the noisy half only; the clean prediction comes out at the end."""
    plan = ResolutionSchedule.full_resolution(8, NOISE)
    hide = MatrixFreeDegradation(lambda x: MASK.to(x) * x, (8, 8))
    process = ScaleSpaceProcess(plan, degradation=at_change(hide))
    target = random(2, 1, 8, 8, dtype=torch.float32)
    x = process.add_noise(target, 39, generator=torch.Generator().manual_seed(0))
    seen = []
    out = sample_eta(
        lambda x, t, r: target,
        process,
        x,
        [39, 25, 20, 19, 5, 0],
        generator=torch.Generator().manual_seed(1),
        callback=seen.append,
    )
    torch.testing.assert_close(out, target)
    # States are marginals of the target: masked while the degradation hides, whole after.
    masked = [state.x[..., ~MASK[0, 0]].abs().max() for state in seen[:2]]
    assert max(masked) < 5
    late = seen[-2].x - plan.alpha[0] * target
    assert late.std() < 3 * plan.sigma[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: MatrixFreeDegradation(lambda x: x + 1, (4, 4)), "not linear"),
        (lambda: MatrixFreeDegradation(lambda x: x**2, (4, 4)), "not linear"),
        (lambda: MatrixFreeDegradation(lambda x: x.flip(0), (4, 4)), "not linear"),
        (lambda: MatrixFreeDegradation(lambda x: 0 * x, (4, 4)), "to zero"),
        (
            lambda: both("lanczos", torch.float64, max_iterations=5)[1].lift(
                random(1, 2, 12, 12), torch.ones_like
            ),
            "did not reach 1e-06 in 5 iterations",
        ),
        (
            lambda: ScaleSpaceProcess(
                ResolutionSchedule.full_resolution(8, NOISE),
                degradation=lambda s, t: MatrixFreeDegradation(lambda x: 3 * x, (8, 8)),
            ).degradation(4, 5),
            "step 4 -> 5: is not a valid step for this degradation",
        ),
    ],
)
def test_bad_functions_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
