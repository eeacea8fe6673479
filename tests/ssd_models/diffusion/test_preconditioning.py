"""Preconditioning by the best linear prediction: what is left for a network, and who applies it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd_models import (
    FlexiUNet,
    GaussianDenoiser,
    ScaleSpacePipeline,
    ScaleSpaceProcess,
)
from ssd_models.diffusion.gaussian import GaussianField
from ssd_models.diffusion.preconditioning import LinearPreconditioning
from ssd_models.sampling.guidance import guided_denoiser
from ssd_models.sampling.interop import to_diffusers
from ssd_models.training import TrainConfig, Trainer
from ssd_models.training.run_log import read_metrics
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule

NOISE = NoiseSchedule.linear(100)
COLOURS = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
MEAN = 0.2 * np.random.default_rng(2).normal(size=(16, 16, 3))
SPECTRUM = replace(
    Spectrum.power_law(16, 2.0, channels=3), colour_basis=COLOURS, mean=MEAN, moments=None
)
SCHEDULES = {
    "one level": ResolutionSchedule.full_resolution(16, NOISE, operator="box"),
    "jump": derive_schedule(SPECTRUM, NOISE, (16, 8), criterion="snr", tolerance=0.3),
    "lossless": derive_schedule(SPECTRUM, NOISE, (16, 8, 4), tolerance=1.0),
}
BOX = ResolutionSchedule.from_noise(np.repeat([16, 8], [60, 40]), NOISE, operator="box")


def steps_of_levels(schedule):
    for level in schedule.levels:
        steps = np.flatnonzero(schedule.resolutions == level)
        yield int(level), torch.from_numpy(steps[np.linspace(0, len(steps) - 1, 5).astype(int)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps_of_a_batch_may_differ(name):
    process = ScaleSpaceProcess(SCHEDULES[name])
    denoise = GaussianDenoiser(SPECTRUM, process)
    for level, steps in steps_of_levels(SCHEDULES[name]):
        x = torch.randn(5, 3, level, level, dtype=torch.float64)
        together = denoise.at_steps(x, steps, level)
        for i, t in enumerate(steps.tolist()):
            torch.testing.assert_close(
                together[i : i + 1], denoise(x[i : i + 1], t, level), rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_target_of_the_network_has_unit_variance_and_no_linear_part(name):
    process = ScaleSpaceProcess(SCHEDULES[name])
    prepare = LinearPreconditioning(SPECTRUM, process)
    generator = torch.Generator().manual_seed(0)
    clean = GaussianField(SPECTRUM).draw(2000, generator, torch.zeros(1, dtype=torch.float64))
    for level, steps in steps_of_levels(SCHEDULES[name]):
        for t in steps.tolist():
            state = process.add_noise(clean, t, generator=generator)
            target = process.target(clean, level)
            none = torch.zeros_like(target)
            expected = prepare(none, state, t, level)
            scale = (prepare(none + 1, state, t, level) - expected).mean()
            remainder = (target - expected) / scale
            assert remainder.square().mean().item() == pytest.approx(1, abs=0.03)
            assert abs((remainder * state).mean().item()) < 0.02
            each = torch.full((2000,), t)
            torch.testing.assert_close(
                prepare(none + 1, state, each, level), expected + scale, rtol=1e-6, atol=1e-6
            )


def untrained(**options):
    return FlexiUNet.from_preset("small-16", base_channels=8, preconditioning="linear", **options)


def test_an_untrained_network_is_the_best_linear_denoiser(tmp_path):
    schedule = SCHEDULES["lossless"]
    pipe = ScaleSpacePipeline(untrained(num_classes=2), schedule, SPECTRUM)
    pipe.save_pretrained(tmp_path / "model")
    pipe = ScaleSpacePipeline.from_pretrained(tmp_path / "model")
    assert pipe.unet.preconditioning == "linear"
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    x = torch.randn(4, 3, 8, 8)
    t = int(np.flatnonzero(schedule.resolutions == 8)[3])
    denoise = pipe.denoiser([0, 1, 0, 1], guidance_scale=3.0)
    torch.testing.assert_close(denoise(x, t, 8), exact(x, t, 8), rtol=1e-4, atol=1e-4)


def test_a_run_begins_at_the_linear_denoiser_and_its_model_samples(tmp_path):
    images = np.random.default_rng(0).integers(80, 176, (60, 4, 4, 3), dtype=np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    spectrum = Spectrum.from_images(images / 127.5 - 1)
    schedule = derive_schedule(spectrum, NOISE, (16, 8, 4))
    config = TrainConfig(
        steps=4,
        batch_size=16,
        base_channels=8,
        learning_rate=1e-6,
        preconditioning="linear",
        loss_weight="relative",
        held_out=0.2,
        validate_every=4,
        bf16=False,
    )
    trainer = Trainer(images, schedule, tmp_path / "run", config)
    trainer.train(progress=False)
    (entry,) = read_metrics(tmp_path / "run/metrics.jsonl")
    assert entry["loss"] == pytest.approx(1, abs=0.3)
    assert entry["validation"]["mean"] == pytest.approx(1, abs=0.3)
    pipe = ScaleSpacePipeline.from_pretrained(tmp_path / "run")
    made = pipe(400, 10, output_type="pt").images
    assert made.var().item() == pytest.approx(trainer.spectrum.power.mean(), rel=0.1)


def test_what_it_cannot_be_used_with(tmp_path):
    lossless = SCHEDULES["lossless"]
    with pytest.raises(InputError, match="needs the spectrum of the training images"):
        ScaleSpacePipeline(untrained(), lossless)
    with pytest.raises(InputError, match="needs a schedule with operator 'dct' and without blur"):
        ScaleSpacePipeline(untrained(), BOX, SPECTRUM)
    with pytest.raises(InputError, match="the network has 'linear'"):
        guided_denoiser(untrained(), lossless)
    with pytest.raises(InputError, match="outputs are added to a linear prediction"):
        to_diffusers(ScaleSpacePipeline(untrained(), SCHEDULES["one level"], SPECTRUM))
    with pytest.raises(InputError, match="preconditioning is 'edm'; use 'none' or 'linear'"):
        FlexiUNet.from_preset("small-16", preconditioning="edm")
    process = ScaleSpaceProcess(BOX)
    with pytest.raises(InputError, match="steps of a batch may differ only with operator 'dct'"):
        GaussianDenoiser(SPECTRUM, process).at_steps(
            torch.zeros(2, 3, 8, 8), torch.tensor([80, 81]), 8
        )
    same = np.full((20, 16, 16, 3), 7, np.uint8)
    config = TrainConfig(base_channels=8, preconditioning="linear")
    with pytest.raises(InputError, match="needs the spectrum of the training images"):
        Trainer(same, lossless, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
