"""Information that networks find, measured on images: Gaussian data agree with the closed form."""

import json

import numpy as np
import pytest
import torch
from helpers import command_refusal, gaussian_images

from ssd_models.cli import main
from ssd_models.diffusion.gaussian import GaussianDenoiser
from ssd_models.metrics.information import information_steps, measure_information
from ssd_models.network.flexi_unet import FlexiUNet
from ssd_models.sampling.pipeline import ScaleSpacePipeline
from ssd_models.training.run_data import run_images
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.information.bounds import schedule_information
from theory.information.measured import MeasuredInformation

SIZE = 16
NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(SIZE, 2.2, pixel_variance=0.03, channels=3)  # few values clip


def pipeline(schedule, spectrum=SPECTRUM):
    torch.manual_seed(0)
    unet = FlexiUNet.from_preset(f"small-{SIZE}", base_channels=8)
    return ScaleSpacePipeline(unet, schedule, spectrum)


@pytest.mark.parametrize("operator", ["dct", "box"])
@pytest.mark.parametrize("mode", ["matched", "paper"])
def test_gaussian_images_agree_with_the_closed_form(operator, mode, monkeypatch):
    schedule = derive_schedule(
        SPECTRUM, NOISE, (16, 8), tolerance=0.3, noise_mode=mode, operator=operator, criterion="snr"
    )
    pipe = pipeline(schedule)
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    # Without the linear denoiser's error taken off, what is measured is the exact one's by itself.
    monkeypatch.setattr("ssd_models.metrics.information._linear_denoiser", lambda *_: None)
    found = measure_information(pipe, gaussian_images(SPECTRUM, 200), 40, denoise=exact)
    seen = found.snr < 100  # beyond, the rounding of pixels to 8 bits shows
    total, error = found.bits.sum(axis=1)[seen], found.standard_error[seen]
    bound = found.bound.sum(axis=1)[seen]
    assert (np.abs(total - bound) < 4 * error + 0.02).all()
    assert (error < 0.02 * bound + 0.02).all()  # so that agreement says something
    if operator == "dct":
        expected = schedule_information(schedule, SPECTRUM)[found.steps[seen]]
        np.testing.assert_allclose(bound, expected, rtol=1e-6)


def test_gaussian_images_agree_on_lossless_schedules(monkeypatch):
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8, 4))
    pipe = pipeline(schedule)
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    monkeypatch.setattr("ssd_models.metrics.information._linear_denoiser", lambda *_: None)
    found = measure_information(pipe, gaussian_images(SPECTRUM, 200), 40, denoise=exact)
    seen = found.snr < 100
    total, error = found.bits.sum(axis=1)[seen], found.standard_error[seen]
    expected = schedule_information(schedule, SPECTRUM)[found.steps[seen]]
    np.testing.assert_allclose(found.bound.sum(axis=1)[seen], expected, rtol=1e-6, atol=1e-9)
    assert (np.abs(total - expected) < 4 * error + 0.02).all()
    assert (error < 0.05 * expected + 0.05).all()


def test_a_denoiser_that_errs_more_finds_more_than_there_is():
    """An untrained network's error is above the mmse: what it 'finds' is above the bound."""
    schedule = ResolutionSchedule.full_resolution(SIZE, NOISE)
    found = measure_information(pipeline(schedule), gaussian_images(SPECTRUM, 40), 12)
    there = found.snr > 0.5  # before, both know little
    assert (found.bits.sum(axis=1)[there] > 1.2 * found.bound.sum(axis=1)[there]).all()


def test_steps():
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8), tolerance=0.3, criterion="snr")
    steps = information_steps(schedule, 30)
    assert (steps[0], steps[-1]) == (0, 999)
    assert not set(steps) & set(schedule.changes)
    gaps = -np.diff(np.log(schedule.base_snr[steps]))
    assert gaps.min() > 0.5 * gaps.max()
    with pytest.raises(InputError, match="needs at least 2"):
        information_steps(schedule, 1)
    with pytest.raises(InputError, match="has no spectrum"):
        measure_information(pipeline(schedule, None), gaussian_images(SPECTRUM, 4))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, one of them at full resolution, of a few steps."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "images.npz", images=gaussian_images(SPECTRUM, 120))
    derive_schedule(SPECTRUM, NOISE, (16, 8), tolerance=0.3, criterion="snr").save(
        folder / "derived.json"
    )
    ResolutionSchedule.full_resolution(SIZE, NOISE).save(folder / "full.json")
    tiny = [
        *("--steps", "6", "--batch-size", "4", "--base-channels", "8"),
        *("--held-out", "0.3", "--bf16", "False"),
    ]
    for name in ("derived", "full"):
        where = ["--schedule", str(folder / f"{name}.json"), "-o", str(folder / name)]
        main(["train", "--data", str(folder / "images.npz"), *where, *tiny])
    return folder


def test_the_command(runs, capsys):
    report = runs / "report.png"
    main(
        [
            *("information", str(runs / "derived"), "--full", str(runs / "full")),
            *("-n", "16", "--steps", "10", "--report", str(report)),
        ]
    )
    shown = capsys.readouterr().out
    assert "lost at changes of resolution" in shown
    assert "full resolution: bits per pixel" in shown
    assert report.stat().st_size > 10_000
    spectrum = Spectrum.load(runs / "derived" / "model" / "spectrum.npz")
    found = MeasuredInformation.load(runs / "derived" / "information.json", spectrum)
    assert found.count == 16
    out = runs / "again.json"
    criterion = ["--criterion", "bits", "--tolerance", "0.05"]
    main(
        ["derive", "--from-run", str(runs / "derived"), "-o", str(out), "--levels", "2", *criterion]
    )
    derived = json.loads(out.read_text())["derivation"]
    assert derived["measured_on"] == str(runs / "derived")
    expected = derive_schedule(spectrum, NOISE, (16, 8), "bits", 0.05, measured=found)
    assert ResolutionSchedule.load(out).changes == expected.changes


def test_the_images_are_a_spread_of_the_held_out_ones(runs, monkeypatch):
    seen = []

    def measure(pipeline, images, *_, **__):
        seen.append(images)
        raise InputError("enough")

    monkeypatch.setattr("ssd_models.metrics.information.measure_information", measure)
    real = run_images(runs / "derived").held_out
    most = len(real) * 2 // 3
    with pytest.raises(SystemExit):
        main(["information", str(runs / "derived"), "-n", str(most)])
    places = [int(np.flatnonzero((real == image).all(axis=(1, 2, 3)))[0]) for image in seen[0]]
    assert len(places) == most
    assert set(np.diff([*places, len(real)])) == {1, 2}


def test_refusals(runs, capsys, tmp_path):
    said = command_refusal(
        [
            *("information", str(runs / "derived"), "--full", str(runs / "derived")),
            *("-n", "4", "--steps", "3", "-o", str(tmp_path / "x.json")),
        ],
        capsys,
    )
    assert "changes its resolution" in said
    assert not (tmp_path / "x.json").exists()
    said = command_refusal(
        ["derive", "--from-run", str(runs / "full"), "--criterion", "bits"], capsys
    )
    assert "information.json: no such file; write it with `ssd information`" in said
    assert "--criterion information or bits" in command_refusal(
        ["derive", "--from-run", str(runs / "full")], capsys
    )
    assert "no run directory" in command_refusal(["information", str(tmp_path)], capsys)
