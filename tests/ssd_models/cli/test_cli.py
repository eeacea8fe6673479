"""The command line: the pipeline on a folder and a zip, and one clear line on bad input."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import command_refusal
from PIL import Image

from ssd_models import ScaleSpacePipeline
from ssd_models.cli import _COMMANDS, main
from ssd_models.cli.benchmarks import BENCHMARKS
from ssd_models.data.opening import open_images
from theory import NoiseSchedule, ResolutionSchedule, Spectrum

TINY = ["--steps", "3", "--batch-size", "2", "--base-channels", "8", "--log-every", "1"]


def write_images(folder: Path, size=16, count=12):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        x = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
        Image.fromarray(x).resize((size, size)).save(folder / f"{i}.png")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images")
    return tmp_path


def refusal(arguments, capsys):
    files = sorted(p for p in Path().rglob("*"))
    line = command_refusal(arguments, capsys)
    assert sorted(p for p in Path().rglob("*")) == files, "something was left behind"
    return line


def test_a_part_of_a_known_dataset_trains_with_a_limit(here):
    main(["schedule", "paper", "equal", "--resolution", "16", "--levels", "2"])
    main(["train", "--data", "celeba:images", "--limit", "8", *TINY])
    assert Path("run/model/model.safetensors").is_file()


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_pipeline_with_its_defaults(form, here, capsys):
    data = "images"
    if form == "zip":
        with zipfile.ZipFile("images.zip", "w") as archive:
            for path in sorted(Path("images").iterdir()):
                archive.write(path)
        data = "images.zip"
    main(["spectrum", data, "--resolution", "16"])
    capsys.readouterr()
    main(["derive", "--levels", "2", "--report", "schedule.png"])
    said = capsys.readouterr().out
    predicted = json.loads(Path("schedule.json").read_text())["predicted"]
    assert f"a mean call costs {predicted['chain_cost_ratio']:.3f} of one" in said
    assert f"err {predicted['oracle_error']:.4g} (" in said
    assert "drawn in schedule.png; train on it with `ssd train --schedule schedule.json`" in said
    main(["train", *TINY])
    main(["sample", "-n", "4", "--steps", "6"])
    assert Spectrum.load("spectrum.npz").count == 12
    schedule = json.loads(Path("schedule.json").read_text())
    assert schedule["format"] == "scale-space-schedule/1"
    assert schedule["derivation"]["source"] == data
    assert set(schedule["predicted"]) >= {
        "chain_cost_ratio",
        "oracle_error",
        "oracle_error_full_resolution",
    }
    assert Image.open("schedule.png").size[0] > 1000
    assert Path("run/model/model.safetensors").is_file()
    assert Image.open("samples.png").size == (34, 34)
    first = Path("samples.png").read_bytes()
    main(["sample", "-n", "4", "--steps", "6", "-o", "again.png"])
    assert Path("again.png").read_bytes() == first
    main(["sample", "-n", "4", "--steps", "6", "--last-snr", "3000", "-o", "end.png"])
    assert Path("end.png").read_bytes() != first
    main(["sample", "-n", "4", "--steps", "6", "-o", "folder"])
    main(["sample", "run/model", "-n", "4", "--steps", "6", "-o", "samples.NPZ"])
    assert not list(Path().glob(".samples*"))
    with np.load("samples.NPZ") as file:
        images = file["images"]
    assert images.shape == (4, 16, 16, 3)
    np.testing.assert_array_equal(np.asarray(Image.open("folder/000002.png")), images[2])
    options = ["--spacing", "planned", "--changes", "free", "--animation", "chain.gif"]
    main(["sample", "-n", "20", "--steps", "6", *options, "-o", "free.png"])
    with Image.open("chain.gif") as chain:
        assert chain.is_animated  # frames that are alike are one
        assert chain.size == (4 * 128 + 6, 4 * 128 + 6)
    main(["sample", "-n", "2", "--eta", "1", "--spectral-variance", "--steps", "6"])
    main(["train", "--resume", "--last-snr", "3000"])  # of the finished run
    main(["sample", "-n", "4", "--steps", "6", "-o", "stored.png"])
    assert Path("stored.png").read_bytes() == Path("end.png").read_bytes()
    main(["train", "--resume", "--steps", "5"])
    assert ScaleSpacePipeline.from_pretrained("run").last_snr == 3000
    said = refusal(["train", "--resume", "--steps", "6", "--last-snr", "1e9"], capsys)
    assert "last_snr 1e+09: states of full resolution have" in said
    assert Path("run/checkpoints/step_0000005").is_dir()
    assert list(Path("run").glob("events.out.tfevents.*"))
    assert not [p for p in Path().rglob(".*") if "partial" in p.name]


def test_classes_are_learned_and_sampled_by_name(here, capsys):
    for i, path in enumerate(sorted(Path("images").iterdir())):
        folder = Path("animals") / ("cat" if i % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    main(["spectrum", "animals", "--resolution", "16"])
    main(["derive", "--levels", "2"])
    main(["train", *TINY, "--class-conditional", "--time-input", "logsnr"])
    assert "2 classes: cat (6), dog (6)" in capsys.readouterr().out
    assert json.loads(Path("run/model/classes.json").read_text()) == ["cat", "dog"]
    main(["train", "--resume", "--steps", "5"])
    sample = ["sample", "-n", "3", "--steps", "4", "--guidance", "2"]
    main([*sample, "--classes", "dog", "0", "--guidance-interval", "0.1", "9"])
    assert "needs class labels" in refusal(sample, capsys)
    assert "choose from cat, dog" in refusal([*sample, "--classes", "cow"], capsys)
    Path("flat").mkdir()
    for path in Path("animals").rglob("*.*"):
        path.rename(Path("flat") / path.name)
    options = ["--data", "flat", "--class-conditional", "-o", "other"]
    assert "has no class for every image" in refusal(["train", *TINY, *options], capsys)


def test_images_are_reduced_on_request_or_as_the_spectrum_was(here):
    main(["spectrum", "images", "--resolution", "8"])
    main(["derive", "--levels", "2", "--largest-snr", "60"])
    assert ResolutionSchedule.load("schedule.json").base_snr[0] <= 60
    main(["train", *TINY, "--density", "information"])
    main(["schedule", "paper", "equal", "--resolution", "8", "--levels", "2"])
    main(["train", *TINY, "--data", "images", "--resize", "-o", "resized"])
    assert Path("resized/model/schedule.json").is_file()


def test_schedule_commands(here, capsys):
    main(["schedule", "paper", "ConvexDecay_0.5", "--resolution", "64", "-o", "paper.json"])
    schedule = ResolutionSchedule.load("paper.json")
    assert list(schedule.changes) == [438, 750, 937]
    capsys.readouterr()
    main(["schedule", "show", "paper.json"])
    assert "8 px  t = 937 … 999" in capsys.readouterr().out


def test_yaml_overlays_defaults_and_the_command_line_goes_before(here):
    noise = NoiseSchedule.linear(100)
    ResolutionSchedule.from_noise(np.repeat([16, 8], 50), noise).save("schedule.json")
    Path("run.yaml").write_text("steps: 2\nbatch_size: 2\nbase_channels: 8\nseed: 5\n")
    main(["train", "--data", "images", "--config", "run.yaml", "--seed", "6"])
    text = Path("run/config.yaml").read_text()
    assert "steps: 2\n" in text
    assert "seed: 6\n" in text
    assert "data: images\n" in text


def test_bad_data_is_refused(here, capsys):
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.jpg").write_text("hello")
    Path("broken.zip").write_bytes(b"PK\x03\x04 no zip")
    for data, said in (
        ("nowhere", "nowhere"),
        ("empty", "no images"),
        ("texts", "a.jpg"),
        ("broken.zip", "broken.zip"),
    ):
        assert said in refusal(["spectrum", data, "--resolution", "16"], capsys)
    assert "smaller than 32" in refusal(["spectrum", "images", "--resolution", "32"], capsys)


def test_bad_schedules_and_outputs_are_refused(here, capsys):
    assert "spectrum.npz: no such file" in refusal(["derive"], capsys)
    assert "schedule.json: no such file" in refusal(["train", "--data", "images"], capsys)
    assert "run: no such run" in refusal(["sample"], capsys)
    noise = NoiseSchedule.linear(100)
    ResolutionSchedule.from_noise(np.repeat([32, 16], 50), noise).save("schedule.json")
    assert "smaller than 32" in refusal(["train", "--data", "images"], capsys)
    assert "does not name its data" in refusal(["train"], capsys)
    ResolutionSchedule.from_noise(np.repeat([8, 4], 50), noise).save("schedule.json")
    assert "images have 16 px" in refusal(["train", "--data", "images"], capsys)
    assert "nowhere" in refusal(["train", "--data", "nowhere"], capsys)
    Path("file").write_text("")
    Spectrum.power_law(16, 2).save("spectrum.npz")
    for arguments in (
        ["spectrum", "images", "--resolution", "16", "-o", "file/s.npz"],
        ["derive", "--levels", "2", "-o", "file/s.json"],
        ["train", "--data", "images", "-o", "file/run"],
        ["demo", "-o", "file/demo"],
    ):
        assert "file" in refusal(arguments, capsys)
    assert "halved 6 times" in refusal(["derive", "--levels", "7"], capsys)
    assert "must end in .png" in refusal(["derive", "--levels", "2", "--report", "r.txt"], capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(here, capsys):
    Path("locked").mkdir(mode=0o555)
    arguments = ["spectrum", "images", "--resolution", "16", "-o", "locked/s.npz"]
    assert "locked" in refusal(arguments, capsys)


def test_unknown_options_exit_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["spectrum"])
    assert caught.value.code == 2


def test_help_is_quick():
    times = []
    for _ in range(3):
        before = os.times()
        command = [sys.executable, "-m", "ssd_models.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()  # seconds of the processor, whatever else runs on the machine
        times.append(sum(after[2:4]) - sum(before[2:4]))
    assert min(times) < 1


def told(arguments, capsys, monkeypatch):
    """What `--help` prints, on a wide screen."""
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert not caught.value.code
    return capsys.readouterr().out


GROUPS = ("bench", "schedule")  # of commands


@pytest.mark.parametrize(
    "name",
    [
        *sorted(_COMMANDS.keys() - set(GROUPS)),
        *(f"bench {name}" for name in BENCHMARKS),
        "schedule show",
        "schedule paper",
    ],
)
def test_help_of_a_command_is_enough_to_work_from(name, capsys, monkeypatch):
    text = told(name.split(), capsys, monkeypatch)
    assert f"Example: ssd {name}".replace("-merge", " merge") in text
    usage = text.split("\n\n")[0]
    assert usage.startswith(f"usage: ssd {name}")
    assert "STR" not in usage.split("[-h]")[1].split("[-o")[0]  # it is said what to name


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_list_of_commands_has_a_sentence_each(group, capsys, monkeypatch):
    text = told(group.split(), capsys, monkeypatch)
    names = {"": _COMMANDS, "bench": BENCHMARKS, "schedule": ("show", "paper")}[group]
    listed = [line.strip("│ •").split("  ")[0] for line in text.splitlines() if "•" in line]
    assert listed == list(names)
    assert "Example" not in text


def test_shards_and_processes_agree_with_one_pass(here, capsys):
    rng = np.random.default_rng(0)
    np.save("data.npy", rng.integers(0, 256, (2500, 8, 8, 3), dtype=np.uint8))
    data = ["data.npy", "--resolution", "8"]
    main(["spectrum", *data])
    main(["spectrum", *data, "--workers", "2", "-o", "two.npz"])
    for i in (1, 2, 3):
        main(["spectrum", *data, "--shard", f"{i}/3", "-o", f"part{i}.npz"])
    main(["spectrum", "merge", "part2.npz", "part3.npz", "part1.npz", "-o", "merged.npz"])
    main(["spectrum", *data, "-o", "again.npz"])
    assert Path("again.npz").read_bytes() == Path("spectrum.npz").read_bytes()
    whole, *others = (Spectrum.load(f"{name}.npz") for name in ("spectrum", "two", "merged"))
    for other in others:
        assert (other.count, other.meta) == (whole.count, whole.meta)
        for name in ("power", "mean", "colour_basis", "standard_error"):
            mine, theirs = getattr(other, name), getattr(whole, name)
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12 * abs(theirs).max())
    said = refusal(["spectrum", "merge", "spectrum.npz", "two.npz", "-o", "both.npz"], capsys)
    assert "two.npz: holds the same images as spectrum.npz" in said
    capsys.readouterr()
    main(["spectrum", "merge", "part2.npz", "part3.npz", "-o", "some.npz"])
    assert "warning: shards are missing: 1/3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["images", "--shard", "5/4"], "write i/n"),
        (["images", "--shard", "2/2"], "there can be 1 shards at most"),
        (["images", "--workers", "0"], "workers 0"),
        (["images", "-o", "spectrum.txt"], "must end in .npz"),
        (["merge", "none.npz", "-o", "x.npz"], "no such file"),
        (["merge", "a.npz", "a.npz"], "given twice"),
        (["merge", "a.npz", "-o", "x"], "must end in .npz"),
    ],
)
def test_what_cannot_be_measured_or_merged_is_refused(arguments, said, here, capsys):
    size = [] if arguments[0] == "merge" else ["--resolution", "8"]
    assert said in refusal(["spectrum", *arguments, *size], capsys)


@pytest.mark.parametrize("other", ["./a.npz", "link.npz", "copy.npz", "again.npz"])
def test_a_dataset_is_merged_once_whatever_it_is_called(other, here, capsys):
    main(["spectrum", "images", "-o", "a.npz"])
    main(["spectrum", "images", "-o", "again.npz", "--workers", "2"])
    Path("link.npz").symlink_to("a.npz")
    shutil.copy("a.npz", "copy.npz")
    said = refusal(["spectrum", "merge", "a.npz", other, "-o", "both.npz"], capsys)
    assert f"{other}: holds the same images as a.npz" in said


def test_a_shard_is_merged_once_whatever_it_is_called(here, capsys):
    main(["spectrum", "images", "-o", "a.npz", "--shard", "1/1"])
    said = refusal(["spectrum", "merge", "a.npz", "./a.npz", "-o", "both.npz"], capsys)
    assert "./a.npz: holds the same images as a.npz" in said


def test_a_tilde_is_the_home_folder_in_every_path(here, monkeypatch):
    home = here / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    shutil.move("images", home / "images")
    main(["spectrum", "~/images", "--output=~/s.npz"])
    main(["derive", "~/s.npz", "-o", "~/s.json", "--report=~/s.png"])
    Path("run.yaml").write_text("data: ~/images\n")
    main(["train", "--config", "run.yaml", "--schedule=~/s.json", "-o", "~/run", *TINY])
    main(["sample", "~/run", "-n", "2", "--steps", "6", "-o", "~/x.png"])
    main(["prepare", "celeba:~/images", "--limit", "4", "-o", "~/p", "--workers", "1"])
    assert len(open_images("~/p", 16)) == 4
    Spectrum.load("~/s.npz").save("~/again/s.npz")
    ResolutionSchedule.load("~/s.json").save("~/again/s.json")
    expected = {"images", "s.npz", "s.json", "s.png", "run", "x.png", "p", "again"}
    assert {path.name for path in home.iterdir()} == expected
    assert {path.name for path in here.iterdir()} == {"home", "run.yaml"}


def test_budgets_and_plans_on_the_command_line(here, capsys):
    Spectrum.power_law(32, 2.2, channels=3).save("law.npz")
    main(["derive", "law.npz", "--levels", "3", "--criterion", "budget", "--tolerance", "0.6"])
    schedule = ResolutionSchedule.load("schedule.json")
    assert schedule.predicted["chain_cost_ratio"] <= 0.6
    plan = ["derive", "law.npz", "--levels", "3", "--criterion", "budget", "--tolerance", "0.6"]
    main([*plan, "--calls", "15"])
    planned = ResolutionSchedule.load("schedule.json").derivation["plan"]
    assert len(planned["steps"]) == 15
    assert planned["changes"] == "network"
    main([*plan, "--calls", "12", "--changes", "free"])
    np.save("data.npy", np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8))
    main(["train", *TINY, "--data", "data.npy"])
    capsys.readouterr()
    sample = ["sample", "-n", "1", "--spacing", "planned", "--changes", "free"]
    assert "between 0 and 1" in refusal([*sample, "--eta", "1.1"], capsys)
    main(sample)  # without a number: the plan's steps
    assert "12 network calls each" in capsys.readouterr().out
    assert "an animation must end in" in refusal([*sample, "--animation", "x.mp4"], capsys)
    solver = ["--sampler", "dpmpp_2m", "--eta", "1"]
    assert "deterministic; give eta 0" in refusal([*sample, *solver], capsys)
    main(["derive", "law.npz", "--levels", "3", "--criterion", "signal-fraction"])
    Path("schedule.json").unlink()
    for arguments, said in (
        (["--criterion", "budget", "--tolerance", "0.01"], "costs at least"),
        (["--calls", "10"], "goes with --criterion budget"),
    ):
        assert said in refusal(["derive", "law.npz", "--levels", "3", *arguments], capsys)


def test_benchmarks_print_their_setting_and_compare(here, capsys):
    Spectrum.power_law(16, 2.2).save("a.npz")
    Spectrum.power_law(16, 3.0).save("b.npz")
    capsys.readouterr()
    main(["bench", "schedules", "a.npz", "b.npz", "--levels", "2", "--calls", "10"])
    out = capsys.readouterr().out
    assert "T = 1000, 2 levels" in out
    assert out.count("paper, ConvexDecay_0.5") == 2
    assert "Transfer" in out
    main(["bench", "pareto", "a.npz", "--levels", "2", "--calls", "6", "9", "--costs", "0.7", "1"])
    assert "16 px, 2 levels, linear noise" in capsys.readouterr().out
    main(["bench", "spectrum", "--resolution", "8", "--batches", "1", "--repeats", "1"])
    out = capsys.readouterr().out
    assert "over dctn" in out
    main(["bench", "samplers", "a.npz", "--levels", "2", "--calls", "5", "8"])
    out = capsys.readouterr().out
    assert "16 px; 1000 ancestral steps" in out
    assert out.count("DPM-Solver++(2M)") == 8
    assert "no such file" in refusal(["bench", "schedules", "none.npz"], capsys)
    assert "at least one" in refusal(["bench", "schedules"], capsys)
    assert "no chain" in refusal(["bench", "pareto", "a.npz", "--costs", "0.01"], capsys)


def test_models_of_grey_images_are_sampled(here):
    from ssd_models.training.config import TrainConfig
    from ssd_models.training.trainer import Trainer

    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 1), dtype=np.uint8)
    schedule = ResolutionSchedule.from_noise(np.repeat([16, 8], 50), NoiseSchedule.linear(100))
    config = TrainConfig(steps=2, batch_size=2, base_channels=8)
    Trainer(images, schedule, "run", config).train(progress=False)
    for output in ("grey.png", "grey"):
        main(["sample", "-n", "2", "--steps", "4", "--animation", "grey.webp", "-o", output])
    assert Image.open("grey/000001.png").size == (16, 16)
    assert Image.open("grey.webp").size == (2 * 128 + 2, 128)


@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_other_channels_are_sampled(channels, here, capsys, random_unet):
    from ssd_models.sampling.pipeline import ScaleSpacePipeline

    schedule = ResolutionSchedule.from_noise(np.repeat([16, 8], 50), NoiseSchedule.linear(100))
    pipeline = ScaleSpacePipeline(random_unet(std=0.05, in_channels=channels), schedule)
    pipeline.save_pretrained("run")
    command = ["sample", "-n", "2", "--steps", "4"]
    main([*command, "--animation", "other.gif", "-o", "other.npz"])
    assert np.load("other.npz")["images"].shape == (2, 16, 16, channels)
    assert Image.open("other.gif").size == (2 * channels * 128 + 2, 128)
    main([*command, "-o", "other.png"])
    assert Image.open("other.png").size == (2 * channels * 16 + 2, 16)
    said = command_refusal([*command, "-o", "other"], capsys)
    assert f"other: PNG files of {channels} channels" in said
    assert not Path("other").exists()


def test_processes_that_each_hold_the_images_say_so(here, capsys, monkeypatch):
    main(["prepare", "images", "-o", "prepared", "--resolution", "16"])
    main(["schedule", "paper", "equal", "--resolution", "16", "--levels", "2"])
    monkeypatch.setenv("WORLD_SIZE", "3")
    for data, noted in (("images", True), ("prepared", False)):
        capsys.readouterr()
        with pytest.raises(SystemExit):  # the images have no classes
            main(["train", "--data", data, *TINY, "--class-conditional"])
        error = capsys.readouterr().err
        assert "has no class for every image" in error
        assert ("each of 3 processes holds the images, 9.22e-06 GB" in error) == noted
