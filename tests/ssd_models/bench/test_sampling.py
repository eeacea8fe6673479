"""Speed of sampling by path and by pipeline, on a clock that only networks move."""

import json

import pytest
import torch
from clock import NetworkClock
from helpers import command_refusal, refusal

from ssd_models.bench.path_timing import path_seconds
from ssd_models.cli import main
from ssd_models.network.flexi_unet import FlexiUNet
from ssd_models.network.path_costs import path_flops
from theory import NoiseSchedule, ResolutionSchedule

QUICK = ["--resolution", "16", "--levels", "2", "--base-channels", "16", "--batch", "2"]
QUICK += ["--repeats", "1", "--bf16", "False", "--calls", "6", "--timed", "8"]
SECONDS = {(16, 16): 0.7, (8, 16): 0.4, (8, 8): 0.1}


@pytest.mark.parametrize("training", [False, True])
def test_path_seconds_are_of_a_batch_on_each_path(training, random_unet, monkeypatch):
    clock = NetworkClock(monkeypatch, SECONDS)
    unet = random_unet(num_classes=3, in_channels=1)
    before = [p.clone() for p in unet.parameters()]
    found = path_seconds(unet, SECONDS, 5, repeats=2, training=training, least=0.0)
    assert found == pytest.approx({path: 5 * seconds for path, seconds in SECONDS.items()})
    assert clock.paths == 3 * list(SECONDS)  # one turn that warms up, then by turns
    assert all(map(torch.equal, unet.parameters(), before))
    assert all(p.grad is None for p in unet.parameters())


def test_short_paths_are_repeated_within_a_turn(random_unet, monkeypatch):
    clock = NetworkClock(monkeypatch, {(16, 16): 0.06, (8, 8): 0.5})
    found = path_seconds(random_unet(), [(16, 16), (8, 8)], 1, repeats=1, least=0.2)
    assert found == pytest.approx({(16, 16): 0.06, (8, 8): 0.5})
    assert clock.paths[-5:] == [(16, 16)] * 4 + [(8, 8)]
    assert "no path" in refusal(lambda: path_seconds(random_unet(), [(16, 8)], 1))


def test_a_chain_of_all_steps_is_scaled_from_some_of_them(tmp_path, monkeypatch, capsys):
    unet = FlexiUNet.from_preset("small-16", base_channels=16)
    costs = {path: path_flops(unet, *path) / 1e9 for path in SECONDS}
    NetworkClock(monkeypatch, costs)
    main(["bench", "sampling", *QUICK, "-o", str(tmp_path / "r.json")])
    lines = capsys.readouterr().out.splitlines()
    content = json.loads((tmp_path / "r.json").read_text())
    rows = content["results"]["sampling"]
    assert [row["calls"] for row in rows] == [1000] * 3 + [6] * 3
    assert {row["timed_calls"] for row in rows} == {8, 6}
    for row in rows:
        # A second a GFLOP: also where only part of the chain ran, in another mix of resolutions.
        assert row["seconds_per_image"] == pytest.approx(row["gflop_per_image"])
        ratio = rows[0]["gflop_per_image"] / row["gflop_per_image"]
        assert row["speedup_over_ancestral"] == pytest.approx(ratio)
        first = rows[0] if row["calls"] == 1000 else rows[3]
        ratio = first["gflop_per_image"] / row["gflop_per_image"]
        assert row["speedup_same_calls"] == pytest.approx(ratio)
        printed = f"{row['gflop_per_image']:.4g}", f"{row['seconds_per_image']:.4g}"
        assert any(set(printed) <= set(line.split()) for line in lines)

    assert rows[0]["gflop_per_image"] == pytest.approx(1000 * costs[16, 16])
    schedule = ResolutionSchedule.paper(16, 2, "ConvexDecay_0.5", NoiseSchedule.linear())
    assert rows[1]["gflop_per_image"] == pytest.approx(1000 * schedule.chain_cost(costs))
    assert content["setting"]["schedules"]["paper's schedule, its noise"] == {"750": [16, 8]}


def test_a_schedule_of_ones_own_takes_the_place_of_the_derived_one(tmp_path, monkeypatch, capsys):
    unet = FlexiUNet.from_preset("small-16", base_channels=16)
    NetworkClock(monkeypatch, {path: path_flops(unet, *path) / 1e9 for path in unet.paths})
    noise = NoiseSchedule.linear(100)
    schedule = ResolutionSchedule.from_noise([16] * 10 + [4] * 90, noise, levels=(16, 4))
    schedule.save(tmp_path / "mine.json")
    options = [*QUICK, "--schedule", str(tmp_path / "mine.json"), "-o", str(tmp_path / "r.json")]
    main(["bench", "sampling", *options])
    content = json.loads((tmp_path / "r.json").read_text())
    names = list(content["setting"]["schedules"])
    assert names[2] == str(tmp_path / "mine.json")
    first, _, row = content["results"]["sampling"][:3]
    assert (row["schedule"], row["calls"]) == (names[2], 100)
    ratio = first["gflop_per_image"] / row["gflop_per_image"]
    assert row["speedup_same_calls"] == pytest.approx(ratio)  # all steps against all steps
    assert "10: 16->4" in capsys.readouterr().out


def test_a_network_of_one_level_is_sampled_too(capsys):
    main(["bench", "sampling", *QUICK, "--levels", "1", "--timed", "2", "--calls", "2"])
    assert "derived, snr <= 0.1: no changes" in capsys.readouterr().out


def test_settings_that_cannot_run_are_refused(capsys):
    for options, said in (
        (["--calls", "0"], "between 1 and 1000"),
        (["--timed", "2000"], "between 1 and 1000"),
        (["--levels", "9"], "cannot be halved"),
    ):
        assert said in command_refusal(["bench", "sampling", *QUICK, *options], capsys)
