"""Costs of paths as `ssd bench unet` and `ssd bench train` measure and print them."""

import json
import re
import time

import pytest
import torch

from ssd_models.bench.contenders import LiveTensors
from ssd_models.bench.timing import median_seconds
from ssd_models.cli import main
from theory import NoiseSchedule, ResolutionSchedule

QUICK = ["--resolution", "16", "--levels", "2", "--base-channels", "32", "--batch", "2"]
QUICK += ["--repeats", "1", "--bf16", "False"]


def rows(text):
    """First column to the columns after it, of the first table that has it."""
    found = re.findall(r"^ *(\d+|\d+->\d+|ours|one level \(DDPM\)) {2,}(.+)$", text, re.M)
    return {name: values.split() for name, values in reversed(found)}


def test_live_tensors_are_counted_while_they_live():
    with LiveTensors() as live:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1
        c = b.view(10, 100)  # no memory of its own
        del b
        a.add_(1)
        del c
        d = torch.zeros(3000)
        del a, d
        torch.zeros(500)
    assert live.peak == 4000 + 12000


@pytest.mark.parametrize("kind", ["unet", "train"])
def test_every_path_is_measured_beside_the_one_level_network(kind, tmp_path, capsys):
    main(["bench", kind, *QUICK, "-o", str(tmp_path / "r.json")])
    text = capsys.readouterr().out
    table = rows(text)
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["setting"]["bf16"] is False
    for row in written["results"]["paths"]:
        assert table[row["path"]][2:4] == [
            f"{row[key]:.4g}" for key in ("milliseconds", "images_per_second")
        ]
    assert f"{written['results']['ratios'][0]['mixture']:.4g}" in text
    assert {"16", "8->16", "8"} <= table.keys()
    flops = {path: float(table[path][1]) for path in ("16", "8->16", "8")}
    assert flops["16"] > flops["8->16"] > flops["8"] > 0
    ours, single = table["ours"], table["one level (DDPM)"]
    assert len(ours) == len(single) == 4
    assert single[1:3] == ["-", "-"]
    assert single[0] == single[3]  # every step at full resolution
    assert min(map(float, ours)) <= float(ours[3]) <= max(map(float, ours))
    assert "images per second of ours over those of" in text


def test_the_mixture_is_the_schedules(tmp_path, capsys):
    schedule = ResolutionSchedule.from_noise(
        [16] * 10 + [8] * 90, NoiseSchedule.linear(100), levels=(16, 8)
    )
    schedule.save(tmp_path / "s.json")
    main(["bench", "unet", *QUICK, "--schedule", str(tmp_path / "s.json")])
    text = capsys.readouterr().out
    ours = [float(x) for x in rows(text)["ours"]]
    expected = 1 / (0.10 / ours[0] + 0.01 / ours[1] + 0.89 / ours[2])
    assert ours[3] == pytest.approx(expected, rel=0.02)
    assert "10: 16->8" in text


def test_a_change_across_a_level_is_measured_too(tmp_path, capsys):
    noise = NoiseSchedule.linear(100)
    schedule = ResolutionSchedule.from_noise([16] * 10 + [4] * 90, noise, levels=(16, 4))
    schedule.save(tmp_path / "s.json")
    main(["bench", "unet", *QUICK, "--schedule", str(tmp_path / "s.json")])
    table = rows(capsys.readouterr().out)
    assert {"16", "8->16", "4->16", "8", "4->8", "4"} <= table.keys()
    rates = dict(zip(["16", "8->16", "4->16"], map(float, table["ours"]), strict=False))
    by_path = rates | {"4": float(table["ours"][5])}
    expected = 1 / (0.10 / by_path["16"] + 0.01 / by_path["4->16"] + 0.89 / by_path["4"])
    assert float(table["ours"][-1]) == pytest.approx(expected, rel=0.02)


def test_turns_are_medians_after_one_that_warms_up():
    calls = {"a": 0, "b": 0}

    def job(name, first):
        calls[name] += 1
        time.sleep(first if calls[name] == 1 else 0.002)

    found = median_seconds({"a": lambda: job("a", 0.2), "b": lambda: job("b", 0)}, 3)
    assert calls == {"a": 4, "b": 4}
    assert 0.002 <= found["a"] < 0.1
    calls.update(a=1)
    median_seconds({"a": lambda: job("a", 0)}, 2, least=0.02)
    assert calls["a"] > 8  # two that warm up, then about ten a turn


def test_settings_that_cannot_run_are_refused(tmp_path, capsys):
    schedule = ResolutionSchedule.paper(32, 2, "equal", NoiseSchedule.linear(100))
    schedule.save(tmp_path / "s.json")
    for options, said in (
        (["--schedule", str(tmp_path / "s.json")], "give --resolution 32"),
        (["--batch", "0"], "at least 1"),
        (["--levels", "4"], "allows 1 to 3"),
    ):
        with pytest.raises(SystemExit):
            main(["bench", "train", *QUICK, *options])
        assert said in capsys.readouterr().err
