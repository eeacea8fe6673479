"""Prepared directories: same images as their source, resumable to the byte, damage is named."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import command_refusal, in_threads, refusal
from PIL import Image

from ssd_models.cli import main
from ssd_models.data import preparing
from ssd_models.data.arrays import MappedImages
from ssd_models.data.opening import open_images
from ssd_models.data.prepared import verify
from ssd_models.data.preparing import prepare
from ssd_models.data.source import ImageSource
from theory.support.files import locked

COUNT = 22


def png(size: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images of three classes; progress is saved after each batch of 5 images."""
    monkeypatch.setattr(preparing, "_BATCH_MOST", 5)
    monkeypatch.setattr(preparing, "_SAVE_EVERY", 0.0)
    monkeypatch.chdir(tmp_path)
    for i in range(COUNT):
        path = tmp_path / "data" / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(12, i))
    return Path("data")


def spoil(folder: Path, *numbers: int) -> None:
    for i in numbers:
        (folder / "abc"[i % 3] / f"{i}.png").write_bytes(b"text")


def content(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


# ---- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "seed"), [(None, 0), (13, 0), (13, 1)])
def test_a_prepared_directory_is_its_source(limit, seed, folder):
    source = open_images(folder, 8, limit=limit, seed=seed)
    manifest = prepare(str(folder), "out", 8, limit, seed, workers=1)
    prepared = open_images("out", 8)
    assert manifest["count"] == len(prepared) == len(source)
    np.testing.assert_array_equal(prepared.load(), source.load())
    assert prepared.names() == source.names()
    assert prepared.classes().names == ("a", "b", "c")
    np.testing.assert_array_equal(prepared.classes().labels, source.classes().labels)
    np.testing.assert_array_equal(open_images("out", None).load(), source.load())


def test_limits_and_shards_and_reductions_of_a_prepared_directory(folder):
    prepare(str(folder), "out", 12, workers=1)
    whole = open_images("out", 12)
    part = open_images("out", 12, limit=9, seed=3)
    chosen = [whole.names().index(name) for name in part.names()]
    assert chosen == sorted(chosen)
    np.testing.assert_array_equal(part.load(), whole.load()[chosen])
    np.testing.assert_array_equal(part.classes().labels, whole.classes().labels[chosen])
    np.testing.assert_array_equal(part.shard(1, 1).load(), part.load())
    np.testing.assert_array_equal(open_images("out", 8).load(), open_images(folder, 8).load())
    assert "was prepared at 12 px, smaller than 13" in refusal(lambda: open_images("out", 13))


def test_bytes_do_not_depend_on_workers_and_files_are_as_documented(folder):
    prepare(str(folder), "one", 8, workers=1)
    prepare(str(folder), "two", 8, workers=2)
    files = content(Path("one"))
    assert files == content(Path("two"))
    assert set(files) == {".lock", "images.npy", "prepared.json"}
    record = json.loads(files["prepared.json"])
    assert record["format"] == "scale-space-prepared/2"
    assert (record["source"], record["resolution"], record["images"]) == ("data", 8, COUNT)
    assert (record["count"], record["skipped"], record["channels"]) == (COUNT, [], 3)
    source = open_images(folder, 8)
    assert record["names"] == source.names()
    assert record["labels"] == source.classes().labels.tolist()
    assert record["classes"] == ["a", "b", "c"]
    assert record["sha256"] == hashlib.sha256(files["images.npy"]).hexdigest()
    images = np.load("one/images.npy")
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, source.load())


def test_data_without_classes_have_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("grey.npy", np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4))
    prepare("grey.npy", "out", 4)
    assert open_images("out", 4).classes() is None
    assert open_images("out", 4).names() == ["image 0", "image 1", "image 2"]


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_are_no_colours_stay(channels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("a.npy", rng.integers(0, 256, (5, 8, 8, channels), dtype=np.uint8))
    for resolution in (8, 4):
        prepare("a.npy", f"out{resolution}", resolution)
        expected = open_images("a.npy", resolution).load()
        prepared = open_images(f"out{resolution}", resolution)
        assert prepared.channels == channels
        np.testing.assert_array_equal(prepared.load(), expected)
        np.testing.assert_array_equal(prepared.random_access()[:], expected)


# ---- resuming ------------------------------------------------------------------------------------

KILLED = """
import ssd_models.data.preparing as p
p._BATCH_MOST, p._SAVE_EVERY = 8, 0.0
p.prepare("photos", "out", 64, limit=480, workers=2)
"""


def done() -> int:
    """Images of the unfinished directory ``out`` that a pass need not decode again."""
    path = Path("out/preparing.json")
    return json.loads(path.read_text())["done"] if path.is_file() else 0


@pytest.mark.slow
def test_a_killed_pass_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", KILLED], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while done() < 24 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not Path("out/prepared.json").exists()
    assert not Path("out/images.npy").exists()
    message = "not complete; run the same `ssd prepare` again to finish it"
    assert message in refusal(lambda: open_images("out", 64))
    first = done()
    assert 24 <= first < 480

    decoded = watch_decoding(monkeypatch)
    prepare("photos", "out", 64, limit=480, workers=1)
    assert sorted(decoded) == list(range(first, 480))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    prepare("photos", "whole", 64, limit=480, workers=1)
    assert content(Path("out")) == content(Path("whole"))


def watch_decoding(monkeypatch) -> list[int]:
    """Return a list to which the positions of all images that are decoded are added."""
    decoded: list[int] = []
    fill = ImageSource._fill

    def watched(self, out, read, places):
        decoded.extend(places)
        return fill(self, out, read, places)

    monkeypatch.setattr(ImageSource, "_fill", watched)
    return decoded


STEPS = ["write_json", "os.replace", "os.fsync", "sha256", "_write_header", "Path.unlink"]


@pytest.mark.parametrize("step", STEPS)
def test_a_pass_that_is_stopped_at_any_step_can_be_continued(step, folder, monkeypatch):
    """Stopped before and after the first, second, … call of each function that changes files."""
    spoil(folder, 3, 16)
    prepare(str(folder), "whole", 8, workers=1, skipped=[])
    whole = content(Path("whole"))

    class Stop(BaseException):
        pass

    for call in range(100):
        shutil.rmtree("out", ignore_errors=True)
        with monkeypatch.context() as patch:
            reached = stop_at(patch, step, call // 2, after=bool(call % 2), stop=Stop)
            with contextlib.suppress(Stop):
                prepare(str(folder), "out", 8, workers=1, skipped=[])
        if Path("out/prepared.json").is_file():
            np.testing.assert_array_equal(open_images("out", 8).load(), np.load("whole/images.npy"))
        else:
            refusal(lambda: open_images("out", 8))
        prepare(str(folder), "out", 8, workers=1, skipped=[])
        assert content(Path("out")) == whole
        if not reached:
            return
    raise AssertionError("the pass does not end")


def stop_at(patch, step: str, number: int, *, after: bool, stop: type[BaseException]) -> list[int]:
    """Raise in the given call of a function; the list is empty as long as there was none."""
    owner, name = {"os": os, "Path": Path, "": preparing}[step.rpartition(".")[0]], step.split(".")
    real = getattr(owner, name[-1])
    calls, reached = iter(range(1000)), []

    def stopping(*args, **options):
        if next(calls) != number:
            return real(*args, **options)
        reached.append(number)
        if after:
            real(*args, **options)
        raise stop

    patch.setattr(owner, name[-1], stopping)
    return reached


def test_a_complete_directory_is_left_alone(folder):
    prepare(str(folder), "out", 8, workers=1)
    times = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    prepare(str(folder), "out", 8, workers=1)
    assert times == {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}


def test_images_that_the_record_does_not_cover_are_made_again(folder):
    spoil(folder, 16)
    refusal(lambda: prepare(str(folder), "out", 8, workers=1))
    assert done() == 10
    partial = Path("out/preparing.npy")
    partial.write_bytes(partial.read_bytes()[:-1])  # as after a loss of power
    prepare(str(folder), "out", 8, workers=1, skipped=[])
    prepare(str(folder), "whole", 8, workers=1, skipped=[])
    assert content(Path("out")) == content(Path("whole"))


def test_a_folder_that_another_process_writes_is_refused(folder):
    spoil(folder, 0)
    refusal(lambda: prepare(str(folder), "out", 8, workers=1))
    before = content(Path("out"))
    with locked("out"):
        message = refusal(lambda: prepare(str(folder), "out", 8, workers=1, skipped=[]))
    assert "out: another process writes there" in message
    assert content(Path("out")) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resolution": 6}, "resolution 8, not 6;"),
        ({"limit": 9, "seed": 2}, "limit None, not 9; seed 0, not 2; images 22, not 9;"),
        ({"data": "copy"}, "source 'data', not 'copy';"),
    ],
)
def test_a_directory_of_other_settings_is_refused(options, said, folder):
    shutil.copytree(folder, "copy")
    prepare(str(folder), "out", 8, workers=1)
    before = content(Path("out"))
    again = {"data": str(folder), "output": "out", "resolution": 8, **options}
    assert f"out: was begun with {said} choose another folder" in refusal(lambda: prepare(**again))
    assert content(Path("out")) == before


def test_a_source_that_has_changed_is_refused(folder):
    prepare(str(folder), "out", 8, workers=1)
    (folder / "a/0.png").rename(folder / "a/00.png")
    message = refusal(lambda: prepare(str(folder), "out", 8))
    assert "out: was begun with images of other names or labels; choose another" in message


def test_other_folders_are_not_written_to(folder):
    Path("used").mkdir()
    Path("used/notes.txt").write_text("mine")
    assert "is not empty; choose another" in refusal(lambda: prepare(str(folder), "used", 8))
    assert [path.name for path in Path("used").iterdir()] == ["notes.txt"]
    Path("file").write_text("mine")
    assert "choose another folder" in refusal(lambda: prepare(str(folder), "file", 8))
    assert "workers 0" in refusal(lambda: prepare(str(folder), "new", 8, workers=0))
    assert not Path("new").exists()


# ---- unusable images -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_images_are_listed_and_left_out_only_on_request(workers, folder, capsys):
    spoil(folder, 3, 4, 16)  # by name the positions 1 of a, 1 of b and 5 of b
    options = [str(folder), "-o", "out", "--resolution", "8", "--workers", str(workers)]
    line = command_refusal(["prepare", *options], capsys)
    assert "3 of the 22 images cannot be used: a/3.png (not an image), b/4.png" in line
    assert "--skip-bad" in line
    assert not Path("out/prepared.json").exists()
    main(["prepare", *options, "--skip-bad"])
    expected = [
        "warning: skipped 3 of 22 images:",
        *[f"  {name} (not an image)" for name in ("a/3.png", "b/4.png", "b/16.png")],
    ]
    error = capsys.readouterr().err
    assert error[error.index("warning") :].splitlines() == expected

    source = open_images(folder, 8)
    skipped = []
    images = source.load(skipped=skipped)
    prepared = open_images("out", 8)
    np.testing.assert_array_equal(prepared.load(), images)
    assert prepared.names() == source.without(skipped).names()
    np.testing.assert_array_equal(
        prepared.classes().labels, source.without(skipped).classes().labels
    )
    assert np.load("out/images.npy").shape == (19, 8, 8, 3)
    record = json.loads(Path("out/prepared.json").read_text())
    assert record["skipped"] == [[image.index, image.name, image.reason] for image in skipped]
    again = []
    prepare(str(folder), "out", 8, skipped=again)
    assert again == skipped


def test_images_before_a_bad_one_are_kept_and_messages_count_all(folder, monkeypatch):
    spoil(folder, 16)
    for _ in range(2):  # the second time, images before the bad one are not decoded again
        message = refusal(lambda: prepare(str(folder), "out", 8, workers=1))
        assert "1 of the 22 images cannot be used: b/16.png" in message
        assert done() == 10
    decoded = watch_decoding(monkeypatch)
    skipped = []
    prepare(str(folder), "out", 8, workers=1, skipped=skipped)
    assert sorted(decoded) == list(range(10, COUNT))
    assert [(image.index, image.name) for image in skipped] == [(13, "b/16.png")]


def test_mended_images_are_taken_once_bad_ones_are_not_skipped_any_more(folder, monkeypatch):
    mended = (folder / "b/16.png").read_bytes()
    prepare(str(folder), "whole", 8, workers=1)
    spoil(folder, 16)
    prepare(str(folder), "out", 8, workers=1, skipped=[])
    assert "b/16.png" in refusal(lambda: prepare(str(folder), "out", 8, workers=1))
    assert "run the same `ssd prepare` again" in refusal(lambda: open_images("out", 8))
    (folder / "b/16.png").write_bytes(mended)
    decoded = watch_decoding(monkeypatch)
    prepare(str(folder), "out", 8, workers=1)
    assert sorted(decoded) == list(range(13, COUNT))
    assert content(Path("out")) == content(Path("whole"))


def test_batches_of_bad_images_leave_nothing_and_a_directory_of_them_is_refused(folder):
    order = open_images(folder, 8).names()
    for name in order[5:10]:
        (folder / name).write_bytes(b"text")
    prepare(str(folder), "out", 8, workers=1, skipped=[])
    random = open_images("out", 8).random_access()
    assert random.shape == (17, 8, 8, 3)
    np.testing.assert_array_equal(random[:], open_images("out", 8).load())
    for name in order:
        (folder / name).write_bytes(b"text")
    message = refusal(lambda: prepare(str(folder), "none", 8, workers=1, skipped=[]))
    assert "22 of the 22 images cannot be used" in message
    assert not Path("none/prepared.json").exists()


def test_a_hopeless_pass_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "_BATCH_MOST", 50)
    (tmp_path / "d").mkdir()
    for i in range(400):
        (tmp_path / "d" / f"{i}.png").write_bytes(b"text")
    message = refusal(lambda: prepare(str(tmp_path / "d"), tmp_path / "out", 8, workers=1))
    assert "100 of the first 100 of 400 images" in message


# ---- damage --------------------------------------------------------------------------------------


def edit(path: str, **changes) -> None:
    fields = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**fields, **changes}))


def damage(kind: str) -> None:
    images, record = Path("out/images.npy"), "out/prepared.json"
    whole = images.read_bytes()
    match kind:
        case "truncated":
            images.write_bytes(whole[:-1])
        case "missing":
            images.unlink()
        case "other shape":
            np.save(images, np.zeros((44, 4, 8, 3), np.uint8))  # as large as before
        case "fortran":
            np.save(images, np.asfortranarray(np.load(images)))
        case "no header":
            images.write_bytes(b"x" * len(whole))
        case "objects":
            np.save(images, np.array([None] * 22), allow_pickle=True)
        case "format":
            edit(record, format="scale-space-prepared/9")
        case "text":
            Path(record).write_text("text")
        case "list":
            Path(record).write_text("[1]")
        case "no field":
            fields = json.loads(Path(record).read_text())
            del fields["count"]
            Path(record).write_text(json.dumps(fields))
        case "wrong type":
            edit(record, resolution="8")
        case "boolean":
            edit(record, seed=True)
        case "wrong entry":
            edit(record, skipped=[[1, "a.png"]])
        case "count":
            edit(record, count=21)
        case "numbers":
            edit(record, images=-1)
        case "names":
            edit(record, names=[None] * 22)
        case "classes":
            edit(record, classes=["a", "b"])
        case "class":
            edit(record, labels=[-1] * 22)
        case "labels":
            edit(record, labels=[0])
        case "no classes":
            edit(record, classes=None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", r"images\.npy: is damaged \(mmap length is greater .*; remove out and run"),
        ("missing", r"images\.npy: is missing; remove out and run `ssd prepare` again"),
        ("other shape", r"images\.npy: is damaged \(uint8 of shape \(44, 4, 8, 3\), not uint8 of"),
        ("fortran", r"images\.npy: is damaged"),
        ("no header", r"images\.npy: is damaged"),
        ("objects", r"images\.npy: is damaged"),
        ("format", r"prepared\.json: has format 'scale-space-prepared/9', expected"),
        ("text", r"prepared\.json: is damaged \(Expecting value"),
        ("list", r"prepared\.json: has format None, expected"),
        ("no field", r"prepared\.json: is damaged \(no field 'count'\)"),
        ("wrong type", r"prepared\.json: is damaged \('resolution' is \"8\"\)"),
        ("boolean", r"prepared\.json: is damaged \('seed' is true\)"),
        ("wrong entry", r"prepared\.json: is damaged \('skipped' is not a list of \[index, name"),
        ("count", r"prepared\.json: is damaged \(no 21 names\)"),
        ("numbers", r"prepared\.json: is damaged \(numbers of images contradict"),
        ("names", r"prepared\.json: is damaged \(no 22 names\)"),
        ("classes", r"prepared\.json: is damaged \(labels do not fit"),
        ("class", r"prepared\.json: is damaged \(labels do not fit"),
        ("labels", r"prepared\.json: is damaged \(labels do not fit"),
        ("no classes", r"prepared\.json: is damaged \(labels without classes"),
    ],
)
def test_damage_is_named(kind, said, folder):
    prepare(str(folder), "out", 8, workers=1)
    damage(kind)
    assert re.search(said, refusal(lambda: open_images("out", 8).classes()))
    assert re.search(said, refusal(lambda: verify(Path("out"))))
    assert re.search(said, refusal(lambda: prepare(str(folder), "out", 8)))


def test_directories_of_the_older_format_are_to_be_prepared_again(folder):
    Path("old").mkdir()
    for name in ("preparing.json", "prepared.json"):  # first as one that was not finished
        Path("old", name).write_text('{"format": "scale-space-prepared/1", "source": "data"}')
        for use in (lambda: open_images("old", 8), lambda: prepare(str(folder), "old", 8)):
            message = refusal(use)
            assert f"old/{name}: has format 'scale-space-prepared/1'" in message
            assert "run `ssd prepare` again with a new folder" in message


def test_verifying_names_what_checksums_show(folder, capsys):
    prepare(str(folder), "out", 8, workers=1)
    main(["prepare", "out", "--verify"])
    assert "all 22 images are as they were written" in capsys.readouterr().out
    images = Path("out/images.npy")
    raw = bytearray(images.read_bytes())
    raw[-1] ^= 1
    images.write_bytes(raw)
    open_images("out", 8).classes()  # the size is as it was
    line = command_refusal(["prepare", "out", "--verify"], capsys)
    assert "images.npy: is damaged (does not have its checksum); remove out" in line
    raw[-1] ^= 1
    images.write_bytes(raw)
    edit("out/prepared.json", labels=[0] * COUNT)
    open_images("out", 8).classes()
    line = command_refusal(["prepare", "out", "--verify"], capsys)
    assert "prepared.json: is damaged (names and labels do not have their checksum)" in line
    images.unlink()
    assert "prepared.json" in refusal(lambda: verify(Path("out")))
    line = command_refusal(["prepare", str(folder), "--verify"], capsys)
    assert "data: is no prepared directory" in line


# ---- the disk ------------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(folder, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        options = ["photos", "-o", "disk/out", "--limit", "22", "--workers", "2"]
        line = command_refusal(["prepare", *options], capsys)
        assert re.search(r"disk/out: cannot be written \(No space left on device\); ", line)
        left = {path.name for path in (disk / "out").iterdir()}
        assert left == {".lock", "preparing.json", "preparing.npy"}
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        main(["prepare", *options])
        expected = open_images("photos", 64, limit=22).load()
        np.testing.assert_array_equal(open_images("disk/out", 64).load(), expected)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_cannot_be_written_is_one_line(folder, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        line = command_refusal(["prepare", str(folder), "-o", "disk/out"], capsys)
        assert "disk/out" in line
        assert "cannot be written" in line
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# ---- random access -------------------------------------------------------------------------------


def test_random_access_is_the_array(folder):
    prepare(str(folder), "out", 8, workers=1)
    for source in (open_images("out", 8), open_images("out", 8, limit=13, seed=1)):
        whole, images = source.load(), source.random_access()
        assert isinstance(images, MappedImages)
        assert (images.shape, images.dtype, len(images)) == (whole.shape, np.uint8, len(whole))
        chosen = np.random.default_rng(0).integers(0, len(whole), 50)
        for key in (chosen, list(chosen), slice(None), slice(9, 2, -3), slice(3, 3), 7, -1):
            np.testing.assert_array_equal(images[key], whole[key])
            assert images[key].flags.writeable
        few = np.arange(len(whole)) % 3 == 1
        np.testing.assert_array_equal(images[few], whole[few])
        part = images.subset(np.flatnonzero(few))
        assert isinstance(part, MappedImages)
        np.testing.assert_array_equal(part[1:4], whole[few][1:4])
        with pytest.raises(IndexError):
            images[len(whole)]


def test_random_access_from_several_threads(folder):
    prepare(str(folder), "out", 8, workers=1)
    images, whole = open_images("out", 8).random_access(), open_images("out", 8).load()
    wrong = []

    def draw(seed: int) -> None:
        for chosen in np.random.default_rng(seed).integers(0, COUNT, (200, 8)):
            if not np.array_equal(images[chosen], whole[chosen]):
                wrong.append(chosen)

    in_threads(draw)
    assert not wrong
