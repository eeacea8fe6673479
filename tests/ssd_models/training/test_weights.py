"""Weights of noise levels in the loss: what the exact denoiser of Gaussian data is left with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd_models.diffusion.gaussian import GaussianDenoiser, GaussianField
from ssd_models.diffusion.process import ScaleSpaceProcess
from ssd_models.training.config import TrainConfig
from ssd_models.training.objective import DenoisingLoss
from ssd_models.training.run_log import read_metrics
from ssd_models.training.trainer import Trainer
from ssd_models.training.weights import loss_weights
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.information.mmse import linear_errors

NOISE = NoiseSchedule.linear(100)
SPECTRUM = Spectrum.power_law(16, 2.0, channels=3)
SCHEDULES = {
    "one level": ResolutionSchedule.full_resolution(16, NOISE),
    "jump": derive_schedule(SPECTRUM, NOISE, (16, 8), criterion="snr", tolerance=0.3),
    "paper's noise": ResolutionSchedule.paper(16, 2, "equal", NOISE, operator="dct"),
    "lossless": derive_schedule(SPECTRUM, NOISE, (16, 8, 4), tolerance=1.0),
}
TINY = TrainConfig(
    steps=4, batch_size=4, base_channels=8, log_every=4, validate_every=0, bf16=False
)


@pytest.mark.parametrize("name", SCHEDULES)
def test_relative_to_the_linear_error_an_exact_denoiser_has_loss_one_at_every_step(name):
    schedule = SCHEDULES[name]
    process = ScaleSpaceProcess(schedule)
    denoise = GaussianDenoiser(SPECTRUM, process)
    config = replace(TINY, loss_weight="relative")
    loss_of = DenoisingLoss(process, loss_weights(schedule, config, lambda: SPECTRUM))
    generator = torch.Generator().manual_seed(0)
    x0 = GaussianField(SPECTRUM).draw(800, generator, torch.zeros(1, 3, 16, 16))
    steps = {0, 30, 60, 99, *schedule.changes, *(t - 1 for t in schedule.changes)}
    for t in sorted(steps):

        class Exact(torch.nn.Module):
            def forward(self, x, times, out_resolution, class_labels, t=t):
                class Output:
                    sample = denoise(x, t, out_resolution)

                return Output

        side = process.resolution(t)
        noise = torch.randn(800, 3, side, side, generator=generator)
        loss = loss_of(Exact(), x0, torch.full((800,), t), noise).loss.item()
        assert loss == pytest.approx(1, abs=0.04), t


def test_a_run_weighs_by_the_spectrum_of_its_training_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    schedule = SCHEDULES["one level"]
    config = replace(TINY, loss_weight="relative", held_out=0.5)
    trainer = Trainer(images, schedule, tmp_path / "run", config)
    trainer.train(progress=False)
    weights = 1 / linear_errors(schedule, trainer.spectrum)
    drawn = read_metrics(tmp_path / "run/metrics.jsonl")[-1]["paths"]["16"]
    assert weights.min() < drawn["snr_weight"] < weights.max()
    assert trainer.spectrum.count < 60
    assert weights.max() > 1e3  # beyond what min-SNR allows


def test_one_image_has_no_linear_error(tmp_path):
    images = np.full((20, 16, 16, 3), 7, np.uint8)
    config = replace(TINY, loss_weight="relative")
    with pytest.raises(InputError, match="loss_weight 'relative': needs at least two different"):
        Trainer(images, SCHEDULES["one level"], tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="loss_weight 'edm': choose from min-snr, relative"):
        replace(TINY, loss_weight="edm").check()
