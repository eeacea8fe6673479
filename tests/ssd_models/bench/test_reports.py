"""Benchmarks print and write the same numbers, with their setting, or refuse before they work."""

import json
import os

import numpy as np
import pytest
import torch
from helpers import command_refusal, refusal

from ssd_models.bench import machine as machine_module
from ssd_models.bench.machine import describe, machine, torch_machine
from ssd_models.bench.report import Report, Table, publish
from ssd_models.bench.suite import PARTS, bench_all
from ssd_models.cli import main
from theory import Spectrum


def report(name="example"):
    rows = [
        {"path": "64", "milliseconds_each": 12.345678, "n": 2, "hidden": 1},
        {"path": "8->16", "milliseconds_each": None},
    ]
    forms = {"n": lambda n: f"<{n}>", "hidden": None}
    table = Table("paths", rows, "Caption", forms)
    return Report(name, "Heading.", {"batch": 4}, [table], {"rate_of_it": 2.5})


def test_a_report_is_text_and_json_of_the_same_rows(tmp_path):
    assert report().text() == (
        "Heading.\n\nCaption\n       milliseconds\npath           each    n\n"
        "64            12.35  <2>\n8->16             -    -\n\nrate of it: 2.5"
    )
    report().save(tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["benchmark"] == "example"
    assert content["setting"] == {"batch": 4}
    assert content["results"]["rate_of_it"] == 2.5
    first = {"path": "64", "milliseconds_each": 12.345678, "n": 2, "hidden": 1}
    assert content["results"]["paths"][0] == first


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    def work():
        raise AssertionError("was measured")

    assert "must end in .json" in refusal(lambda: publish(work, tmp_path / "r.txt"))
    (tmp_path / "file").touch()
    assert "is not a folder" in refusal(lambda: publish(work, tmp_path / "file" / "r.json"))
    (tmp_path / "out" / "b.json").mkdir(parents=True)
    assert "is a folder" in refusal(lambda: bench_all(tmp_path / "out", {"a": work, "b": work}))


def test_all_parts_are_printed_and_written_and_are_commands_of_their_own(tmp_path, capsys):
    bench_all(tmp_path / "new", {"one": lambda: report("one"), "two": lambda: report("two")})
    assert capsys.readouterr().out.count("Caption") == 2
    for name in ("one", "two"):
        assert json.loads((tmp_path / "new" / f"{name}.json").read_text())["benchmark"] == name
    for name in PARTS:
        with pytest.raises(SystemExit) as caught:
            main(["bench", name, "--help"])
        assert caught.value.code == 0
        assert f"Example: ssd bench {name}" in capsys.readouterr().out


# Command, options, a table of its JSON, and columns that are printed with four digits.
COMMANDS = {
    "spectrum": (
        "--resolution 8 --batches 1 --repeats 1",
        "throughput",
        ("input", "images_per_second", "over_dctn"),
    ),
    "schedules": (
        "a.npz b.npz --levels 2 --calls 6 --steps 100",
        "schedules a",
        ("calls", "cost", "error", "times_less"),
    ),
    "pareto": (
        "a.npz --levels 2 --calls 5 --costs 0.7 1 --steps 100",
        "plans",
        ("calls", "cost", "error"),
    ),
    "samplers": ("a.npz --levels 2 --calls 6", "chains a.npz", ("error", "cost")),
    "growth": ("--resolutions 8", "levels", ("resolution", "public_gflop", "derived_saving")),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_json_has_what_is_printed(command, tmp_path, monkeypatch, capsys):
    options, table, columns = COMMANDS[command]
    monkeypatch.chdir(tmp_path)
    Spectrum.power_law(8, 2.2).save("a.npz")
    Spectrum.power_law(8, 3.0).save("b.npz")
    main(["bench", command, *options.split(), "-o", "out/r.json"])
    lines = capsys.readouterr().out.splitlines()
    content = json.loads((tmp_path / "out" / "r.json").read_text())
    assert content["benchmark"] == command
    assert content["setting"]["machine"]["cpu"]
    rows = content["results"][table]
    assert rows
    for row in rows:
        values = [row[key] for key in columns]
        cells = {f"{v:.4g}" if isinstance(v, float) else str(v) for v in values}
        assert any(cells <= set(line.split()) for line in lines), row
    assert "must end in .json" in command_refusal(
        ["bench", command, *options.split(), "-o", "r.txt"], capsys
    )


def test_samplers_of_few_calls_are_written_with_error_and_cost(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Spectrum.power_law(8, 2.2).save("a.npz")
    main(["bench", "samplers", "a.npz", "--levels", "2", "--calls", "2", "6", "-o", "r.json"])
    text = capsys.readouterr().out
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    assert len(results["samplers a.npz"]) + len(results["planned a.npz"]) == 11
    ancestral = results["samplers a.npz"][0]
    assert ancestral["2"] is None  # a change needs four
    assert f"{ancestral['6']['error']:.1e} ({ancestral['6']['cost']:.2f})" in text


def test_the_machine_is_named(tmp_path, monkeypatch):
    found = torch_machine(torch.device("cpu"))
    assert found["threads"] == torch.get_num_threads()
    assert found["gpu"] is None
    assert found["cores"] <= os.cpu_count()
    assert found["torch"] in describe(found)
    assert np.__version__ in describe(machine())
    assert describe({**found, "gpu": "H1"}) == f"torch {found['torch']}, H1"
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast: One\nflags\t: a\nmodel name\t: Other\n")
    monkeypatch.setattr(machine_module, "_CPU_INFO", str(info))
    assert machine()["cpu"] == "Fast: One"
    monkeypatch.setattr(machine_module, "_CPU_INFO", str(tmp_path / "none"))
    assert machine()["cpu"]
