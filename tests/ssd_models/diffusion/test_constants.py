"""What is kept between calls: usable for gradients whoever asked first, and no part of a pickle."""

import gc
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from ssd_models import GaussianDenoiser, ScaleSpacePipeline, ScaleSpaceProcess
from ssd_models.diffusion.degradation import SeparableDegradation
from theory import NoiseSchedule, ResolutionSchedule, Spectrum
from theory.images.axis_maps import DegradationPath

SPECTRUM = Spectrum.power_law(16, 2.0, channels=3)


def schedule(operator="box"):
    return ResolutionSchedule.from_noise(
        np.repeat([16, 8, 4], [20, 10, 10]), NoiseSchedule.linear(40), operator=operator
    )


def chain_gradient(process, denoise):
    """Gradient of a chain's end with respect to its beginning."""
    steps = [39, 30, 29, 20, 19, 0]
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    state, generator = x, torch.Generator().manual_seed(1)
    for t, s in pairwise(steps):
        x0 = process.from_target(denoise(state, t, process.resolution(s)), s)
        state = process.posterior_sample(x0, state, t, s, 0.5, generator)
    return torch.autograd.grad(state.square().sum(), x)[0]


@pytest.mark.parametrize("operator", ["box", "dct"])
def test_gradients_do_not_depend_on_what_ran_before(operator):
    plan = schedule(operator)
    process = ScaleSpaceProcess(plan)
    expected = chain_gradient(process, GaussianDenoiser(SPECTRUM, process))
    process = ScaleSpaceProcess(plan)
    denoise = GaussianDenoiser(SPECTRUM, process)
    with torch.inference_mode():
        images = denoise.field.draw(2, torch.Generator().manual_seed(0), torch.empty(0))
        for t, s in pairwise([39, 30, 29, 20, 19, 0]):
            state = process.add_noise(images, t)
            x0 = process.from_target(denoise(state, t, process.resolution(s)), s)
            process.posterior_sample(x0, state, t, s, 0.5)
    torch.testing.assert_close(chain_gradient(process, denoise), expected)


def test_gradients_pass_through_the_process_of_a_pipeline_that_has_sampled(random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), schedule(), SPECTRUM)
    images = pipeline(2, 8, 1.0, output_type="pt").images
    images += 1  # an ordinary tensor, that may be written to
    process = pipeline.scheduler.process
    gradient = chain_gradient(process, GaussianDenoiser(SPECTRUM, process))
    assert gradient.abs().max() > 0


def test_a_degradation_of_ones_own_is_made_for_gradients_too():
    made = []

    def own(s, t):
        made.append(torch.ones(1))
        return SeparableDegradation(DegradationPath("box", (16,)))

    with torch.inference_mode():
        ScaleSpaceProcess(schedule(), degradation=own).degrade(torch.zeros(1, 1, 16, 16), 3)
    assert not any(tensor.is_inference() for tensor in made)


def test_pickles_hold_no_tensors_and_compute_the_same():
    path = DegradationPath("box", (16, 8))
    x = torch.randn(1, 1, 24, 32, generator=torch.Generator().manual_seed(0))
    expected = SeparableDegradation(path, (24, 32), 16)(x)
    size = len(pickle.dumps(SeparableDegradation(path, (24, 32), 16)))
    for _ in range(100):  # an address may be that of another array the next time
        used = SeparableDegradation(path, (24, 32), 16)
        used.lift(used(x), torch.reciprocal)
        stored = pickle.dumps(used)
        assert len(stored) == size
        del used
        gc.collect(0)
        torch.testing.assert_close(pickle.loads(stored)(x), expected)
    process = ScaleSpaceProcess(schedule())
    denoise = GaussianDenoiser(SPECTRUM, process)
    state = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = denoise(state, 35, 8)
    torch.testing.assert_close(pickle.loads(pickle.dumps(denoise))(state, 35, 8), expected)
