"""The tables in results/ are what the stored measurements say."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from ssd_models.metrics.estimates import Estimate

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
def test_tables_of_a_comparison(path, scripts):
    results = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == scripts("comparison_tables").tables(results)


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


def made_up(distances):
    """Results of arms "one" and "two", which costs half, by arm and milestone of ten images."""
    wasserstein = {"value": {"mean": 7.0}, "standard_error": {"mean": 1.0}}

    def judged(distance):
        return {
            "sampler": "second order",
            "counts": {"sampled": 10},
            "metrics": {
                "frechet_scattering": {"value": distance, "standard_error": 0.5},
                "sliced_wasserstein": wasserstein,
                "memorization": {"value": {"ratio": 0.9}, "standard_error": {"ratio": 0.01}},
                "octave_decibels": {"value": [-1.0, 0.5], "standard_error": [0.1, 0.2]},
            },
            "oracle": {"octave_decibels": [0.0, -0.25]},
        }

    arm = {"label": "one", "parameters": 2_000_000, "training_flops_per_image": 2e9}
    arm["sampling_flops_per_image"] = {"20": 3e10}
    return {
        "data": "x",
        "images": 5000,
        "config": {"resolution": 32, "train": {"batch_size": 10}, "calls": {"20": 10}},
        "arms": {"a": arm, "b": {**arm, "label": "two", "training_flops_per_image": 1e9}},
        "stages": [
            {
                "arm": name,
                "seed": 0,
                "step": step,
                "judged": {"20": judged(distance)},
                "changes": [],
            }
            for name, found in distances.items()
            for step, distance in found.items()
        ],
    }


def test_numbers_of_a_table_are_those_of_the_file(scripts):
    """A table of two made-up arms, read back."""
    # The last milestone is not complete: the one before is shown.
    results = made_up({"a": {100: 3.0, 200: 3.0}, "b": {100: 3.0}})
    shown = scripts("comparison_tables").tables(results)
    assert "5,000 images at 32 px" in shown
    assert "1,000 images seen by each arm" in shown
    row = "| 3.0 ± 1.1 | 7.0 ± 2.3 | 0.90 ± 0.02 | -1.0 +0.5 (± 0.5) | +0.0 -0.2 |"
    assert shown.count(row) == 2
    assert "| one | 2 (1.00) | 30 (1.00) |" in shown
    assert "| two | 1 (0.50) | 30 (1.00) |" in shown


def test_results_without_a_complete_milestone_have_no_tables(scripts, tmp_path):
    for stages in ({"a": {}, "b": {}}, {"a": {100: 3.0}, "b": {200: 3.0}}):
        path = tmp_path / "results.json"
        path.write_text(json.dumps(made_up(stages)))
        with pytest.raises(SystemExit, match=r"results\.json: the results have no milestone"):
            scripts("comparison_tables").main(str(path))
        assert not path.with_suffix(".md").exists()


def test_cost_of_reaching_the_first_arms_quality(scripts):
    """Arm two needs as many images for the same distances, so half of the cost, and stops at 20."""
    results = made_up({"a": {100: 40.0, 200: 20.0, 400: 10.0}, "b": {100: 40.0, 200: 20.0}})
    results["arms"]["c"] = {**results["arms"]["b"], "label": "three"}  # has no curve
    results["stages"].append({**results["stages"][-1], "arm": "c"})
    _, shown = scripts("comparison_tables").tables(results).split("has reached**")
    # ± 2.26 * 0.5 * √2 = 1.60 in a distance that falls like one over the cost
    row = "| two | Fréchet, scattering | ≤0.50 (≤0.50 to 0.52) | 0.50 (0.46 to >0.50) | >0.25 "
    assert row in shown
    assert "| three | Fréchet, scattering |" not in shown


def test_several_seeds_are_listed_with_their_mean(scripts):
    """Seed 1 of both arms is twice as far off; seed 0 of the first arm goes on alone."""
    results = made_up({"a": {100: 40.0, 200: 20.0, 400: 10.0}, "b": {100: 40.0, 200: 20.0}})
    again = made_up({"a": {100: 80.0, 200: 40.0}, "b": {100: 80.0, 200: 40.0}})
    results["stages"] += [{**stage, "seed": 1} for stage in again["stages"]]
    shown = scripts("comparison_tables").tables(results)
    name = "| one, {} | Fréchet, scattering | {} ± {} (0.002) | {} ± {} (0.004) | {} |"
    assert name.format("seed 0", "40.0", "1.1", "20.0", "1.1", "10.0 ± 1.1 (0.008)") in shown
    # 2.26 · |80 - 40| / 2 and 2.26 · |40 - 20| / 2
    assert name.format("mean of 2 seeds", "60.0", "45.2", "30.0", "22.6", "") in shown
    assert "| two, mean of 2 seeds | Fréchet, scattering | ≤0.50 (≤0.50 to >1.00) | 0.50 " in shown


def test_distances_by_size_are_of_the_samples_own_size(scripts, tmp_path, monkeypatch):
    """Not of the 64 px that `open_images` reduces to by default."""
    script = scripts("distance_by_size")
    monkeypatch.setattr(script, "efficientnet_features", lambda images: images[:, :2, :2, 0])
    monkeypatch.setattr(script, "jackknife", lambda *_: Estimate(np.zeros(()), np.zeros(10)))
    for name, size in {"real": 128, "own": 128, "other": 96}.items():
        np.save(tmp_path / f"{name}.npy", np.zeros((4, size, size, 3), np.uint8))
    real, own, other = (str(tmp_path / f"{name}.npy") for name in ("real", "own", "other"))
    script.main(real, str(tmp_path / "out.json"), f"own={own}")
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert {row["pixels"] for row in rows} == {32, 64}
    with pytest.raises(SystemExit, match="a has 128 px, b has 96 px; give samples of one size"):
        script.main(real, str(tmp_path / "out.json"), f"a={own}", f"b={other}")


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
