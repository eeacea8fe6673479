"""Hugging Face datasets from local files: the same pixels, classes and names, and no network."""

from __future__ import annotations

import builtins
import io
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from helpers import in_threads, refusal
from PIL import Image

from ssd_models.data.opening import open_images
from ssd_models.data.preparing import prepare

datasets = pytest.importorskip("datasets")

NAMES = ("cat", "dog")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 10, 10, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Local names may not so much as look for a connection."""

    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


def table(rows=range(6), **columns):
    rows = list(rows)
    data = {
        "picture": [{"bytes": png(PIXELS[i]), "path": f"{i}.png"} for i in rows],
        "size": [10] * len(rows),
        "kind": [i % 2 for i in rows],
        **columns,
    }
    features = {
        "picture": datasets.Image(),
        "size": datasets.Value("int64"),
        "kind": datasets.ClassLabel(names=list(NAMES)),
        **{name: datasets.Value("string") for name in columns},
    }
    return datasets.Dataset.from_dict(data, features=datasets.Features(features))


def make(form: str) -> str:
    match form:
        case "parquet folder":
            Path("data").mkdir()
            table().to_parquet("data/train-00000-of-00001.parquet")
            table([1]).to_parquet("data/test-00000-of-00001.parquet")
        case "parquet":
            table().to_parquet("da[t]a*.parquet")
            return "da[t]a*.parquet"
        case "arrow":
            table().save_to_disk("saved")
            return next(Path("saved").glob("*.arrow")).as_posix()
        case "saved dict":
            datasets.DatasetDict({"train": table(), "test": table([1])}).save_to_disk("data")
        case "saved":
            table().save_to_disk("data")
        case "images":
            for i, pixels in enumerate(PIXELS):
                path = Path("data", "train", NAMES[i % 2], f"{i}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(pixels))
    return "data"


FORMS = ["parquet folder", "parquet", "arrow", "saved dict", "saved", "images"]


@pytest.mark.parametrize("form", FORMS)
def test_every_local_form_gives_pixels_classes_and_names(form):
    source = open_images(f"hf:{make(form)}", 10)
    found = {name: pixels for name, pixels in zip(source.names(), source.load(), strict=True)}
    prefix = "train/{}/" if form == "images" else ""
    for i, pixels in enumerate(PIXELS):
        np.testing.assert_array_equal(found[f"{prefix.format(NAMES[i % 2])}{i}.png"], pixels)
    classes = source.classes()
    assert classes.names == NAMES
    numbers = [int(re.search(r"(\d)\.png", name)[1]) for name in source.names()]
    assert classes.labels.tolist() == [number % 2 for number in numbers]


def test_json_names_files_beside_it():
    make("images")
    rows = [{"file": f"train/{NAMES[i % 2]}/{i}.png", "says": NAMES[i % 2]} for i in range(6)]
    Path("data/list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refusal(lambda: open_images("hf:data/list.jsonl", 10))
    assert (
        "has no columns of images; name one, as in hf:NAME:train:file; it has file, says" in message
    )
    source = open_images("hf:data/list.jsonl:train:file:says", 10)
    np.testing.assert_array_equal(source.load(), PIXELS)
    assert source.classes().names == NAMES
    assert source.classes().labels.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("path", ["../private.png", "/absolute/private.png", "a/../../private.png"])
def test_rows_name_no_files_outside_of_the_dataset(path, tmp_path):
    make("images")
    (tmp_path / "private.png").write_bytes(png(PIXELS[0]))
    rows = [{"file": path.replace("/absolute", str(tmp_path))}, {"file": "train/dog/1.png"}]
    Path("data/list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refusal(lambda: open_images("hf:data/list.jsonl:train:file", 10).load())
    assert "private.png lies outside of the dataset" in message


def test_pictures_are_decoded_by_the_rule_of_files():
    pixels = PIXELS[0].copy()
    clear = np.dstack([pixels, np.full((10, 10), 255, np.uint8)])
    clear[3, 3, 3] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(turned, "PNG", exif=exif)
    rows = [
        {"bytes": b, "path": None} for b in (png(clear), turned.getvalue(), png(pixels[..., 0]))
    ]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": rows}, features=features).to_parquet("d.parquet")
    source = open_images("hf:d.parquet", 10)
    found = source.load()
    pixels[3, 3] = 255
    np.testing.assert_array_equal(found[0], pixels)
    np.testing.assert_array_equal(found[1], PIXELS[0])
    np.testing.assert_array_equal(found[2], np.repeat(PIXELS[0][..., :1], 3, axis=2))
    assert source.names() == ["image 0", "image 1", "image 2"]
    assert source.classes() is None


def test_splits_are_chosen_and_joined():
    make("saved dict")
    assert len(open_images("hf:data", 10)) == 6
    np.testing.assert_array_equal(open_images("hf:data:test", 10).load(), PIXELS[1:2])
    both = open_images("hf:data:test+train", 10)
    np.testing.assert_array_equal(both.load(), PIXELS[[1, *range(6)]])
    assert both.names()[:2] == ["image 0", "image 1"], "1.png is there twice"
    assert both.classes().labels.tolist() == [1, 0, 1, 0, 1, 0, 1]
    for split in ("val", "train+val"):
        message = refusal(lambda split=split: open_images(f"hf:data:{split}", 10))
        assert "has no split 'val'; it has train, test" in message


@pytest.mark.parametrize("name", ["C:\\data", "C:/data", "c:\\"])
def test_a_drive_is_part_of_the_name(name):
    """On systems without drives these are names like any others."""
    Path(name).mkdir(parents=True)
    table().to_parquet(f"{name}/train-00000-of-00001.parquet")
    assert len(open_images(f"hf:{name}", 10)) == 6
    assert open_images(f"hf:{name}:train:picture:kind", 10).classes().names == NAMES


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("hf:", r"hf:: write hf:NAME\[:SPLIT"),
        ("hf:data:train:picture:kind:more", r"write hf:NAME\[:SPLIT"),
        ("hf:x:/data", r"there is no file x:/data"),
        ("hf:data:/train", r"has no split '/train'; it has train"),
        ("hf:data::photo", r"has no column 'photo'; it has picture, size, kind"),
        ("hf:data:train::sort", r"has no column 'sort'; it has picture, size, kind"),
        ("hf:data:train:size", r"column 'size' holds .*int64.*, no images; name another one"),
        ("hf:./nowhere/d.parquet", r"there is no file \./nowhere/d\.parquet"),
        ("hf:notes.txt", r"notes\.txt: is no form of dataset; give a folder or \.parquet"),
        ("hf:text.parquet", r"text\.parquet: cannot be read \(.*\); give a folder"),
        ("hf:empty", r"hf:empty: cannot be read \(.*\); give a folder"),
    ],
)
def test_what_cannot_be_used_is_one_line(data, said):
    make("saved")
    Path("notes.txt").write_text("text")
    Path("text.parquet").write_text("text")
    Path("empty").mkdir()
    assert re.search(said, refusal(lambda: open_images(data, 10)))


def test_several_columns_must_be_named():
    two = table().add_column("again", [{"bytes": png(p[::-1]), "path": None} for p in PIXELS])
    two = two.cast_column("again", datasets.Image()).add_column("other", [0] * 6)
    two.cast_column("other", datasets.ClassLabel(names=["x", "y"])).save_to_disk("two")
    message = refusal(lambda: open_images("hf:two", 10))
    assert "has 2 columns of images; name one, as in hf:NAME:train:picture" in message
    source = open_images("hf:two:train:again", 10)
    np.testing.assert_array_equal(source.load(), PIXELS[:, ::-1])
    message = refusal(source.classes)
    assert (
        "several columns of classes, kind, other; name one, as in hf:NAME:train:again:kind"
        in message
    )
    assert open_images("hf:two:train:again:kind", 10).classes().names == NAMES


def test_hidden_labels_are_none_and_half_hidden_ones_refused():
    kinds = {"kind": datasets.ClassLabel(names=list(NAMES)), "picture": datasets.Image()}
    for labels in ([-1, -1], [0, -1]):
        rows = {"kind": labels, "picture": [{"bytes": png(p), "path": None} for p in PIXELS[:2]]}
        datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk("hidden")
        source = open_images("hf:hidden", 10)
        if labels[0] == -1:
            assert source.classes() is None
        else:
            assert "whole numbers from 0" in refusal(source.classes)


def test_bad_rows_are_skipped_like_bad_files():
    rows = [
        {"bytes": png(PIXELS[0]), "path": None},
        {"bytes": b"text", "path": "b.png"},
        None,
        {"bytes": None, "path": "c.png"},
    ]
    Path("c.png").write_bytes(b"")
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": rows}, features=features).save_to_disk("bad")
    skipped = []
    found = open_images("hf:bad", 10).load(skipped=skipped)
    np.testing.assert_array_equal(found, PIXELS[:1])
    assert [image.reason for image in skipped] == [
        "not an image",
        "no image in this row",
        "an empty file",
    ]


def test_rows_are_read_from_any_thread():
    source = open_images(f"hf:{make('saved')}", 10)
    wrong = []
    with source._images.open() as read:

        def draw(seed: int) -> None:
            for i in np.random.default_rng(seed).integers(0, 6, 200).tolist():
                if not np.array_equal(np.asarray(read(i)), PIXELS[i]):
                    wrong.append(i)

        in_threads(draw)
    assert not wrong


def test_a_dataset_is_prepared_by_several_threads():
    data = f"hf:{make('saved')}"
    prepare(data, "out", 10, workers=2)
    source, prepared = open_images(data, 10), open_images("out", 10)
    np.testing.assert_array_equal(prepared.load(), source.load())
    assert prepared.names() == source.names()
    assert prepared.classes().names == NAMES


def test_imagenet_of_the_hub_is_named_by_its_file_names():
    wnids = ["n01443537", "n01440764"]
    rows = [
        {"bytes": png(PIXELS[i]), "path": f"{wnids[i % 2]}_{i}_{wnids[i % 2]}.JPEG"}
        for i in range(6)
    ]
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["goldfish", "tench"]),
    }
    data = {"image": rows, "label": [0, 1] * 3}
    datasets.Dataset.from_dict(data, features=datasets.Features(features)).save_to_disk("net")
    classes = open_images("imagenet:hf:net", 10, limit=6).classes()
    assert classes.names == ("n01440764", "n01443537")
    assert classes.labels.tolist() == [1, 0] * 3


def test_code_in_a_dataset_is_not_run():
    Path("code").mkdir()
    Path("code/code.py").write_text("open('ran', 'w').close()")
    assert "cannot be read" in refusal(lambda: open_images("hf:code", 10))
    assert not Path("ran").exists()


def test_an_unknown_name_of_the_hub_is_one_line(monkeypatch):
    def unreachable(name):
        raise ConnectionError(f"Couldn't reach\n'{name}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    message = refusal(lambda: open_images("hf:no-one/nothing", 10))
    assert message == (
        "hf:no-one/nothing: no such file, and not found on the hub (Couldn't reach "
        "'no-one/nothing' on the Hub); check the name and the network, and run `hf auth login` if "
        "the dataset asks for it"
    )


def test_without_the_extra_its_command_is_given(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    message = refusal(lambda: open_images("hf:data", 10))
    assert message.endswith('pip install "scale-space-diffusion[datasets]"')
