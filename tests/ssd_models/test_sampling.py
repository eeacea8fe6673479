"""Steps, scheduler and pipeline."""

import numpy as np
import pytest
import torch

from ssd_models import ScaleSpacePipeline, ScaleSpaceScheduler
from theory import InputError, NoiseSchedule, Spectrum, derive_schedule

SCHEDULE = derive_schedule(
    Spectrum.power_law(16, 2.2), NoiseSchedule.linear(200), levels=(16, 8, 4), tolerance=0.3
)


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
