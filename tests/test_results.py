"""The tables in results/ are what the stored measurements say."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
COMPARISONS = sorted(RESULTS.glob("faces*.json"))


@pytest.fixture
def figures(monkeypatch):
    """The scripts of figures/, which import each other by name."""
    monkeypatch.syspath_prepend(ROOT / "figures")
    return importlib.import_module


@pytest.fixture
def scripts(monkeypatch):
    """The scripts of results/, which import each other by name."""
    monkeypatch.syspath_prepend(RESULTS)
    return importlib.import_module


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_tables_of_a_comparison(path, figures):
    results = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == figures("comparison").tables(results)


def test_tables_of_benchmarks(figures):
    page = (RESULTS / "performance.md").read_text()
    performance = figures("performance")
    assert len(performance.REPORTS) == 6
    for path in performance.REPORTS:
        assert performance.section(path) in page


def test_table_of_what_changes_cost(scripts):
    path, script = RESULTS / "change_costs.json", scripts("change_costs")
    stored = json.loads(path.read_text())
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert page == script.table(stored["setting"], stored["rows"])
    # The quadrature, on Gaussian data, is the closed form.
    script.WEIGHTS, script.SCALES = np.array([0.5, 0.5]), np.array([1.0, 1.0])
    assert script.divergences(0.3, False) == pytest.approx((0.3 - np.log(1.3)) / 2, rel=1e-6)


def test_numbers_of_a_table_are_those_of_the_file(figures):
    """A table of two made-up arms, read back."""
    estimate = {"value": 3.0, "standard_error": 0.5}
    wasserstein = {"value": {"mean": 7.0}, "standard_error": {"mean": 1.0}}
    judged = {
        "sampler": "second order",
        "counts": {"sampled": 10},
        "metrics": {
            "frechet_scattering": estimate,
            "sliced_wasserstein": wasserstein,
            "memorization": {"value": {"ratio": 0.9}, "standard_error": {"ratio": 0.01}},
            "octave_decibels": {"value": [-1.0, 0.5], "standard_error": [0.1, 0.2]},
        },
        "oracle": {"octave_decibels": [0.0, -0.25]},
    }
    arm = {"label": "one", "parameters": 2_000_000, "training_flops_per_image": 2e9}
    arm["sampling_flops_per_image"] = {"20": 3e10}
    other = {**arm, "label": "two", "training_flops_per_image": 1e9}
    stages = [
        {"arm": name, "seed": 0, "step": step, "judged": {"20": judged}, "changes": []}
        for step in (100, 200)
        for name in ("a", "b")
    ]
    results = {
        "data": "x",
        "images": 5000,
        "config": {"resolution": 32, "train": {"batch_size": 10}, "calls": {"20": 10}},
        "arms": {"a": arm, "b": other},
        "stages": stages[:-1],  # the last milestone is not complete: the one before is shown
    }
    shown = figures("comparison").tables(results)
    assert "5,000 images at 32 px" in shown
    assert "1,000 images seen by each arm" in shown
    row = "| 3.0 ± 1.0 | 7.0 ± 2.0 | 0.90 ± 0.02 | -1.0 +0.5 (± 0.4) | +0.0 -0.2 |"
    assert shown.count(row) == 2
    assert "| one | 2 (1.00) | 30 (1.00) |" in shown
    assert "| two | 1 (0.50) | 30 (1.00) |" in shown


def test_posterior_noise_is_timed_both_ways(scripts, tmp_path, capsys):
    speed = scripts("posterior_speed")
    speed.main(speed.Setting(small=4, batch=2, repeats=1), str(tmp_path / "r.json"))
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["results"]["largest_difference"] < 1e-4  # both draw the same noise
    rows = written["results"]["noise"]
    assert [row["noise"] for row in rows] == ["exact, batched", "40 Lanczos iterations an image"]
    out = capsys.readouterr().out
    for row in rows:
        assert f"{row['noise']}  " in out
        assert f"{row['milliseconds']:.4g}" in out
    with pytest.raises(SystemExit, match="at least 1"):
        speed.main(speed.Setting(batch=0))
