"""Editing from the middle of a chain, with the exact denoiser of a Gaussian field."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from ssd_models import ScaleSpacePipeline, ScaleSpaceProcess, ScaleSpaceScheduler
from ssd_models.diffusion.gaussian import GaussianDenoiser
from ssd_models.sampling.editing import inpaint, super_resolve, vary
from ssd_models.sampling.samplers import sample_eta
from ssd_models.sampling.whitened import sample_whitened
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum

SPECTRUM = Spectrum.power_law(8, 2.0)
NOISE = NoiseSchedule.linear(200)
N = 2**13


def make(operator="box"):
    plan = ResolutionSchedule.from_noise(
        np.repeat([8, 4, 2], [80, 60, 60]), NOISE, operator=operator
    )
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    images = denoiser.field.draw(N, torch.Generator().manual_seed(0), torch.empty(0))
    return denoiser, images


def exact(denoiser):
    """Ancestral with spectral variance: for a Gaussian field every step is a true conditional."""
    return {"sample": sample_eta, "variance": denoiser, "eta": 1.0}


def coefficients(images):
    return dctn(images[:, 0].numpy(), axes=(1, 2), norm="ortho")


@pytest.mark.parametrize("operator", ["box", "dct"])
@pytest.mark.parametrize("t", [30, 100, 150])
def test_variations_are_draws_given_the_noisy_state(operator, t):
    denoiser, images = make(operator)
    generator = torch.Generator().manual_seed(1)
    varied = vary(denoiser, denoiser.process, images, t, 20, generator=generator, **exact(denoiser))
    # Given x_t, variation and image are independent draws of one distribution: their covariance is
    # that of E[x0 | x_t].
    state = denoiser.process.add_noise(images, t, generator=generator)
    expected = (coefficients(denoiser(state, t, 8)) ** 2).mean(axis=0)
    power = SPECTRUM.power[:, :, 0]
    got = (coefficients(images) * coefficients(varied)).mean(axis=0)
    assert (np.abs(got - expected) / power).max() < 6 * np.sqrt(2 / N)
    variance = (coefficients(varied) ** 2).mean(axis=0)
    assert np.abs(variance / power - 1).max() < 6 * np.sqrt(2 / N)


def test_the_later_the_step_the_less_is_kept():
    denoiser, images = make()
    distance = [
        (
            vary(
                denoiser,
                denoiser.process,
                images[:256],
                t,
                20,
                generator=torch.Generator().manual_seed(1),
            )
            - images[:256]
        )
        .square()
        .mean()
        for t in (5, 40, 90, 150)
    ]
    assert distance == sorted(distance)
    assert distance[0] < 0.1 * images.var()


@pytest.mark.parametrize("changes", ["network", "free"])
@pytest.mark.parametrize("operator", ["box", "dct", "bilinear"])
@pytest.mark.parametrize("level", [4, 2])
def test_large_images_degrade_to_the_small_ones(operator, level, changes):
    denoiser, images = make(operator)
    process = denoiser.process
    small = process.target(images[:512], level)
    large = super_resolve(
        denoiser, process, small, 30, generator=torch.Generator().manual_seed(1), changes=changes
    )
    assert large.shape == (512, 1, 8, 8)
    torch.testing.assert_close(process.target(large, level), small, rtol=0, atol=1e-5)
    loose = super_resolve(
        denoiser,
        process,
        small,
        30,
        consistent=False,
        generator=torch.Generator().manual_seed(1),
        changes=changes,
    )
    assert (process.target(loose, level) - small).abs().max() > 0.05


def test_any_sampler_keeps_what_editing_keeps():
    denoiser, images = make("dct")
    process, options = denoiser.process, {"sample": sample_whitened, "spectrum": SPECTRUM}
    generator = torch.Generator().manual_seed(1)
    small = process.target(images[:64], 4)
    large = super_resolve(denoiser, process, small, 30, generator=generator, **options)
    torch.testing.assert_close(process.target(large, 4), small, rtol=0, atol=1e-5)
    known = torch.zeros((1, 1, 8, 8), dtype=torch.bool)
    known[..., :4] = True
    near = []  # how what is filled in goes with what is known beside it
    for chosen in (options, {}):
        generator = torch.Generator().manual_seed(1)
        filled = inpaint(denoiser, process, images[:1024], known, 30, generator=generator, **chosen)
        torch.testing.assert_close(filled[..., :4], images[:1024, ..., :4])
        near.append(float((filled[..., 3] * filled[..., 4]).mean()))
    assert near[0] == pytest.approx(near[1], rel=0.1)
    assert near[1] > 0.03


def test_large_images_have_the_data_spectrum():
    denoiser, images = make()
    small = denoiser.process.target(images, 4)
    large = super_resolve(
        denoiser,
        denoiser.process,
        small,
        30,
        consistent=False,
        generator=torch.Generator().manual_seed(1),
        **exact(denoiser),
    )
    ratio = (coefficients(large) ** 2).mean(axis=0) / SPECTRUM.power[:, :, 0]
    assert np.abs(ratio - 1).max() < 6 * np.sqrt(2 / N)


@pytest.mark.parametrize("operator", ["box", "lanczos"])
def test_known_pixels_are_kept_and_the_rest_fits_them(operator):
    denoiser, images = make(operator)
    process = denoiser.process
    known = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    known[..., 2:5, 3:6] = False
    given = torch.where(known, images, torch.nan)
    seen = []
    filled = inpaint(
        denoiser,
        process,
        given,
        known,
        60,
        generator=torch.Generator().manual_seed(1),
        callback=seen.append,
        **exact(denoiser),
    )
    assert torch.equal(filled[known.expand(N, -1, -1, -1)], images[known.expand(N, -1, -1, -1)])
    hole = ~known[0, 0]
    error = (filled - images)[:, 0, hole].square().mean()
    # A fill that knew nothing of the image would err by twice the variance.
    assert error < 0.6 * 2 * images[:, 0, hole].var()
    # States are those of the process where the image is known.
    state = next(s for s in seen if s.s is not None and s.x.shape[-1] == 4)
    noise = state.x - float(process.schedule.alpha[state.s]) * process.degrade(images, state.s)
    corner = noise[:, 0, 3, 3] / float(process.schedule.sigma[state.s])
    assert corner.var().item() == pytest.approx(1, abs=6 * np.sqrt(2 / N))
    if operator == "box":
        assert state.x.shape[-2:] == (4, 4)


def test_a_mask_for_each_image():
    denoiser, images = make()
    known = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5
    generator = torch.Generator().manual_seed(3)
    filled = inpaint(denoiser, denoiser.process, images[:64], known, 20, generator=generator)
    torch.testing.assert_close(filled[known], images[:64][known], rtol=0, atol=0)


def test_bad_arguments_are_refused():
    denoiser, images = make()
    process, few = denoiser.process, images[:2]
    known = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    for call, said in (
        (lambda: vary(denoiser, process, few, 200), "step 200: must be between"),
        (lambda: vary(denoiser, process, few, 50, [60, 20, 0]), "must begin with 50"),
        (lambda: vary(denoiser, process, few[..., :4], 50), "the schedule needs"),
        (lambda: super_resolve(denoiser, process, few), r"one of \[\(4, 4\), \(2, 2\)\]"),
        (
            lambda: super_resolve(denoiser, process, few[..., :4, :4], t=10),
            "step 10: has 8 pixels, the small images 4",
        ),
        (lambda: inpaint(denoiser, process, few, known[:, 0]), "needs bool"),
        (lambda: inpaint(denoiser, process, few, known.float()), "needs bool"),
        (lambda: inpaint(denoiser, process, few[0], known), r"need \(N, C, H, W\)"),
        (lambda: inpaint(denoiser, process, few, known, x=few), "the state at step 199 needs"),
        (lambda: inpaint(denoiser, process, few, known, []), "needs at least one"),
        (lambda: vary(denoiser, process, few, 50, []), "needs at least one"),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_a_number_of_steps_is_spread_for_any_schedule_and_sampler():
    plan = ResolutionSchedule.from_noise(
        np.full(200, 8), NOISE, operator="dct", blur=np.linspace(0, 2, 200)
    )
    denoiser = GaussianDenoiser(SPECTRUM, ScaleSpaceProcess(plan))
    images = torch.zeros(2, 1, 8, 8)
    given = {"sample": sample_eta, "generator": torch.Generator().manual_seed(0)}
    for steps in (10, np.int64(10)):
        assert vary(denoiser, denoiser.process, images, 100, steps, **given).shape == images.shape


def test_small_pixels_are_known_only_where_all_of_them_is():
    denoiser, _ = make()
    process = denoiser.process
    known = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    known[..., 3, 3] = False  # a quarter of one pixel at the level of 4
    images, seen = torch.full((256, 1, 8, 8), 0.9), []
    inpaint(
        lambda x, t, r: torch.full((len(x), 1, r, r), -0.9),
        process,
        images,
        known,
        40,
        generator=torch.Generator().manual_seed(0),
        callback=seen.append,
    )
    state = [s for s in seen if s.x.shape[-1] == 4][-1]
    mean = state.x.mean(dim=(0, 1)) / float(process.schedule.alpha[state.s])
    assert mean[1, 1] < -0.5
    mean[1, 1] = 0.9
    assert (mean - 0.9).abs().max() < 0.3


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("image_size", [(16, 16), (16, 24), (20, 16)])
def test_networks_edit_any_channels_and_rectangles(channels, image_size, random_unet):
    plan = ResolutionSchedule.from_noise(np.repeat([16, 8, 4], [80, 60, 60]), NOISE)
    scheduler = ScaleSpaceScheduler(plan, image_size)
    pipeline = ScaleSpacePipeline(random_unet(std=0.05, in_channels=channels), scheduler)
    process, generator = scheduler.process, torch.Generator().manual_seed(0)
    images = torch.rand(2, channels, *image_size, generator=generator) * 2 - 1
    with torch.no_grad():
        varied = vary(pipeline.denoiser(), process, images, 150, 8, generator=generator)
        small = process.target(images, 8)
        large = super_resolve(pipeline.denoiser(), process, small, 8, generator=generator)
        known = torch.rand(1, 1, *image_size, generator=generator) < 0.5
        filled = inpaint(pipeline.denoiser(), process, images, known, 8, generator=generator)
    assert varied.shape == large.shape == filled.shape == images.shape
    torch.testing.assert_close(process.target(large, 8), small, rtol=0, atol=1e-4)
    kept = known.expand_as(images)
    torch.testing.assert_close(filled[kept], images[kept])
