"""Prepared directories: same images as their source, resumable to the byte, damage is named."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers import command_refusal, in_threads, refusal
from PIL import Image

from ssd_models.cli import main
from ssd_models.data import preparing
from ssd_models.data.mapped import MappedImages
from ssd_models.data.opening import open_images
from ssd_models.data.prepared import images_per_shard, shard_size
from ssd_models.data.preparing import prepare
from ssd_models.data.verifying import verify

COUNT = 22


def png(size: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images of three classes; shards hold 5 images each."""
    monkeypatch.setattr(preparing, "images_per_shard", lambda _: 5)
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
    manifest = json.loads(files["prepared.json"])
    assert manifest["format"] == "scale-space-prepared/1"
    assert (manifest["source"], manifest["resolution"], manifest["images"]) == ("data", 8, COUNT)
    assert (manifest["count"], manifest["skipped"]) == (COUNT, 0)
    assert [shard["count"] for shard in manifest["shards"]] == [5, 5, 5, 5, 2]
    for shard in manifest["shards"]:
        array = np.load(f"one/{shard['file']}")
        assert (array.dtype, array.shape) == (np.uint8, (shard["count"], 8, 8, 3))
        assert len(files[shard["file"]]) == shard["bytes"]


@pytest.mark.parametrize("resolution", [1, 28, 64, 256, 512, 6000])
def test_a_shard_has_64_mebibytes_and_8192_images_at_most(resolution):
    count, size = images_per_shard(resolution), resolution**2 * 3
    assert 1 <= count <= 8192
    assert count * size + 128 <= 2**26 or count == 1
    assert count == 8192 or (count + 1) * size > 2**26 - 2**11


def test_data_without_classes_have_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("grey.npy", np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4))
    prepare("grey.npy", "out", 4)
    assert open_images("out", 4).classes() is None
    assert open_images("out", 4).names() == ["image 0", "image 1", "image 2"]


# ---- resuming ------------------------------------------------------------------------------------

KILLED = """
import ssd_models.data.preparing as p
p.images_per_shard = lambda resolution: 8
p.prepare("photos", "out", 64, limit=480, workers=2)
"""


@pytest.mark.slow
def test_a_killed_pass_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preparing, "images_per_shard", lambda _: 8)
    process = subprocess.Popen([sys.executable, "-c", KILLED], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(Path("out").glob("images_*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive, "workers outlive the pass"
    assert not Path("out/prepared.json").exists()
    message = "not complete; run `ssd prepare` again to finish it"
    assert message in refusal(lambda: open_images("out", 64))
    done = {path: path.stat().st_mtime_ns for path in Path("out").glob("images_*.json")}
    assert 3 <= len(done) < 60

    prepare("photos", "out", 64, limit=480, workers=1)
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in done.items())
    prepare("photos", "whole", 64, limit=480, workers=1)
    assert content(Path("out")) == content(Path("whole"))


def test_a_complete_directory_is_left_alone_and_a_removed_shard_made_again(folder):
    prepare(str(folder), "out", 8, workers=1)
    before = content(Path("out"))
    times = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    prepare(str(folder), "out", 8, workers=1)
    assert times == {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    Path("out/images_00001.npy").unlink()
    assert "images_00001.npy: is missing; run the same" in refusal(lambda: open_images("out", 8))
    prepare(str(folder), "out", 8, workers=1)
    assert content(Path("out")) == before
    for path in ("prepared.json", "images_00002.json"):
        Path("out", path).write_text("{")
        Path("out", path).unlink()  # as the message says
        prepare(str(folder), "out", 8, workers=1)
        assert content(Path("out")) == before


def test_a_directory_that_is_mended_is_not_complete_meanwhile(folder):
    prepare(str(folder), "out", 8, workers=1)
    Path("out/images_00000.npy").unlink()
    spoil(folder, 0)
    refusal(lambda: prepare(str(folder), "out", 8, workers=1))
    assert "run `ssd prepare` again to finish it" in refusal(lambda: open_images("out", 8))


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
    kept = {path.name for path in Path("out").glob("images_*.npy")}
    assert kept == {"images_00003.npy", "images_00004.npy"}, "shards without bad images"
    times = {name: Path("out", name).stat().st_mtime_ns for name in kept}
    main(["prepare", *options, "--skip-bad"])
    assert times == {name: Path("out", name).stat().st_mtime_ns for name in kept}
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
    assert json.loads(Path("out/prepared.json").read_text())["skipped"] == 3
    again = []
    prepare(str(folder), "out", 8, skipped=again)
    assert again == skipped


def test_mended_images_are_taken_once_bad_ones_are_not_skipped_any_more(folder):
    mended = (folder / "a/3.png").read_bytes()
    prepare(str(folder), "whole", 8, workers=1)
    spoil(folder, 3)
    prepare(str(folder), "out", 8, workers=1, skipped=[])
    (folder / "a/3.png").write_bytes(mended)
    prepare(str(folder), "out", 8, workers=1)
    assert content(Path("out")) == content(Path("whole"))


def test_a_shard_of_bad_images_is_empty_and_a_directory_of_them_refused(folder):
    order = open_images(folder, 8).names()
    for name in order[5:10]:
        (folder / name).write_bytes(b"text")
    prepare(str(folder), "out", 8, workers=1, skipped=[])
    assert np.load("out/images_00001.npy").shape == (0, 8, 8, 3)
    random = open_images("out", 8).random_access()
    assert random.shape == (17, 8, 8, 3)
    np.testing.assert_array_equal(random[:], open_images("out", 8).load())
    for name in order:
        (folder / name).write_bytes(b"text")
    message = refusal(lambda: prepare(str(folder), "none", 8, workers=1, skipped=[]))
    assert "22 of the 22 images cannot be used" in message
    assert not Path("none/prepared.json").exists()


def test_a_hopeless_pass_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "images_per_shard", lambda _: 50)
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
    shard, manifest, sidecar = Path("out/images_00001.npy"), "out/prepared.json", "images_00001"
    whole = shard.read_bytes()
    match kind:
        case "truncated":
            shard.write_bytes(whole[:-1])
        case "missing":
            shard.unlink()
        case "other shape":
            np.save(shard, np.zeros((10, 4, 8, 3), np.uint8))  # as large as before
        case "no header":
            shard.write_bytes(b"x" * len(whole))
        case "format":
            edit(manifest, format="scale-space-prepared/2")
        case "text":
            Path(manifest).write_text("text")
        case "list":
            Path(manifest).write_text("[1]")
        case "no field":
            fields = json.loads(Path(manifest).read_text())
            del fields["count"]
            Path(manifest).write_text(json.dumps(fields))
        case "wrong type":
            edit(manifest, resolution="8")
        case "boolean":
            edit(manifest, seed=True)
        case "wrong entry":
            shards = json.loads(Path(manifest).read_text())["shards"]
            edit(manifest, shards=[{**shards[0], "bytes": None}, *shards[1:]])
        case "sum":
            edit(manifest, count=21)
        case "classes":
            edit(manifest, classes=["a", "b"])
        case "sidecar":
            Path(f"out/{sidecar}.json").write_text("{}")
        case "names":
            edit(f"out/{sidecar}.json", names=["a"], labels=[0])
        case "labels":
            edit(f"out/{sidecar}.json", labels=[0])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", r"images_00001\.npy: has 1087 bytes, not 1088; remove it and run"),
        ("missing", r"images_00001\.npy: is missing; run the same `ssd prepare` again"),
        ("other shape", r"images_00001\.npy: is damaged \(not 5 images of 8 px\)"),
        ("no header", r"images_00001\.npy: is damaged \(not 5 images of 8 px\)"),
        ("format", r"prepared\.json: has format 'scale-space-prepared/2', expected"),
        ("text", r"prepared\.json: is damaged \(Expecting value"),
        ("list", r"prepared\.json: has format None, expected"),
        ("no field", r"prepared\.json: is damaged \(no field 'count'\)"),
        ("wrong type", r"prepared\.json: is damaged \('resolution' is \"8\"\)"),
        ("boolean", r"prepared\.json: is damaged \('seed' is true\)"),
        ("wrong entry", r"prepared\.json: is damaged \('bytes' is null\)"),
        ("sum", r"prepared\.json: is damaged \(counts of shards do not add up\)"),
        ("classes", r"out: is damaged \(labels do not fit\); prepare it again"),
        ("sidecar", r"images_00001\.json: is damaged \(no field 'names'\)"),
        ("names", r"images_00001\.json: has 1 names for 5 images"),
        ("labels", r"images_00001\.json: is damaged \(lists do not fit together\)"),
    ],
)
def test_damage_is_named(kind, said, folder):
    prepare(str(folder), "out", 8, workers=1)
    damage(kind)
    assert re.search(said, refusal(lambda: open_images("out", 8).classes()))


def test_verifying_names_what_checksums_show(folder, capsys):
    prepare(str(folder), "out", 8, workers=1)
    main(["prepare", "out", "--verify"])
    assert "all 5 shards are as they were written" in capsys.readouterr().out
    shard = Path("out/images_00003.npy")
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    edit("out/images_00001.json", labels=[0, 0, 0, 0, 0])
    open_images("out", 8).classes()  # sizes are as they were
    line = command_refusal(["prepare", "out", "--verify"], capsys)
    assert "2 of 10 files are damaged: images_00001.json, images_00003.npy; remove them" in line
    Path("out/images_00003.npy").unlink()
    assert "images_00003.npy (No such file" in refusal(lambda: verify(Path("out")))
    line = command_refusal(["prepare", str(folder), "--verify"], capsys)
    assert "data: is no prepared directory" in line


def test_a_shard_that_vanishes_is_named_when_it_is_read(folder):
    prepare(str(folder), "out", 8, workers=1)
    images = open_images("out", 8).random_access()
    Path("out/images_00004.npy").unlink()
    assert images[:20].shape == (20, 8, 8, 3)
    assert "images_00004.npy: cannot be read" in refusal(lambda: images[21])


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
        assert re.search(r"images_\d+\.\w+: cannot be written \(No space left on device\); ", line)
        left = {path.name for path in (disk / "out").iterdir()} - {".lock"}
        assert all(re.fullmatch(r"preparing\.json|images_\d{5}\.(npy|json)", n) for n in left)
        assert "prepared.json" not in left
        arrays = list((disk / "out").glob("*.npy"))
        assert all(shard_size(path, 64) == 5 for path in arrays), "a part of a shard was left"
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


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files")
def test_many_shards_do_not_hold_as_many_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "images_per_shard", lambda _: 1)
    np.save(tmp_path / "d.npy", np.zeros((400, 2, 2, 3), np.uint8))
    prepare(str(tmp_path / "d.npy"), tmp_path / "out", 2, workers=1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    images = open_images(tmp_path / "out", 2).random_access()
    assert images[:].shape == (400, 2, 2, 3)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 260
