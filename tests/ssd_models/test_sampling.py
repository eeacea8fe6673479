"""Steps, scheduler and pipeline."""

import numpy as np
import pytest
import torch

from ssd_models import ScaleSpacePipeline, ScaleSpaceScheduler
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.spacing import SPACINGS, select_steps

SCHEDULE = derive_schedule(
    Spectrum.power_law(16, 2.2), NoiseSchedule.linear(200), levels=(16, 8, 4), tolerance=0.3
)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [1, 6, 7, 20, 150, 199, 200])
def test_steps_are_as_many_as_asked_and_visit_both_sides(num_steps, spacing):
    assert len(SCHEDULE.changes) == 2
    steps = select_steps(SCHEDULE, num_steps, spacing)
    assert len(steps) == max(num_steps, 6)
    assert steps == sorted(set(steps), reverse=True)
    assert steps[0] == 199
    assert steps[-1] == 0
    for t in SCHEDULE.changes:
        assert {t, t - 1} <= set(steps)


def test_steps_are_spread_evenly_in_log_snr():
    steps = select_steps(ResolutionSchedule.full_resolution(16, NoiseSchedule.linear(1000)), 12)
    gaps = np.diff(np.log(NoiseSchedule.linear(1000).snr[steps]))
    assert gaps.max() / gaps.min() < 1.3


def test_given_steps_are_used_exactly_or_refused():
    scheduler = ScaleSpaceScheduler(SCHEDULE)
    first, second = SCHEDULE.changes
    steps = [199, second, second - 1, first, first - 1, 0]
    scheduler.set_timesteps(timesteps=steps)
    assert scheduler.timesteps.tolist() == steps
    assert [scheduler.out_resolution(t) for t in steps] == [4, 8, 8, 16, 16, 16]
    with pytest.raises(InputError, match=rf"\[{second - 1}\] are missing"):
        scheduler.set_timesteps(timesteps=[199, second, first, first - 1])
    with pytest.raises(InputError, match="201 sampling steps"):
        scheduler.set_timesteps(201)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_images_depend_on_the_seed_alone(eta, random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)

    def draw(seed, **options):
        generator = torch.Generator().manual_seed(seed)
        return pipeline(3, 8, eta, generator, output_type="np", **options).images

    a = draw(1)
    assert a.shape == (3, 16, 16, 3)
    assert a.dtype == np.uint8
    torch.randn(5)  # the global generator plays no part
    np.testing.assert_array_equal(draw(1), a)
    assert (draw(2) != a).any()
    assert draw(1, max_batch=2).shape == a.shape


def test_the_end_is_the_clean_prediction_and_states_grow(random_unet):
    seen = []
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)
    images = pipeline(
        2,
        8,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
        callback=seen.append,
    ).images
    torch.testing.assert_close(images, seen[-1].x0.clamp(-1, 1))
    sizes = [state.x.shape[-1] for state in seen]
    assert sizes == sorted(sizes)
    assert set(sizes) == {4, 8, 16}


def test_a_perfect_denoiser_gives_the_oracles_spectrum():
    """Replace the network by the exact one for Gaussian data; compare with Monte Carlo."""
    from scipy.fft import dctn

    from theory import oracle_report, resize_matrix

    spectrum = Spectrum.power_law(16, 2.0)
    plan = derive_schedule(
        spectrum, NoiseSchedule.linear(200), (16, 8, 4), tolerance=0.3, operator="dct"
    )
    scheduler = ScaleSpaceScheduler(plan)
    scheduler.set_timesteps(30)
    power = torch.from_numpy(spectrum.power[:, :, 0])
    basis = torch.from_numpy(dctn(np.eye(16)[:, :, None], axes=(0,), norm="ortho")[:, :, 0])

    def denoise(x, t, r_out):
        r = x.shape[-1]
        d = torch.from_numpy(dctn(np.eye(r), axes=(0,), norm="ortho"))
        a, sigma = plan.alpha[t] * r / 16, plan.sigma[t]
        band = power[:r, :r]
        wiener = a * band / (a**2 * band + sigma**2)
        full = torch.zeros(len(x), 1, 16, 16, dtype=torch.float64)
        full[..., :r, :r] = wiener * (d @ x @ d.T)
        small = torch.from_numpy(resize_matrix("dct", 16, r_out))
        return small @ (basis.T @ full @ basis) @ small.T

    generator = torch.Generator().manual_seed(0)
    n = 20_000
    t = int(scheduler.timesteps[0])
    r = int(plan.resolutions[t])
    x = torch.randn(n, 1, r, r, generator=generator, dtype=torch.float64) * plan.sigma[t]
    for t in scheduler.timesteps.tolist():
        x0 = denoise(x, t, scheduler.out_resolution(t))
        x = scheduler.step(x0, t, x, eta=1.0, generator=generator)
    measured = dctn(x[:, 0].numpy(), axes=(1, 2), norm="ortho").var(axis=0)
    predicted = oracle_report(plan, spectrum, scheduler.timesteps.tolist(), start="white").power[
        :, :, 0
    ]
    # Sample variances: relative standard deviation sqrt(2 / n) = 1 %; the largest of 256.
    np.testing.assert_allclose(measured, predicted, rtol=4.5 * np.sqrt(2 / n))


def test_model_directories_round_trip(tmp_path, random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)
    pipeline.save_pretrained(tmp_path / "model")
    assert {p.name for p in (tmp_path / "model").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "schedule.json",
    }
    loaded = ScaleSpacePipeline.from_pretrained(tmp_path / "model")
    images = [
        p(2, 6, generator=torch.Generator().manual_seed(0), output_type="np").images
        for p in (pipeline, loaded)
    ]
    np.testing.assert_array_equal(*images)
    assert loaded(1, 6).images[0].size == (16, 16)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        ScaleSpacePipeline.from_pretrained(tmp_path / "model")


def test_network_and_schedule_must_fit(random_unet):
    other = derive_schedule(Spectrum.power_law(32, 2.2), NoiseSchedule.linear(200), (32, 16))
    with pytest.raises(InputError, match=r"needs resolutions \[32\]"):
        ScaleSpacePipeline(random_unet(std=0.05), other)
