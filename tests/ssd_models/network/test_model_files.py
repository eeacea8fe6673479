"""Where models are found: in runs and model directories, on the hub only where that is asked."""

import pytest
import torch
from helpers import refusal

from ssd_models import FlexiUNet, ScaleSpacePipeline
from ssd_models.network.model_files import SCHEDULE_FILE, model_directory
from theory import NoiseSchedule, Spectrum, derive_schedule

SCHEDULE = derive_schedule(
    Spectrum.power_law(16, 2.2),
    NoiseSchedule.linear(50),
    levels=(16, 8, 4),
    tolerance=0.3,
    criterion="snr",
)


@pytest.fixture
def saved(tmp_path, random_unet, monkeypatch):
    """A run with a model in the working directory; a look at the network fails at once."""
    monkeypatch.chdir(tmp_path)

    def refused(*_, **__):
        raise AssertionError("went to the network")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)
    pipeline.save_pretrained(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").write_text("steps: 3\n")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("steps: 3\n")
    return pipeline


def assert_same(network, pipeline):
    for name, value in pipeline.unet.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("where", ["run", "run/model", "~/run"])
def test_runs_and_model_directories_are_found(where, saved, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert_same(ScaleSpacePipeline.from_pretrained(where).unet, saved)
    assert_same(FlexiUNet.from_pretrained(where), saved)


@pytest.mark.parametrize("load", [ScaleSpacePipeline.from_pretrained, FlexiUNet.from_pretrained])
def test_what_is_not_there_is_not_sought_elsewhere(load, saved):
    for where in ("nowhere", "owner/name", "run/modle"):
        assert f"{where}: no such run or model directory" in refusal(lambda: load(where))  # noqa: B023
    assert "begun/model: the run has no model yet" in refusal(lambda: load("begun"))
    assert "hf:name: write hf:OWNER/NAME" in refusal(lambda: load("hf:name"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'revison'"):
        load("run", revison="main")


def test_models_of_the_hub_are_asked_for_by_name(saved, tmp_path):
    # What a download leaves behind, which is read without the network where that is asked.
    stored = tmp_path / "cache" / "models--owner--name"
    revision = "0" * 40
    saved.save_pretrained(stored / "snapshots" / revision)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(revision)
    options = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    assert_same(ScaleSpacePipeline.from_pretrained("hf:owner/name", **options).unet, saved)
    assert_same(FlexiUNet.from_pretrained("hf:owner/name", **options), saved)
    said = refusal(lambda: model_directory("hf:owner/other", (SCHEDULE_FILE,), **options))
    assert said.startswith("hf:owner/other: cannot be downloaded (")
