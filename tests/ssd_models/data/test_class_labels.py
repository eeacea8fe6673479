"""Classes of a dataset, in each of the forms that data come in."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from ssd_models.data.opening import open_images
from theory import InputError

NAMES = ["b/2.png", "a/10.png", "a/9.png", "train/c/x.png", "val/c/y.png"]


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


def write(tmp_path, form, names, stated=None, place=""):
    """A folder or zip of one-coloured images, the i-th of shade i; labels are ``stated``."""
    extra = {} if stated is None else {f"{place}dataset.json": json.dumps(stated)}
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for i, name in enumerate(names):
                archive.writestr(name, png(i))
            for name, text in extra.items():
                archive.writestr(name, text)
        return tmp_path / "data.zip"
    for i, name in enumerate(names):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(png(i))
    for name, text in extra.items():
        (tmp_path / "data" / name).write_text(text)
    return tmp_path / "data"


def by_shade(source):
    """Class name of each image, by its shade."""
    classes = source.classes()
    shades = source.load()[:, 0, 0, 0].tolist()
    return {s: classes.names[i] for s, i in zip(shades, classes.labels, strict=True)}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_folder_is_a_class_wherever_it_lies(form, tmp_path):
    source = open_images(write(tmp_path, form, NAMES), 4)
    assert by_shade(source) == {0: "b", 1: "a", 2: "a", 3: "c", 4: "c"}
    assert source.classes().counts == {"a": 2, "b": 1, "c": 2}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_labels_of_an_archive_go_before_folders(form, tmp_path):
    stated = {"labels": [[name, i % 3] for i, name in enumerate(NAMES)]}
    source = open_images(write(tmp_path, form, NAMES, stated), 4)
    assert by_shade(source) == {0: "0", 1: "1", 2: "2", 3: "0", 4: "1"}
    (tmp_path / "none").mkdir()
    unlabelled = open_images(write(tmp_path / "none", form, NAMES, {"labels": None}), 4)
    assert unlabelled.classes() is None


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("place", ["", "top/", "top/chunk/"])
def test_labels_lie_in_any_folder_that_holds_all_images(form, place, tmp_path):
    """One folder with everything else in it, of images in one chunk: the names are relative."""
    names = [f"top/chunk/{name}" for name in NAMES]
    stated = {"labels": [[name.removeprefix(place), i % 3] for i, name in enumerate(names)]}
    source = open_images(write(tmp_path, form, names, stated, place), 4)
    assert by_shade(source) == {0: "0", 1: "1", 2: "2", 3: "0", 4: "1"}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_labels_of_a_part_of_the_images_are_not_taken(form, tmp_path):
    stated = {"labels": [["2.png", 7]]}
    source = open_images(write(tmp_path, form, NAMES, stated, "b/"), 4)
    assert by_shade(source) == {0: "b", 1: "a", 2: "a", 3: "c", 4: "c"}


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"labels": [["b/2.png", 0]]}, "no label for 4 images, such as a/9.png"),
        ({"labels": [["b/2.png"]]}, "mend or remove it"),
        ([1], "mend or remove it"),
        ({"labels": [["b/2.png", float("inf")]]}, "mend or remove it"),
        ({"labels": [[name, -1] for name in NAMES]}, "whole numbers from 0"),
    ],
)
def test_damaged_labels_are_refused(stated, said, tmp_path):
    with pytest.raises(InputError, match=said):
        open_images(write(tmp_path, "zip", NAMES, stated), 4).classes()


def test_labels_compressed_in_an_unknown_way_are_refused(tmp_path):
    path = write(tmp_path, "zip", NAMES, {"labels": []})
    data = bytearray(path.read_bytes())
    # The last header of either kind is that of the labels.
    for header, field in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.rindex(header) + field] = 97  # WavPack
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"dataset\.json cannot be read \(.*; pack the archive"):
        open_images(path, 4).classes()


def test_images_of_one_folder_or_none_have_no_classes(tmp_path):
    for i, names in enumerate((["1.png", "a/2.png"], ["a/1.png", "a/2.png"])):
        (tmp_path / str(i)).mkdir()
        assert open_images(write(tmp_path / str(i), "zip", names), 4).classes() is None


def test_a_subset_keeps_labels_and_all_names(tmp_path):
    source = open_images(write(tmp_path, "folder", NAMES), 4, limit=2)
    whole = by_shade(open_images(tmp_path / "data", 4))
    assert source.classes().names == ("a", "b", "c")
    assert by_shade(source).items() <= whole.items()
    assert len(by_shade(source)) == 2


def test_arrays_name_classes_by_number(tmp_path):
    images = np.zeros((3, 4, 4, 3), np.uint8)
    labels = np.array([2, 0, 2])
    for keys in ({"images": images, "labels": labels}, {"arr_0": images, "arr_1": labels}):
        np.savez(tmp_path / "data.npz", **keys)
        classes = open_images(tmp_path / "data.npz", 4).classes()
        assert classes.labels.tolist() == [2, 0, 2]
        assert classes.names == ("0", "1", "2")
    np.savez(tmp_path / "data.npz", images=images)
    assert open_images(tmp_path / "data.npz", 4).classes() is None
    np.savez(tmp_path / "data.npz", images=images, labels=labels[:2])
    with pytest.raises(InputError, match="2 labels for 3 images"):
        open_images(tmp_path / "data.npz", 4).classes()
    np.savez(tmp_path / "data.npz", images=images, labels=labels + 10**9)
    with pytest.raises(InputError, match="a label 1000000002, which is no number of a class"):
        open_images(tmp_path / "data.npz", 4).classes()
    np.savez(tmp_path / "data.npz", images=images, labels=labels / 2)
    with pytest.raises(InputError, match="labels are float64"):
        open_images(tmp_path / "data.npz", 4).classes()


def test_photographs_are_classes_of_their_crops():
    source = open_images("photos", 16, limit=64)
    classes = source.classes()
    assert "astronaut" in classes.names
    assert set(classes.labels) == set(range(len(classes.names)))
    # The cat and the cup of coffee are warm, wherever they are cropped.
    images = source.load().astype(float)
    means = {n: images[classes.labels == i].mean((0, 1, 2)) for i, n in enumerate(classes.names)}
    assert means["chelsea"][0] > means["chelsea"][2]
    assert means["coffee"][0] > means["coffee"][2]
