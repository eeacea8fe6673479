"""The resolution and levels of data that nobody has told anything about."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import refusal
from PIL import Image

from ssd_models.cli import main
from ssd_models.data.resolution import choose_resolution
from theory import ResolutionSchedule, Spectrum


def write_images(folder: Path, sizes) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((width, height)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("sizes", "resolution", "said"),
    [
        ([(32, 32)] * 4, 32, "the images have 32 px"),
        ([(48, 48)] * 4, 48, "the images have 48 px"),
        ([(100, 100)] * 4, 96, "the images have 100 px; rounded down from 100, so that the"),
        ([(300, 400)] * 4, 256, "the images have 300 px; more than 256 are used on request"),
        (
            [(40, 70), (70, 44), (90, 90)],
            40,
            "every image has 40 px or more (the smallest is 0.png), half 44",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_resolution_is_the_images_own(form, sizes, resolution, said, tmp_path):
    data = write_images(tmp_path / "images", sizes)
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for path in data.iterdir():
                archive.write(path, path.name)
        data = tmp_path / "images.zip"
    choice = choose_resolution(data)
    assert choice.resolution == resolution
    assert said in str(choice)
    assert "--resolution R chooses another" in str(choice)


def test_arrays_and_prepared_folders_and_crops_have_one_too(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 50, 37, 3), np.uint8))
    assert choose_resolution(tmp_path / "a.npy").resolution == 36
    data = write_images(tmp_path / "images", [(24, 24)] * 4)
    main(["prepare", str(data), "-o", str(tmp_path / "p"), "--workers", "1"])
    assert choose_resolution(tmp_path / "p").resolution == 24
    assert choose_resolution("photos").resolution == 64


def test_a_few_small_images_count_unless_they_may_be_left_out(tmp_path):
    data = write_images(tmp_path / "images", [(64, 64)] * 39 + [(16, 16)])
    (data / "x.png").write_text("no image")
    assert choose_resolution(data).resolution == 16
    assert choose_resolution(data, skip_small=True).resolution == 64


def test_of_many_images_some_are_looked_at(tmp_path, monkeypatch):
    """The choice speaks of those alone: a smaller image may be among the others."""
    monkeypatch.setattr("ssd_models.data.resolution._LOOKED_AT", 3)
    data = write_images(tmp_path / "images", [(40, 40), (16, 16), (64, 64), (48, 48), (50, 50)])
    said = "of 3 images looked at, each has 40 px or more (the smallest is 0.png), half 50"
    assert said in choose_resolution(data).reason


def test_data_without_a_readable_image_have_none(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.png").write_text("no image")
    assert "the size of no image can be read" in refusal(
        lambda: choose_resolution(tmp_path / "images")
    )


@pytest.mark.parametrize(
    ("side", "levels"),
    [(16, (16, 8, 4)), (20, (20, 10, 5)), (50, (48, 24, 12)), (69, (64, 32, 16, 8))],
)
def test_the_whole_flow_needs_no_options(side, levels, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(Path("images"), [(side, side)] * 45)
    main(["spectrum", "images"])
    assert f"resolution {levels[0]}: the images have {side} px" in capsys.readouterr().out
    main(["derive"])
    assert ResolutionSchedule.load("schedule.json").levels == levels
    main(["train", "--steps", "1", "--batch-size", "2", "--base-channels", "8"])
    main(["sample", "-n", "2", "--steps", "6"])
    main(["evaluate", "-n", "20", "--steps", "6"])
    out = capsys.readouterr().out
    assert "frechet scattering" in out
    assert Path("samples.png").is_file()


def test_levels_are_a_number_or_pixels_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Spectrum.power_law(48, 2.5).save("spectrum.npz")
    for given, levels in ((["2"], (48, 24)), (["48", "12"], (48, 12)), (["5"], (48, 24, 12, 6, 3))):
        main(["derive", "--levels", *given])
        assert ResolutionSchedule.load("schedule.json").levels == levels
    assert "`ssd train` has no network for levels [6, 3]" in capsys.readouterr().out


@pytest.mark.parametrize(("channels", "kind"), [(2, np.uint8), (4, np.uint8), (3, np.uint16)])
def test_arrays_of_any_channels_go_through_the_whole_flow(
    channels, kind, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    small = rng.integers(0, np.iinfo(kind).max + 1, (45, 4, 4, channels), dtype=kind)
    np.save("images.npy", small.repeat(4, axis=1).repeat(4, axis=2))
    main(["spectrum", "images.npy"])
    assert Spectrum.load("spectrum.npz").channels == channels
    main(["derive"])
    main(["prepare", "images.npy"])
    train = ["train", "--steps", "1", "--batch-size", "2", "--base-channels", "8"]
    main([*train, "--data", "prepared"])
    main(["sample", "-n", "2", "--steps", "6"])
    main(["sample", "-n", "2", "--steps", "6", "-o", "samples.npz"])
    assert np.load("samples.npz")["images"].shape == (2, 16, 16, channels)
    main(["evaluate", "-n", "20", "--steps", "6"])
    assert "frechet scattering" in capsys.readouterr().out
