"""Pages of `ssd derive`, `ssd evaluate` and `ssd compare`: what they show, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import command_refusal, gaussian_images
from pages import Page, read_page

from ssd_models.cli import main
from ssd_models.comparison import label
from ssd_models.comparison.page import comparison_page
from ssd_models.metrics.estimates import half_width
from ssd_models.metrics.evaluation_page import evaluation_page
from theory import Spectrum

SPECTRUM = Spectrum.power_law(16, 2.2, pixel_variance=0.03, channels=3)
RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages")
    images = gaussian_images(SPECTRUM, 130)
    np.savez(path / "real.npz", images=images[:90])
    np.savez(path / "made.npz", images=images[90:])
    np.savez(path / "two.npz", images=images[:8, :, :, :2])
    SPECTRUM.save(path / "spectrum.npz")
    return path


def test_derive_shows_images_of_any_form(folder, capsys):
    page, file = folder / "derived.html", folder / "schedule.json"
    given = [str(folder / "spectrum.npz"), "-o", str(file), "--report", str(page)]
    main(["derive", *given, "--levels", "2", "--images", str(folder / "real.npz")])
    assert f"drawn in {page}" in capsys.readouterr().out
    shown, stored = read_page(page), json.loads(file.read_text())
    assert "real.npz" in shown.text
    assert "draws of the Gaussian field" not in shown.text
    assert f"{stored['predicted']['oracle_error']:.3g}" in shown.text
    for state in shown.data["states-data"]:
        assert state["small_side"] == stored["resolutions"][state["t"]]


def test_what_derive_refuses(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["derive", str(folder / "spectrum.npz"), "-o", str(folder / "no.json")]
    real = str(folder / "real.npz")
    for more, said in (
        (["--images", real], "--report a name ending in .html"),
        (["--images", real, "--report", "picture.png"], "--report a name ending in .html"),
        (["--report", "picture.gif"], "that of a page in .html"),
        (["--report", "page.html", "--images", "nowhere"], "nowhere"),
        (["--report", "page.html", "--images", str(folder / "two.npz")], "have 2 channels"),
    ):
        assert said in command_refusal([*given, *more], capsys)
    assert not (folder / "no.json").exists()
    assert not list(tmp_path.iterdir())


def test_evaluate_writes_a_page(folder, capsys):
    page, file = folder / "evaluated.html", folder / "evaluation.json"
    made, real = str(folder / "made.npz"), str(folder / "real.npz")
    main(["evaluate", made, "--data", real, "-o", str(file), "--report", str(page)])
    assert f"{page}: written" in capsys.readouterr().out
    shown, result = read_page(page), json.loads(file.read_text())
    assert {"summary", "images", "metrics", "octaves", "setting"} <= set(shown.names)
    assert len(shown.images["samples"]) == len(shown.images["real"]) == 36
    rows = {row[0]: row[1:] for row in shown.tables[0]}
    for name in ("frechet_scattering", "octave_decibels"):
        found, floor = result["metrics"][name], result["baseline"][name]["value"]
        value, (low, high) = found["value"], found["interval"]
        label = name.replace("_", " ")
        if isinstance(value, list):
            label, value, low, high, floor = (
                f"{label}, octave 2",
                value[1],
                low[1],
                high[1],
                floor[1],
            )
        cells = [f"{x:.3f}".replace("-", "\N{MINUS SIGN}") for x in (value, low, high, floor)]
        assert rows[label] == [cells[0], f"{cells[1]} … {cells[2]}", cells[3]]
    said = command_refusal(["evaluate", made, "--data", real, "--report", "r.png"], capsys)
    assert "must end in .html" in said


def test_a_page_of_a_run_has_its_errors(folder):
    images = gaussian_images(SPECTRUM, 40)
    one = {"value": 1.5, "standard_error": 0.1, "interval": [1.3, 1.7]}
    octaves = {
        "value": [0.5, None],
        "standard_error": [0.1, None],
        "interval": [[0.3, None], [0.7, None]],
    }
    found = {
        "frechet_scattering": one,
        "sliced_wasserstein": {
            key: [{"mean": v} for v in value] if key == "interval" else {"mean": value}
            for key, value in one.items()
        },
        "octave_decibels": {
            key: [[*end, *end] for end in value] if key == "interval" else [*value, *value]
            for key, value in octaves.items()
        },
    }
    both = {"over_linear": 1.25, "standard_error": 0.1}
    result = {
        "counts": {"sampled": 40, "reference": 40, "baseline": 20},
        "seed": 3,
        "model": "<run>",
        "data": "faces & more",
        "metrics": found,
        "baseline": found,
        "denoising": [
            {"step": 7, "level": 16, "error": 0.03, "standard_error": 0.001, "linear": 0.02}
        ],
        "changes": [{"step": 9, "from": 8, "to": 16, "all": both, "new_octave": both}],
        "inception": {"fid": 12.5},
        "sampling": {"calls": 50, "sampler": None},
    }
    shown = Page(evaluation_page(result, images, images))
    shown.check_it_stands_alone()
    assert "Evaluation of <run>" in shown.text
    cells = [row for table in shown.tables for row in table]
    assert ["7", "16 px", "0.03", "0.002", "0.02", "1.500"] in cells
    assert ["8 → 16 px", "9", "1.250 ± 0.196", "1.250 ± 0.196"] in cells
    assert ["fid", "12.500"] in cells
    assert ["calls", "50"] in cells
    assert ["octave decibels, octave 2", "–", "– … –", "–"] in cells
    assert "which makes the floor too high" in shown.text


@pytest.mark.parametrize("name", ["faces32", "faces32_narrow", "faces64", "faces64_narrow"])
def test_a_page_of_stored_comparisons(name):
    results = json.loads((RESULTS / f"{name}.json").read_text())
    grid = np.zeros((34, 64, 3), np.uint8)
    shown = Page(comparison_page(results, {"<one> & other": grid}))
    shown.check_it_stands_alone()
    assert "<one> & other" in shown.text
    arms = shown.tables[0]
    assert [row[0] for row in arms[1:]] == [arm["label"] for arm in results["arms"].values()]
    last = results["stages"][-1]
    calls, judged = next(iter(last["judged"].items()))
    found = judged["metrics"].get("fd_effnet", judged["metrics"]["frechet_scattering"])
    cell = f"{found['value']:.1f} ± {half_width(found['standard_error']):.1f}"
    assert [label(results, last), cell] in [row[:2] for table in shown.tables for row in table]
    assert f"calls-{calls}" in shown.names


def test_arms_of_equal_cost_meet_at_their_milestone():
    results = json.loads((RESULTS / "faces32_narrow.json").read_text())
    results["config"]["equal"] = "cost"
    for place, stage in enumerate(results["stages"]):
        stage |= {"milestone": stage["step"], "step": stage["step"] + 100 * place}
    shown = Page(comparison_page(results, {}))
    labels = {arm["label"] for arm in results["arms"].values()}
    assert labels <= {row[0] for row in shown.tables[1]}
    assert "until all had cost the same FLOP" in shown.text


def test_a_page_of_a_comparison_that_has_only_begun():
    results = json.loads((RESULTS / "faces32.json").read_text()) | {"stages": []}
    shown = Page(comparison_page(results, {}))
    assert [row[0] for row in shown.tables[0]] == [row[0] for row in shown.tables[1]]
