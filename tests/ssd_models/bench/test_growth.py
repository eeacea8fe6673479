"""Growth of cost with resolution and levels: the paper's figures, and times of known costs."""

import json

import pytest
from clock import NetworkClock
from helpers import refusal

from ssd_models.bench.growth import measure_growth
from ssd_models.bench.setting import GrowthSetting
from ssd_models.cli import main
from ssd_models.network.flexi_unet import FlexiUNet
from ssd_models.network.path_costs import path_flops
from theory import NoiseSchedule, ResolutionSchedule, Spectrum

# GFLOP of the public network's full-resolution call, and of a mean call by number of levels.
PUBLISHED = {
    64: (56.7, {2: 51.2, 4: 39.0}),
    128: (117.3, {3: 87.9, 5: 67.2}),
    256: (435.5, {3: 318.1, 6: 210.4}),
}


def table(report, key):
    return next(table.rows for table in report.tables if table.key == key)


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_costs_of_the_public_network(size):
    rows = {row["levels"]: row for row in table(measure_growth(setting(size)), "levels")}
    full, means = PUBLISHED[size]
    assert list(rows) == list(range(1, max(means) + 1))
    assert rows[1]["public_gflop"] == pytest.approx(full, rel=0.002)
    for schedule in ("public", "paper", "derived"):
        assert rows[1][f"{schedule}_saving"] == pytest.approx(1)
    for levels, mean in means.items():
        assert rows[levels]["public_gflop"] == pytest.approx(mean, rel=0.002)
        assert rows[levels]["public_saving"] == pytest.approx(full / mean, rel=0.004)


def setting(*sizes, **options):
    return GrowthSetting(resolutions=sizes, **options)


def test_ours_differs_from_the_public_network_in_two_places():
    rows = table(measure_growth(setting(32)), "levels")
    ours, public = (FlexiUNet.from_preset("paper-32", variant=v) for v in ("default", "paper"))
    # It runs the last decoder block of a level ...
    assert rows[0]["paper_gflop"] == pytest.approx(path_flops(ours, 32, 32) / 1e9)
    assert rows[0]["paper_gflop"] > rows[0]["public_gflop"]
    # ... and at a change into full resolution leaves out the encoder's largest level.
    assert path_flops(ours, 16, 32) < path_flops(public, 16, 32) == path_flops(public, 32, 32)
    schedule = ResolutionSchedule.paper(32, 2, "ConvexDecay_0.5", NoiseSchedule.linear())
    (change,) = schedule.changes
    paths = {(32, 32): change, (16, 32): 1, (16, 16): 999 - change}
    mean = sum(count * path_flops(ours, *path) for path, count in paths.items()) / 1000
    assert rows[1]["paper_gflop"] == pytest.approx(mean / 1e9)


def test_growth_is_over_the_resolution_before():
    report = measure_growth(setting(16, 8))
    first, last = table(report, "resolutions")
    assert (first["resolution"], first["levels"]) == (8, 3)
    assert "one_level_growth" not in first
    rows = {(row["resolution"], row["levels"]): row for row in table(report, "levels")}
    one = rows[16, 1]["paper_gflop"] / rows[8, 1]["paper_gflop"]
    assert last["one_level_growth"] == pytest.approx(one)
    derived = rows[16, 3]["derived_gflop"] / rows[8, 3]["derived_gflop"]
    assert last["derived_growth"] == pytest.approx(derived)


def test_times_follow_the_paths_of_each_schedule(monkeypatch):
    unet = FlexiUNet.from_preset("small-16", base_channels=16)
    costs = {path: path_flops(unet, *path) / 1e9 for path in unet.paths}
    NetworkClock(monkeypatch, costs)
    options = {"measure": (16,), "base_channels": 16, "batch": 2, "repeats": 2}
    rows = table(measure_growth(setting(8, **options)), "timed")
    assert [row["levels"] for row in rows] == [1, 2, 3]
    for row in rows:
        for name in ("paper", "derived"):
            assert row[f"{name}_milliseconds"] == pytest.approx(1000 * row[f"{name}_gflop"])
            assert row[f"{name}_saving"] == pytest.approx(row[f"{name}_gflop_saving"])
    assert rows[0]["paper_milliseconds"] == pytest.approx(1000 * costs[16, 16])
    assert rows[2]["derived_saving"] > rows[2]["paper_saving"] > rows[1]["paper_saving"] > 1


def test_schedules_are_derived_on_a_spectrum_of_ones_own(tmp_path, capsys):
    power = Spectrum.power_law(16, 2.0).power * 0
    power[0, 0] = 1.0  # images of one colour: every state but the first may be small
    flat = Spectrum.power_law(16, 2.0)
    flat = Spectrum(power, flat.mean, flat.colour_basis, 0, flat.standard_error, flat.meta)
    flat.save(tmp_path / "flat.npz")
    spectrum = ["--spectrum", str(tmp_path / "flat.npz")]
    output = tmp_path / "r.json"
    main(["bench", "growth", "--resolutions", "8", "32", *spectrum, "-o", str(output)])
    content = json.loads(output.read_text())
    rows = content["results"]["levels"]
    assert {row["resolution"] for row in rows} == {8}  # 32 is more than the spectrum knows
    assert list(content["setting"]["changes"]["8"]["derived"]) == ["1"]
    assert "flat.npz" in capsys.readouterr().out
    said = refusal(lambda: measure_growth(setting(32, spectrum=str(tmp_path / "flat.npz"))))
    assert "has 16 px" in said
    assert "2 pixels at least" in refusal(lambda: measure_growth(setting()))
