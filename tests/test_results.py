"""The tables in results/ are what the stored measurements say."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
COMPARISONS = sorted(RESULTS.glob("faces*.json"))
BENCHMARKS = sorted((RESULTS / "bench").glob("*.json"))


@pytest.fixture(scope="module")
def figures():
    """The scripts of figures/, which import each other by name."""
    sys.path.insert(0, str(ROOT / "figures"))
    try:
        yield lambda name: importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_tables_of_a_comparison(path, figures):
    results = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == figures("comparison").tables(results)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_tables_of_a_benchmark(path, figures):
    page = (RESULTS / "performance.md").read_text()
    assert figures("performance").section(json.loads(path.read_text())) in page


def test_table_of_what_changes_cost():
    path = RESULTS / "change_costs.py"
    spec = importlib.util.spec_from_file_location("change_costs", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stored = json.loads(path.with_suffix(".json").read_text())
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
