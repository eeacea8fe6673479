"""The recipes of CONTRIBUTING.md: what a new member of a family needs is one function, one line."""

import numpy as np
import pytest
import torch

from ssd_models import FlexiUNet, ScaleSpacePipeline, ScaleSpaceProcess
from ssd_models.cli import main
from ssd_models.metrics import evaluation
from ssd_models.metrics.estimates import Estimate
from ssd_models.sampling import methods
from theory import NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.images import operators
from theory.schedule import derivation


@pytest.fixture
def spectrum(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spectrum = Spectrum.power_law(16, 2.0, channels=3)
    spectrum.save("spectrum.npz")
    return spectrum


def every_second(n_in, n_out):
    """Means of pairs with unequal weights."""
    matrix = np.zeros((n_out, n_in))
    for i in range(n_out):
        first = i * n_in // n_out
        matrix[i, first], matrix[i, first + 1 if n_in > n_out else first] = 0.6, 0.4
        if n_in == n_out:
            matrix[i, first] = 1.0
    return matrix


def test_an_operator(spectrum, monkeypatch):
    monkeypatch.setitem(operators._RESIZERS, "every-second", every_second)
    main(["derive", "--criterion", "snr", "--operator", "every-second", "--levels", "2"])
    schedule = ResolutionSchedule.load("schedule.json")
    assert schedule.operator == "every-second"
    process = ScaleSpaceProcess(schedule)
    x0 = torch.randn(1, 3, 16, 16)
    change = next(iter(schedule.changes))
    state = process.add_noise(x0, change, torch.zeros(1, 3, 8, 8))
    expected = every_second(16, 8) @ x0[0].numpy() @ every_second(16, 8).T
    np.testing.assert_allclose(
        state[0].numpy(), schedule.alpha[change] * expected, rtol=1e-4, atol=1e-5
    )
    assert process.posterior_sample(x0, state, change, change - 1).shape == x0.shape


def test_a_criterion(spectrum, monkeypatch):
    def half_at_snr_one(spectrum, snr):
        pixels = np.arange(1, spectrum.resolution + 1)[:, None]
        return snr[None] * (pixels < spectrum.resolution)

    criterion = derivation._Criterion(half_at_snr_one)
    monkeypatch.setitem(derivation._CRITERIA, "mine", criterion)
    main(["derive", "--criterion", "mine", "--tolerance", "1", "--levels", "2"])
    schedule = ResolutionSchedule.load("schedule.json")
    change = next(iter(schedule.changes))
    noise = NoiseSchedule.linear()
    assert noise.snr[change] <= 1 < noise.snr[change - 1]


def test_a_sampler(spectrum, monkeypatch, capsys):
    def one_step(chain):
        x0 = chain.denoise(chain.x, chain.steps[0], chain.process.schedule.resolution)
        yield methods.SamplerState(chain.steps[0], None, x0, x0)

    method = methods.Method(1, one_step, methods._no_obstacle)
    monkeypatch.setitem(methods.METHODS, "one-step", method)
    unet = FlexiUNet.from_preset("small-16", base_channels=8)
    pipeline = ScaleSpacePipeline(unet, derive_schedule(spectrum, NoiseSchedule.linear(), 2))
    pipeline.save_pretrained("model")
    states = list(pipeline.trajectory(2, 5, sampler="one-step"))
    assert len(states) == 1
    main(["sample", "model", "-n", "2", "--sampler", "one-step", "-o", "samples.npz"])
    assert np.load("samples.npz")["images"].shape == (2, 16, 16, 3)
    with pytest.raises(SystemExit):
        main(["sample", "model", "-n", "2", "--sampler", "none", "-o", "other.npz"])
    assert "choose from" in capsys.readouterr().err


def test_a_metric(monkeypatch):
    def brightness(sampled, real, seed):
        difference = np.asarray(sampled.mean() - real.mean())
        return Estimate(difference, np.repeat(difference[None], 4, axis=0))

    monkeypatch.setitem(evaluation.METRICS, "brightness", brightness)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (40, 16, 16, 3)).astype(np.uint8)
    result = evaluation.evaluate_images(images[:20] + np.uint8(50), images)
    assert result["metrics"]["brightness"]["value"] == pytest.approx(50, abs=2)
    assert "brightness" in evaluation.table(result)
