"""The scripts that run the paper's public code beside ours, on a toy in its place."""

import importlib
import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SIZE = {"resolution": 32, "levels": 2, "base_channels": 32, "batch": 1, "repeats": 1}

# What the scripts use of the public repository, by file.
TOY = {
    "unet": """
        import torch
        class FlexiUNet(torch.nn.Module):
            def __init__(self, resolution, *others, **options):
                super().__init__()
                self.layer = torch.nn.Conv2d(3, 3, 1)
            def forward(self, x, t, side):
                side = x.shape[-1] if side is None else int(side[0])
                return self.layer(torch.nn.functional.interpolate(x, size=(side, side)))
    """,
    "fp16_util": """
        class MixedPrecisionTrainer:
            def __init__(self, model):
                self.master_params = list(model.parameters())
            def zero_grad(self):
                for p in self.master_params:
                    p.grad = None
            def backward(self, loss):
                loss.backward()
            def optimize(self, optimizer):
                optimizer.step()
    """,
    "nn": """
        def update_ema(average, parameters, rate):
            assert len(average) == len(parameters) == 2
    """,
    "logger": """
        def configure(folder, formats):
            assert not formats
    """,
    "scale_space_diffusion": """
        import enum
        import pandas  # which sampling does not need
        ModelMeanType = enum.Enum("ModelMeanType", "START_X_RS")
        ModelVarType = enum.Enum("ModelVarType", "FIXED_SMALL")
        LossType = enum.Enum("LossType", "MSE")
        def get_named_beta_schedule(name, steps):
            return [name] * steps
    """,
    "respace": """
        import torch
        class SpacedScaleSpaceDiffusion:
            def __init__(self, use_timesteps, resolutions_array, **options):
                self.steps, self.sides = len(use_timesteps), resolutions_array[::-1]
                assert options["ssd_config"]["resolution_schedule"] == "ConvexDecay_0.5"
            def get_resolution(self, t):
                share = 1 - (1 - t / (self.steps - 1)) ** 0.5
                return self.sides[min(int(share * len(self.sides)), len(self.sides) - 1)]
            def p_sample(self, network, x, t):
                assert torch.distributed.is_initialized()
                t = int(t[0])
                assert x.shape[-1] == self.get_resolution(t)
                return network(x, t, torch.full((len(x),), self.get_resolution(t - 1)))
    """,
}


@pytest.fixture
def scripts(monkeypatch):
    """The scripts of results/, which import each other by name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "results")
    return importlib.import_module


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A folder with the toy."""
    package = tmp_path / "guided_diffusion"
    package.mkdir()
    for name, code in {"__init__": "", **TOY}.items():
        (package / f"{name}.py").write_text(dedent(code))
    yield str(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "guided_diffusion"]:
        del sys.modules[name]


def test_the_public_network_is_one_more_row(scripts, toy, tmp_path, capsys):
    output = str(tmp_path / "r.json")
    scripts("public_code").Options(toy, what="train", **SIZE, output=output).main()
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["benchmark"] == "train"
    ours, single, public = written["results"]["images_per_second"]
    assert public["contender"] == "public code"
    assert public.keys() == ours.keys() > single.keys()
    ratio = written["results"]["ratios"][1]
    assert ratio["mixture"] == pytest.approx(ours["mixture"] / public["mixture"])
    assert ratio["paths"] == 3
    assert "public code" in capsys.readouterr().out


def test_the_public_sampler_takes_the_same_steps(scripts, toy, tmp_path):
    output = str(tmp_path / "r.json")
    scripts("public_sampling").Options(toy, **SIZE, output=output).main()
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    steps = {row["path"]: row for row in results["public_steps"]}
    assert {path: row["steps"] for path, row in steps.items()} == {
        "32": 750,
        "16->32": 1,
        "16": 249,
    }
    one, several = results["public_chains"]
    assert one["ours_seconds"] == pytest.approx(steps["32"]["ours_milliseconds"])
    total = sum(row["steps"] * row["public_milliseconds"] for row in steps.values()) / 1000
    assert several["public_seconds"] == pytest.approx(total)


@pytest.mark.parametrize("name", ["public_code", "public_sampling"])
def test_what_is_no_checkout_is_refused(name, scripts, tmp_path):
    options = scripts(name).Options(str(tmp_path), base_channels=32)
    with pytest.raises(SystemExit, match="no checkout of the public code"):
        scripts("public_code").run(options.main)


def test_what_the_public_code_imports_in_vain_need_not_be_installed(scripts, tmp_path, monkeypatch):
    sampling = scripts("public_sampling")
    (tmp_path / "imports_more.py").write_text("import surely_missing\nfound = 1\n")
    monkeypatch.setattr(sampling, "UNUSED", ("surely_missing", "json"))
    with sampling.importable(str(tmp_path)):
        module = importlib.import_module("imports_more")
    monkeypatch.delitem(sys.modules, "imports_more")
    assert module.found == 1
    assert "surely_missing" not in sys.modules
    assert sys.modules["json"] is json
    assert str(tmp_path) not in sys.path
