"""Comparisons: every arm trained and judged, stopped and gone on with, and counted right."""

import json
import os
from dataclasses import asdict

import numpy as np
import pytest
import yaml
from helpers import command_refusal
from pages import read_page
from PIL import Image

from ssd_models.bench.schedules import total_cost
from ssd_models.cli import main
from ssd_models.comparison import images_seen, petaflops
from ssd_models.comparison.arms import Comparison, Stage
from ssd_models.comparison.config import ComparisonConfig
from ssd_models.comparison.costs import flops, sampling_calls, training_shares
from ssd_models.comparison.results import collect, run_comparison
from ssd_models.data.opening import open_images
from ssd_models.metrics.estimates import half_width
from ssd_models.training.building import build_unet
from ssd_models.training.objective import PathSampler
from ssd_models.training.trainer import Trainer
from theory import InputError

TINY = {
    "resolution": 16,
    "levels": [16, 8],
    "milestones": [3, 6],
    "calls": {4: 24, 3: 24, 1000: 0},
    "train": {"base_channels": 8, "batch_size": 4, "bf16": False, "held_out": 0.2},
    "arms": {
        "ddpm": {"schedule": "full"},
        "paper": {"label": "the paper's", "schedule": "paper", "noise": "paper"},
        "derived": {"schedule": "derived", "tolerance": 0.5, "train": {"snr_clip": 20.0}},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("comparison")
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(150, 16, 16, 3)).cumsum(axis=1).cumsum(axis=2) * 4 + 128
    np.savez(path / "images.npz", images=smooth.clip(0, 255).astype(np.uint8))
    write(path / "tiny.yaml", TINY)
    return path


def write(path, content):
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def comparison(folder, name):
    config = ComparisonConfig.load(folder / "tiny.yaml")
    return Comparison(config, open_images(folder / "images.npz", 16), folder / name)


def test_a_signal_ends_the_command_with_its_status(folder, capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "train", lambda self, **_: "SIGTERM")
    out = folder / "stopped"
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "compare",
                str(folder / "tiny.yaml"),
                "--data",
                str(folder / "images.npz"),
                "-o",
                str(out),
            ]
        )
    assert stopped.value.code == 128 + 15
    assert "stopped (SIGTERM); the same command goes on" in capsys.readouterr().out
    assert not (out / "results.json").exists()


def test_the_command_trains_and_judges_every_stage(folder, capsys):
    out = folder / "whole"
    main(
        ["compare", str(folder / "tiny.yaml"), "--data", str(folder / "images.npz"), "-o", str(out)]
    )
    assert "all 6 stages judged" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert [(s["arm"], s["step"]) for s in results["stages"]] == [
        (arm, step) for step in (3, 6) for arm in ("ddpm", "paper", "derived")
    ]
    first, last = results["stages"][2], results["stages"][5]
    assert list(first["judged"]) == ["4"]
    assert list(last["judged"]) == ["4", "3"]
    assert last["changes"][0]["to"] == 16
    assert last["changes"][0]["all"]["over_linear"] > 1  # six steps teach little
    assert [row["snr"] for row in last["full_resolution"]]
    assert all(row["error"] > row["linear"] for row in last["full_resolution"])
    assert set(results["stages"][3]["information"]["losses"]) == {"paper", "derived"}
    assert set(last["information"]["losses"]) == {"derived"}
    assert results["config"]["arms"]["derived"]["train"] == {"snr_clip": 20.0}
    cost = results["seconds"]["arms"]
    assert cost["ddpm"]["training"] > 0
    assert cost["ddpm"]["sampling"]["1000"] == pytest.approx(250 * cost["ddpm"]["sampling"]["4"])
    assert str(folder) not in json.dumps(results)  # nothing of the machine's folders
    shown = np.asarray(Image.open(out / "samples.png"))
    assert shown.shape == (3 * 17, 16 * 18 - 2, 3)
    for place, arm in enumerate(TINY["arms"]):
        grid = np.asarray(Image.open(out / "samples" / f"{arm}-seed0-step6-calls4.png"))
        np.testing.assert_array_equal(shown[17 * place : 17 * place + 16], grid[:16])
    page = read_page(out / "report.html")
    assert len(page.images) == len(TINY["arms"]) + 1  # and real images
    label = results["arms"]["paper"]["label"]
    found = results["stages"][4]["judged"]["3"]["metrics"]["frechet_scattering"]
    cell = f"{found['value']:.1f} ± {half_width(found['standard_error']):.1f}"
    assert [label, cell] in [row[:2] for table in page.tables for row in table]
    # Real images are compared with each other once for each number of images.
    bases = [j["baseline"] for s in results["stages"] for j in s["judged"].values()]
    assert all(base == bases[0] for base in bases)
    # Nothing is done twice.
    before = (out / "results.json").read_bytes()
    files = {path: path.stat().st_mtime_ns for path in (out / "judged").iterdir()}
    assert run_comparison(comparison(folder, "whole"))
    assert (out / "results.json").read_bytes() == before
    assert files == {path: path.stat().st_mtime_ns for path in (out / "judged").iterdir()}
    # Only what an arm's new options concern is evaluated again.
    arms = {**TINY["arms"], "ddpm": {"schedule": "full", "last_snr": 10}}
    write(folder / "changed.yaml", {**TINY, "arms": arms})
    config = ComparisonConfig.load(folder / "changed.yaml")
    changed = Comparison(config, open_images(folder / "images.npz", 16), out)
    stages = collect(changed)["stages"]
    assert [s["arm"] for s in stages if s["judged"]] == ["paper", "derived"] * 2
    damaged = out / "judged" / "paper-seed0-step3-calls4.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"calls4\.json: cannot be read .*; delete it, and"):
        collect(changed)
    damaged.write_bytes(whole)
    os.utime(damaged, ns=(files[damaged], files[damaged]))
    assert run_comparison(changed)
    after = {path: path.stat().st_mtime_ns for path in (out / "judged").iterdir()}
    again = {path.name for path in files if after[path] != files[path]}
    stages = [f"ddpm-seed0-step{step}.json" for step in ("3-calls4", "6-calls4", "6-calls3")]
    assert again == {*stages, "seconds.json"}
    new = collect(changed)["stages"][0]["judged"]["4"]
    assert new["metrics"] != results["stages"][0]["judged"]["4"]["metrics"]
    write(folder / "changed.yaml", {**TINY, "arms": {"one": {"schedule": "full", "last_snr": 1e9}}})
    config = ComparisonConfig.load(folder / "changed.yaml")
    with pytest.raises(InputError, match="arm one: last_snr"):
        Comparison(config, open_images(folder / "images.npz", 16), folder / "refused")


def test_it_stops_and_goes_on(folder):
    stopped = comparison(folder, "parts")
    stage = Stage("ddpm", 0, 3, 3)
    assert "minutes are over" in stopped.train(stage, 1e-9)
    assert not stopped.model(stage).exists()
    assert [s.name for s in stopped.train_all(1e-9)] == []
    again = comparison(folder, "parts")
    assert [s.name for s in again.train_all()] == [s.name for s in again.stages()]
    whole = folder / "whole" / "models" / "derived-seed0-step6" / "model.safetensors"
    if whole.exists():
        assert again.model(Stage("derived", 0, 6, 6)).joinpath(whole.name).read_bytes() == (
            whole.read_bytes()
        )
    assert collect(again)["stages"] == []  # trained, not judged


def test_processes_share_a_folder_and_the_last_call_times_all_arms(folder):
    tiny = {**TINY, "milestones": [1], "calls": {2: 24}, "errors": False}
    write(folder / "shared.yaml", tiny)
    config = ComparisonConfig.load(folder / "shared.yaml")
    source, out = open_images(folder / "images.npz", 16), folder / "shared"
    for arm in TINY["arms"]:
        part = Comparison(config, source, out, only=[arm])
        assert [stage.arm for stage in part.stages()] == [arm]
        assert run_comparison(part)
        assert "seconds" not in json.loads((out / "results.json").read_text())
    trained = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*")}
    assert run_comparison(Comparison(config, source, out))
    assert trained == {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*")}
    results = json.loads((out / "results.json").read_text())
    assert [stage["arm"] for stage in results["stages"]] == list(TINY["arms"])
    assert set(results["seconds"]["arms"]) == set(TINY["arms"])
    with pytest.raises(InputError, match="the comparison has ddpm, paper, derived"):
        Comparison(config, source, out, only=["unknown"])


def test_the_folder_is_of_one_comparison(folder):
    comparison(folder, "one")
    write(folder / "other.yaml", {**TINY, "operator": "box"})
    config = ComparisonConfig.load(folder / "other.yaml")
    source = open_images(folder / "images.npz", 16)
    with pytest.raises(InputError, match="holds another comparison"):
        Comparison(config, source, folder / "one")
    with pytest.raises(InputError, match="is not empty"):
        Comparison(config, source, folder)
    write(folder / "more.yaml", {**TINY, "milestones": [3, 6, 9], "seeds": [0, 1]})
    Comparison(ComparisonConfig.load(folder / "more.yaml"), source, folder / "one")


def test_arms_of_equal_cost_take_more_steps_where_a_step_is_cheaper(folder):
    write(folder / "cost.yaml", {**TINY, "equal": "cost", "milestones": [300]})
    config = ComparisonConfig.load(folder / "cost.yaml")
    compared = Comparison(config, open_images(folder / "images.npz", 16), folder / "cost")
    entries = {s["arm"]: s for s in map(asdict, compared.stages())}
    assert entries["ddpm"]["step"] == entries["derived"]["milestone"] == 300
    arms = collect(compared)["arms"]
    spent = {arm: entries[arm]["step"] * arms[arm]["training_flops_per_image"] for arm in entries}
    assert arms["derived"]["training_flops_per_image"] < arms["ddpm"]["training_flops_per_image"]
    for arm in entries:  # to half a step
        assert spent[arm] == pytest.approx(spent["ddpm"], rel=1 / 600)


@pytest.mark.parametrize(
    "train", [{"constant_pixels": True}, {"accumulate": 2}, {"batch_size": 2}, {}]
)
def test_equal_cost_counts_all_images_of_a_step(folder, train):
    """An arm whose steps have more or fewer images takes fewer or more of them."""
    arms = {"ddpm": {"schedule": "full"}, "fade": {"schedule": "derived", "train": train}}
    arms["fade"] |= {"criterion": "water-filling", "tolerance": 1.0}
    write(folder / "step.yaml", {**TINY, "equal": "cost", "milestones": [300], "arms": arms})
    config = ComparisonConfig.load(folder / "step.yaml")
    out = folder / f"step-{next(iter(train), '')}"
    compared = Comparison(config, open_images(folder / "images.npz", 16), out)
    ddpm, fade = compared.stages()
    results = collect(compared)
    assert petaflops(results, asdict(fade)) == pytest.approx(
        petaflops(results, asdict(ddpm)), rel=0.01
    )
    sampler = PathSampler.of(compared.training("fade"), compared.schedules["fade"])
    assert [path.r_out for path in sampler.paths] == [16, 8]
    at_16, at_8 = (
        path.probability * path.images * train.get("batch_size", 4) * train.get("accumulate", 1)
        for path in sampler.paths
    )
    assert results["arms"]["fade"]["training_images_per_step"] == pytest.approx(at_16 + at_8)
    each = results["arms"]["ddpm"]["training_flops_per_image"]
    assert petaflops(results, asdict(ddpm)) == pytest.approx(300 * 4 * each / 1e15)
    assert images_seen(results, 300) == 1200


def test_trained_arms_do_not_change_and_do_not_go_back(folder):
    tiny = {**TINY, "milestones": [2, 4], "calls": {2: 0}, "errors": False}
    write(folder / "kept.yaml", tiny)
    source, out = open_images(folder / "images.npz", 16), folder / "kept"

    def now(**changed):
        write(folder / "kept.yaml", {**tiny, **changed})
        return Comparison(ComparisonConfig.load(folder / "kept.yaml"), source, out, ["derived"])

    assert run_comparison(now())
    changes = {
        "learning_rate: 0.0002 -> 0.01": {"train": {"learning_rate": 1e-2}},
        "schedule: ": {"tolerance": 0.1},
    }
    for said, changed in changes.items():
        arms = {**TINY["arms"], "derived": {**TINY["arms"]["derived"], **changed}}
        with pytest.raises(InputError, match=said):
            run_comparison(now(arms=arms))
    with pytest.raises(InputError, match="is at step 4 and cannot go back to 3"):
        run_comparison(now(milestones=[2, 3, 4]))
    assert not (out / "models" / "derived-seed0-step3").exists()
    assert run_comparison(now(milestones=[2, 4, 5]))
    reordered = {name: TINY["train"][name] for name in reversed(TINY["train"])}
    assert run_comparison(now(milestones=[2, 4], train=reordered))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seeds": []}, "seeds: needs at least one"),
        ({"seeds": [0, -1]}, "arm ddpm: seed"),
        ({"calls": {4: 12}}, "evaluation needs 20 images"),
        ({"resolution": 8, "levels": [8]}, "images of 8 px cannot be used"),
        ({"train": {"steps": 7}}, "steps cannot be set in comparisons"),
        ({"train": {"last_snr": 7}}, "last_snr cannot be set in comparisons"),
        ({"train": {"cosine_decay": True}}, "give one milestone"),
        (
            {"arms": {"a": {"schedule": "full", "train": {"held_out": 0.5}}}},
            "arm a: train: held_out",
        ),
        (
            {"arms": {"a": {"schedule": "full", "train": {"batch_size": -1}}}},
            "arm a: batch_size -1",
        ),
        ({"arms": {"a": {"schedule": "full", "network": "b"}}}, "'b': is no arm with a network"),
        ({"arms": {"a": {"schedule": "full", "network": "a"}}}, "'a': is no arm with a network"),
    ],
)
def test_configurations_that_cannot_work_are_refused_at_once(folder, changed, said):
    write(folder / "wrong.yaml", {**TINY, **changed})
    with pytest.raises(InputError, match=said):
        ComparisonConfig.load(folder / "wrong.yaml")


def test_data_and_samplers_that_cannot_be_evaluated_are_refused_at_once(folder):
    few = {**TINY, "train": {**TINY["train"], "held_out": 0.02}}
    wrong = {**TINY, "operator": "box", "sampler": "whitened"}
    source = open_images(folder / "images.npz", 16)
    for content, said in ((few, "4 of 150 images are held out"), (wrong, "arm paper: sampler")):
        write(folder / "wrong.yaml", content)
        with pytest.raises(InputError, match=said):
            Comparison(ComparisonConfig.load(folder / "wrong.yaml"), source, folder / said[:5])


def test_an_arm_may_have_levels_of_its_own(folder):
    derived = {**TINY["arms"]["derived"], "tolerance": 10.0}
    arms = {"two": derived, "one": {**derived, "levels": [16]}}
    tiny = {**TINY, "milestones": [1], "calls": {2: 24}, "errors": False, "arms": arms}
    write(folder / "levels.yaml", tiny)
    config = ComparisonConfig.load(folder / "levels.yaml")
    source, out = open_images(folder / "images.npz", 16), folder / "levels"
    compared = Comparison(config, source, out)
    assert compared.schedules["two"].levels == (16, 8)
    assert compared.schedules["one"].levels == (16,)
    assert run_comparison(compared)
    stages = collect(Comparison(config, source, out))["stages"]  # found again, not judged again
    assert [stage["arm"] for stage in stages] == ["two", "one"]
    write(folder / "levels.yaml", {**tiny, "arms": {"odd": {**derived, "levels": [12, 8]}}})
    config = ComparisonConfig.load(folder / "levels.yaml")
    with pytest.raises(InputError, match=r"arm odd: .*16"):
        Comparison(config, source, out)


def test_an_arm_with_anothers_network_has_its_schedule_and_costs(folder):
    derived = TINY["arms"]["derived"] | {"train": {"base_channels": 16, "density": "pixels"}}
    again = {**derived, "network": "wide", "changes": "free", "train": {}}
    source = open_images(folder / "images.npz", 16)
    write(folder / "anothers.yaml", {**TINY, "arms": {"wide": derived, "free": again}})
    config = ComparisonConfig.load(folder / "anothers.yaml")
    compared = Comparison(config, source, folder / "anothers")
    wide, free = compared.costs("wide"), compared.costs("free")
    for name in ("parameters", "training_flops_per_image", "training_images_per_step"):
        assert wide[name] == free[name]
    write(
        folder / "anothers.yaml",
        {**TINY, "arms": {"full": {"schedule": "full"}, "small": {**again, "network": "full"}}},
    )
    config = ComparisonConfig.load(folder / "anothers.yaml")
    with pytest.raises(InputError, match="arm small: network 'full': was trained on another sched"):
        Comparison(config, source, folder / "other")


def test_costs_are_sums_over_paths(folder):
    compared = comparison(folder, "costs")
    config = compared.config.train_config("derived", 0, 6)
    full, derived = compared.schedules["ddpm"], compared.schedules["derived"]
    unet = build_unet(config, derived, 3)
    assert training_shares(full, config, compared.spectrum) == {(16, 16): 1}
    shares = training_shares(derived, config, compared.spectrum)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[8, 16] == pytest.approx(config.change_fraction)
    assert sampling_calls(full, 20) == {(16, 16): 20}
    assert sampling_calls(full, 5000) == {(16, 16): 1000}
    assert sampling_calls(full, 5000, last_snr=100)[16, 16] == 1 + (full.base_snr < 100).sum()
    calls = sampling_calls(derived, 1000)
    assert calls[8, 16] == 1
    assert calls[8, 8] == (derived.resolutions == 8).sum() - 1
    one = flops(unet, full, training=False)
    few = flops(unet, derived, training=False)
    assert total_cost({(16, 16): 2, (8, 16): 1}, few) == 2 * few[16, 16] + few[8, 16]
    assert one[16, 16] == few[16, 16] > few[8, 16] > few[8, 8]
    assert flops(unet, derived, training=True)[8, 8] > 2 * few[8, 8]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"milestones": [6, 3]}, "milestones [6, 3]: must rise"),
        ({"arms": {}}, "lacks arms"),
        ({"arms": {"a": {"label": "x"}}}, "arm a: lacks its schedule"),
        ({"arms": {"a": {"schedule": "best"}}}, "arm a: schedule cannot be 'best'"),
        ({"arms": {"a": {"schedule": "derived", "criterion": "x"}}}, "criterion 'x' is unknown"),
        ({"sampler": "best"}, "sampler 'best': choose from whitened"),
        ({"arms": {"a": {"schedule": "full", "sampler": "x"}}}, "sampler 'x': choose from"),
        ({"operator": "crop"}, "bad.yaml: operator 'crop': unknown"),
        ({"equal": "time"}, "equal cannot be 'time'"),
        ({"train": {"lr": 1.0}}, "unknown option 'lr'"),
        ({"train": {"learning_rate": -1.0}}, "learning_rate -1.0: must be positive"),
        ({"calls": {"many": 3}}, "needs `number: images` entries"),
        ({"size": 3}, "unknown option 'size'"),
        ({"levels": [16.5]}, "levels cannot be [16.5]"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(tmp_path, capsys, change, said):
    write(tmp_path / "bad.yaml", {**TINY, **change})
    command = ["compare", str(tmp_path / "bad.yaml"), "--data", "photos", "-o", str(tmp_path / "x")]
    line = command_refusal(command, capsys)
    assert said in line
    assert "bad.yaml" in line or "learning_rate" in line
    assert not (tmp_path / "x").exists()
