"""Datasets from synthetic images: forms agree, the picture rule holds, bad input is named."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import refusal
from PIL import Image

from ssd_models.cli import main
from ssd_models.data.arrays import MappedImages
from ssd_models.data.decoding import to_rgb
from ssd_models.data.forms import DATA_HELP, IMAGE_RULE
from ssd_models.data.measuring import measure_spectrum
from ssd_models.data.opening import ImageSource, open_images, to_float, to_uint8
from ssd_models.data.photos import PHOTOGRAPHS, PhotoCrops
from ssd_models.sampling.pictures import save_animation, save_grid
from theory.spectrum.shards import merge_spectra
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([255 * x, 255 * y, 255 * (1 - x)], axis=-1).astype(np.uint8)


def png(image: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", **options)
    return buffer.getvalue()


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def saved_and_opened(tmp_path: Path, image: Image.Image, name: str, resolution=8, **options):
    folder = tmp_path / "one"
    folder.mkdir()
    image.save(folder / name, **options)
    return open_images(folder, resolution).load()[0]


# ---- forms ---------------------------------------------------------------------------------------

IMAGES = noise(40, 20, 20, 3)


def make_form(form: str, tmp_path: Path) -> Path:
    # Written in an order that is neither theirs nor alphabetical; 10 classes of 4.
    order = np.random.default_rng(1).permutation(len(IMAGES))
    files = {f"class{i // 4}/{i}.png": png(IMAGES[i]) for i in order}
    match form:
        case "folder":
            return write_folder(tmp_path / "data", files)
        case "linked folder":
            write_folder(tmp_path / "elsewhere", files)
            (tmp_path / "data").mkdir()
            (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
            (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
            return tmp_path / "data"
        case "zip":
            return write_zip(tmp_path / "data.zip", {f"top/{k}": v for k, v in files.items()})
        case "deflated zip":
            return write_zip(tmp_path / "data.ZIP", files, zipfile.ZIP_DEFLATED)
        case "npy":
            np.save(tmp_path / "data.npy", IMAGES)
        case "fortran npy":
            np.save(tmp_path / "data.npy", np.asfortranarray(IMAGES))
        case "npz":
            np.savez(tmp_path / "data.npz", IMAGES)
        case "npz of many":
            other = np.zeros((2, 5))
            np.savez_compressed(tmp_path / "data.npz", labels=other, images=IMAGES)
    return next(tmp_path.glob("data.np*"))


FORMS = [
    "folder",
    "linked folder",
    "zip",
    "deflated zip",
    "npy",
    "fortran npy",
    "npz",
    "npz of many",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form, tmp_path):
    path = make_form(form, tmp_path)
    source = open_images(str(path), 20)
    assert (source.name, source.resolution, source.channels) == (str(path), 20, 3)
    assert len(source) == 40
    np.testing.assert_array_equal(source.load(), IMAGES)
    np.testing.assert_array_equal(open_images(path, None).load(), IMAGES)
    assert open_images(path, None).resolution == 20
    reduced = open_images(path, 8).load()
    expected = Image.fromarray(IMAGES[7]).resize((8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(reduced[7], np.asarray(expected))


@pytest.mark.parametrize("form", ["folder", "zip", "npy"])
def test_limit_takes_nested_seeded_subsets_in_order(form, tmp_path):
    path = make_form(form, tmp_path)
    position = {image.tobytes(): i for i, image in enumerate(IMAGES)}

    def drawn(limit, seed=0):
        images = open_images(path, 20, limit=limit, seed=seed).load()
        return [position[image.tobytes()] for image in images]

    assert drawn(12) == sorted(set(drawn(12)))
    assert len(drawn(12)) == 12
    assert set(drawn(5)) < set(drawn(12))
    assert drawn(12) != drawn(12, seed=1)
    assert len({i // 4 for i in drawn(12)}) > 3, "the first files alone would be 3 classes"
    assert drawn(400) == list(range(40))


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_batches_are_the_images_in_order(batch_size, tmp_path):
    source = open_images(make_form("zip", tmp_path), 20)
    batches = list(source.batches(batch_size))
    assert all(len(batch) == min(batch_size, 40) for batch in batches[:-1])
    assert all(batch.dtype == np.uint8 for batch in batches)
    np.testing.assert_array_equal(np.concatenate(batches), IMAGES)
    np.testing.assert_array_equal(np.concatenate(list(source.batches(batch_size))), IMAGES)


def test_decoding_runs_at_most_three_batches_ahead(tmp_path):
    source = open_images(make_form("npy", tmp_path), 20)
    opened, read = source._images, []

    class Counted:
        def __len__(self):
            return len(opened)

        def open(self):
            from contextlib import contextmanager

            @contextmanager
            def context():
                with opened.open() as inner:
                    yield lambda index: (read.append(index), inner(index))[1]

            return context()

    counted = ImageSource("counted", 20, _images=Counted(), _indices=range(40))
    batches = counted.batches(4)
    next(batches)
    next(batches)
    batches.close()
    assert len(read) <= 4 * 4


def test_only_image_files_are_taken_in_natural_order(tmp_path):
    wanted = {f"b/{i}.png": png(noise(8, 8, 3, seed=i)) for i in (2, 10, 1)}
    wanted["A/x.PNG"] = png(noise(8, 8, 3, seed=99))
    passed_over = {
        "README.md": b"text",
        "labels.tsv": b"1\t2",
        "__MACOSX/b/._1.png": b"junk",
        "__MACOSX/b/1.png": b"junk",
        "b/.hidden.png": b"junk",
        ".cache/1.png": b"junk",
        "b/png": b"junk",
    }
    expected = np.stack([noise(8, 8, 3, seed=i) for i in (99, 1, 2, 10)])
    files = {**wanted, **passed_over}
    folder, archive = write_folder(tmp_path / "f", files), write_zip(tmp_path / "z.zip", files)
    np.testing.assert_array_equal(open_images(folder, 8).load(), expected)
    np.testing.assert_array_equal(open_images(archive, 8).load(), expected)


def test_links_to_folders_are_followed_unless_they_lead_back(tmp_path):
    folder = write_folder(tmp_path / "all" / "d", {"a/1.png": GOOD, "b/2.png": GOOD})
    write_folder(tmp_path / "all", {"other/3.png": GOOD})
    for name, target in {
        "c": "a",  # a second name of a folder, as of images that are taken twice as often
        "a/up": "..",
        "a/top": "../..",  # above the folder itself
        "a/self": ".",
        "b/a": "../a",  # each of two that hold one another
        "a/b": "../b",
    }.items():
        (folder / name).symlink_to(target)
    assert open_images(folder, 8).names() == [
        *("a/1.png", "a/b/2.png"),
        *("b/2.png", "b/a/1.png"),
        *("c/1.png", "c/b/2.png"),
    ]


def test_digits_sort_by_value_whatever_their_number_and_script(tmp_path):
    names = [
        "a.png",
        "²1.png",
        "٣.png",
        "2.png",
        "10.png",
        f"{'9' * 5000}.png",
        "02.png",
        "b1c2.png",
    ]
    pixels = {name: noise(8, 8, 3, seed=i) for i, name in enumerate(names)}
    archive = write_zip(tmp_path / "z.zip", {name: png(pixels[name]) for name in names})
    source = open_images(archive, 8)
    digits = ["02.png", "2.png", "10.png", f"{'9' * 5000}.png"]
    assert [name for name in source.names() if name in digits] == digits
    assert set(source.names()) == set(names)
    np.testing.assert_array_equal(source.load()[0], pixels[source.names()[0]])


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_a_file_of_a_gigabyte_is_refused_before_it_is_read(form, tmp_path):
    size = 2**30
    if form == "zip":
        data = tmp_path / "bomb.zip"
        with (
            zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("a.png", "w", force_zip64=True) as file,
        ):
            for _ in range(size // 2**24):
                file.write(bytes(2**24))
    else:
        data = write_folder(tmp_path / "d", {"a.png": GOOD})
        with open(data / "a.png", "r+b") as file:
            file.truncate(size)  # no block of it is on the disk
    tracemalloc.start()
    message = refusal(open_images(data, 8).load)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()
    assert "a.png (1073741824 bytes, more than 536870912)" in message


# ---- the rule for one picture --------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(8, 13), (14, 8), (8, 8)])
def test_the_central_square_is_taken(height, width, tmp_path):
    pixels = noise(height, width, 3)
    top, left = (height - 8) // 2, (width - 8) // 2
    found = saved_and_opened(tmp_path, Image.fromarray(pixels), "a.png")
    np.testing.assert_array_equal(found, pixels[top : top + 8, left : left + 8])


def test_reduction_does_not_alias(tmp_path):
    stripes = np.zeros((90, 90, 3), np.uint8)
    stripes[:, ::2] = 255  # far beyond what 32 pixels can show
    found = saved_and_opened(tmp_path, Image.fromarray(stripes), "a.png", 32)
    assert found[:, 3:-3].std() < 3
    assert abs(found.mean() - 127.5) < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    upright = noise(8, 8, 3)
    stored = {  # what a camera held in that orientation writes
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    np.testing.assert_array_equal(saved_and_opened(tmp_path, image, "a.png", exif=exif), upright)


def test_grey_is_repeated(tmp_path):
    grey = noise(8, 8)
    found = saved_and_opened(tmp_path, Image.fromarray(grey), "a.png")
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path):
    bits = noise(8, 8) > 127
    found = saved_and_opened(tmp_path, Image.fromarray(bits), "a.png")
    np.testing.assert_array_equal(found[..., 1], np.where(bits, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode, tmp_path):
    pixels = noise(8, 8, len(mode))
    pixels[0, 0, -1], pixels[0, 1, -1] = 0, 255
    alpha = pixels[..., -1:] / 255
    expected = np.broadcast_to(pixels[..., :-1] * alpha + 255 * (1 - alpha), (8, 8, 3))
    found = saved_and_opened(tmp_path, Image.fromarray(pixels), "a.png")
    np.testing.assert_allclose(found, expected, atol=1)
    np.testing.assert_array_equal(found[0, 0], 255)
    np.testing.assert_array_equal(found[0, 1], np.broadcast_to(pixels[0, 1, :-1], 3))


def test_a_transparent_colour_becomes_white(tmp_path):
    pixels = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    pixels[2:4] = (200, 0, 0)
    image = Image.fromarray(pixels)
    found = saved_and_opened(tmp_path, image, "a.png", transparency=(200, 0, 0))
    pixels[2:4] = 255
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_are_looked_up(transparent, tmp_path):
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 3, mode=None)
    image = image.convert("L").convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    options = {"transparency": 2} if transparent else {}
    found = saved_and_opened(tmp_path, image, "a.png", **options)
    colours = [(255, 0, 0), (0, 255, 0), (255, 255, 255) if transparent else (0, 0, 255)]
    expected = np.array(colours)[np.arange(64).reshape(8, 8) % 3]
    np.testing.assert_array_equal(found, expected)


def test_cmyk_becomes_rgb(tmp_path):
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:4, :, 0] = 255  # cyan above, no ink below
    image = (
        Image.fromarray(inks, "CMYK")
        if False
        else Image.merge(
            "CMYK", [Image.fromarray(np.ascontiguousarray(inks[..., c])) for c in range(4)]
        )
    )
    found = saved_and_opened(tmp_path, image, "a.tif")
    np.testing.assert_array_equal(found[0, 0], (0, 255, 255))
    np.testing.assert_array_equal(found[7, 7], 255)


def png16(samples: np.ndarray) -> bytes:
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    colour = {1: 0, 3: 2}[channels]

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("channels", [1, 3])
def test_of_16_bits_the_upper_eight_are_kept(channels, tmp_path):
    samples = np.random.default_rng(0).integers(0, 2**16, (8, 8, channels))
    folder = write_folder(tmp_path / "d", {"a.png": png16(samples)})
    expected = np.broadcast_to(samples >> 8, (8, 8, 3))
    np.testing.assert_array_equal(open_images(folder, 8).load()[0], expected)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    found = saved_and_opened(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(found, np.broadcast_to((255, 0, 0), (8, 8, 3)))


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp", "a.bmp", "a.tif", "a.tiff", "a.gif"])
def test_other_file_formats_are_read(name, tmp_path):
    pixels = smooth(16, 16)
    found = saved_and_opened(tmp_path, Image.fromarray(pixels), name, 16)
    assert np.abs(found.astype(int) - pixels).mean() < 12


def test_images_may_have_their_own_size_only_if_it_is_one(tmp_path):
    files = {f"{i}.png": png(noise(8, 8, 3)) for i in range(4)}
    files["2.png"] = png(noise(12, 10, 3))
    folder = write_folder(tmp_path / "d", files)
    message = refusal(open_images(folder, None).load)
    assert re.search(
        r"d: 1 of the 4 images .*: 2\.png \(10×12 px, the first is 8×8\); .*resolution 8", message
    )
    oblong = write_folder(tmp_path / "o", {"0.png": png(noise(8, 9, 3))})
    assert re.search(
        r"0\.png is 9×8 px, not square; give square images, such as `ssd prepare`",
        refusal(lambda: open_images(oblong, None)),
    )


# ---- refusals ------------------------------------------------------------------------------------

GOOD = png(noise(8, 8, 3))
PHOTO = png(noise(64, 64, 3))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is a text\n" * 9, "not an image"),
        (b"", "an empty file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not an image"),
        (PHOTO[: len(PHOTO) // 2], "damaged: .*truncated.*"),
        (PHOTO[:100] + b"\0" * 2000 + PHOTO[2100:], "damaged: .*"),
        (png(noise(4, 7, 3)), "7×4 px, smaller than 8"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_an_unusable_file_is_named(form, content, reason, tmp_path):
    files = {"a.png": GOOD, "sub/b.jpg": content, "sub/c.png": GOOD}
    path = (
        write_folder(tmp_path / "d", files)
        if form == "folder"
        else write_zip(tmp_path / "d.zip", files)
    )
    source = open_images(path, 8)
    assert re.fullmatch(
        rf"{path}: 1 of the 3 images cannot be used: sub/b\.jpg \({reason}\); "
        r"(choose --resolution 4 or less \(`ssd spectrum`, `ssd prepare`\), or )?"
        r"remove or replace them, or leave them out with --skip-bad "
        r"\(`ssd spectrum`, `ssd prepare`, `ssd train`\)",
        refusal(source.load),
    )


def test_all_unusable_files_of_a_pass_are_counted_and_five_named(tmp_path):
    files = {f"{i}.png": GOOD for i in range(60)}
    files |= {f"{i}.png": b"text" for i in range(3, 60, 8)}  # 8 of them
    source = open_images(write_folder(tmp_path / "d", files), 8)
    message = refusal(source.load)
    assert "8 of the 60 images" in message
    assert re.findall(r"(\d+)\.png", message) == ["3", "11", "19", "27", "35"]
    assert "and 3 more; remove" in message
    yielded = []
    with pytest.raises(InputError):
        yielded.extend(source.batches(2))
    assert len(yielded) <= 1, "nothing follows the first unusable image"


def test_a_hopeless_pass_is_given_up(tmp_path):
    folder = write_folder(tmp_path / "d", {f"{i}.png": b"text" for i in range(400)})
    message = refusal(lambda: list(open_images(folder, 8).batches(50)))
    assert "100 of the first 100 of 400 images" in message


def test_a_zip_member_that_fails_its_checksum_is_named(tmp_path):
    path = write_zip(tmp_path / "d.zip", {"a.bmp": bytes(500), "b.png": GOOD})
    raw = bytearray(path.read_bytes())
    raw[200] ^= 1
    path.write_bytes(raw)
    assert re.search(r"a\.bmp \(damaged: .*CRC", refusal(open_images(path, 8).load))


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "d", {"a.png": PHOTO})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        message = refusal(open_images(folder, 8).load)
    assert "a.png (64×64 px, more than 4095 in all)" in message
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 2 - 1)
    assert "a.png (more than 4094 px in all)" in refusal(open_images(folder, 8).load)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("name", ["d/a.png", "d.zip", "d.npy", "d"])
def test_missing_permission_is_said(name, tmp_path):
    write_folder(tmp_path / "d", {"a.png": GOOD})
    write_zip(tmp_path / "d.zip", {"a.png": GOOD})
    np.save(tmp_path / "d.npy", IMAGES)
    (tmp_path / name).chmod(0)
    data = tmp_path / name.removesuffix("/a.png")
    try:
        assert "Permission denied" in refusal(lambda: open_images(data, 8).load())
    finally:
        (tmp_path / name).chmod(0o755)


def broken(name: str, tmp_path: Path) -> Path:
    path = tmp_path / name
    match name:
        case "empty" | "text only":
            path.mkdir()
            if name == "text only":
                (path / "README.txt").write_text("no images")
        case "none.zip":
            write_zip(path, {"README.txt": b"no images"})
        case "truncated.zip":
            content = write_zip(path, {"a.png": PHOTO}).read_bytes()
            path.write_bytes(content[: len(content) - 40])
        case "text.zip" | "text.npy" | "text.npz" | "text.txt":
            path.write_text("this is a text")
        case "encrypted.zip":
            raw = bytearray(write_zip(path, {"a.png": GOOD}).read_bytes())
            raw[6] |= 1  # the local header's flag, then the directory's
            raw[raw.index(b"PK\x01\x02") + 8] |= 1
            path.write_bytes(raw)
        case "float.npy":
            np.save(path, np.zeros((3, 8, 8, 3), np.float32))
        case "first.npz":
            np.savez(path, np.zeros((3, 3, 8, 8), np.uint8))
        case "one.npy":
            np.save(path, np.zeros((8, 8, 3), np.uint8))
        case "signed.npy":
            np.save(path, np.zeros((3, 8, 8, 4), np.int16))
        case "zero.npy":
            np.save(path, np.zeros((0, 8, 8, 3), np.uint8))
        case "none.npz":
            np.savez(path)
        case "pickled.npz":
            np.savez(path, np.array([{}], dtype=object))
        case "truncated.npy":
            np.save(path, np.zeros((3, 8, 8, 3), np.uint8))
            path.write_bytes(path.read_bytes()[:-10])
        case "small.npy":
            np.save(path, np.zeros((3, 6, 6, 3), np.uint8))
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", r"cannot be opened \(No such file.*\); give `photos` .*folder.*\.zip.*\.npy"),
        ("text.txt", r"is no form of dataset; give `photos`"),
        ("empty", r"holds no images; put files of \.png"),
        ("text only", r"holds no images; put files of \.png"),
        ("none.zip", r"holds no images; put files of \.png"),
        ("truncated.zip", r"not a zip archive, or a truncated one .*; copy it again"),
        ("text.zip", r"not a zip archive, or a truncated one .*; copy it again"),
        ("encrypted.zip", r"is encrypted; unpack it and give the folder"),
        ("text.npy", r"cannot be read as a NumPy array \(.*\); write it with np\.save"),
        ("text.npz", r"cannot be read as a NumPy array \(.*\); write it with np\.save"),
        ("truncated.npy", r"cannot be read as a NumPy array \(.*\); write it with np\.save"),
        ("none.npz", r"cannot be read as a NumPy array \(no array in it\)"),
        ("pickled.npz", r"cannot be read as a NumPy array \(.*allow_pickle.*\)"),
        ("float.npy", r"holds float32 of shape \(3, 8, 8, 3\); give uint8 \(N, R, R, 3\)"),
        ("first.npz", r"holds uint8 of shape \(3, 3, 8, 8\); give uint8 .* channels last"),
        ("one.npy", r"holds uint8 of shape \(8, 8, 3\); give"),
        ("signed.npy", r"holds int16 of shape \(3, 8, 8, 4\); give uint8 .* grey \(N, R, R\)"),
        ("zero.npy", r"holds uint8 of shape \(0, 8, 8, 3\); give"),
        ("small.npy", r"6×6 px are smaller than resolution 8; choose --resolution 6 or less"),
    ],
)
def test_data_that_cannot_be_opened_are_refused_at_once(name, said, tmp_path):
    path = broken(name, tmp_path)
    message = refusal(lambda: open_images(path, 8))
    assert message.startswith(f"{path}: ")
    assert re.search(said, message)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": ""}, r"cannot be opened \(no name\)"),
        ({"data": "s3:bucket"}, r"s3:bucket: cannot be opened .*; give `photos`"),
        ({"data": "celeba:"}, r"cannot be opened \(no name\)"),
        ({"data": "imagenet:photos"}, r"photos: cannot be opened \(No such file"),
        ({"data": "a\0b"}, r"cannot be opened"),
        ({"resolution": 0}, r"resolution 0: give 1 or more"),
        ({"limit": 0}, r"limit 0: give 1 or more"),
        ({"seed": -1}, r"seed -1: must be a whole number from 0"),
        ({"seed": 2**64}, r"seed 18446744073709551616: must be .* 2\^63 - 1"),
        ({"resolution": None}, r"photos: its images .*give a resolution"),
        ({"resolution": 2000}, r"photos: resolution 2000 .*choose --resolution 512 or less"),
    ],
)
def test_other_bad_arguments_are_refused(options, said):
    assert re.search(said, refusal(lambda: open_images(**{"data": "photos", **options})))


def test_a_batch_size_below_one_is_refused():
    assert "batch size 0" in refusal(lambda: list(open_images("photos", 8, limit=1).batches(0)))


# ---- names, parts and images left out ------------------------------------------------------------


def test_names_are_relative_paths_or_numbers_in_order(tmp_path):
    names = ["class0/0.png", "class0/1.png", "class0/2.png"]
    folder = open_images(make_form("folder", tmp_path), 20)
    assert folder.names()[:3] == names
    assert len(set(folder.names())) == 40
    assert open_images(make_form("zip", tmp_path), 20).names()[:3] == [f"top/{n}" for n in names]
    assert open_images(make_form("npy", tmp_path), 20).names()[17] == "image 17"
    assert open_images("photos", 8, limit=18).names()[17] == "crop 17"
    part = open_images(tmp_path / "data", 20, limit=7)
    wanted = [folder.names().index(name) for name in part.names()]
    np.testing.assert_array_equal(part.load(), IMAGES[wanted])


@pytest.mark.parametrize("channels", [2, 4, 7])
@pytest.mark.parametrize("form", ["npy", "npz", "fortran npy", "16 bits"])
def test_channels_of_arrays_stay_what_they_are(form, channels, tmp_path):
    pixels = noise(5, 20, 26, channels)
    path = tmp_path / ("a.npz" if form == "npz" else "a.npy")
    if form == "npz":
        np.savez(path, images=pixels)
    elif form == "16 bits":
        np.save(path, pixels.astype(np.uint16) * 256 + 99)
    else:
        np.save(path, np.asfortranarray(pixels) if form == "fortran npy" else pixels)
    source = open_images(path, 20)
    assert source.channels == channels
    np.testing.assert_array_equal(source.load(), pixels[:, :, 3:23])
    np.testing.assert_array_equal(source.random_access()[2], pixels[2, :, 3:23])
    small = open_images(path, 10).load()
    each = Image.fromarray(np.ascontiguousarray(pixels[1, ..., -1])).resize(
        (10, 10), Image.Resampling.LANCZOS, box=(3, 0, 23, 20)
    )
    np.testing.assert_array_equal(small[1, ..., -1], np.asarray(each))


@pytest.mark.parametrize("form", ["grey", "grey with an axis", "grey npz"])
def test_grey_arrays_are_repeated(form, tmp_path):
    grey = noise(5, 9, 8)
    path = tmp_path / ("d.npz" if form == "grey npz" else "d.npy")
    if form == "grey npz":
        np.savez(path, images=grey, labels=np.arange(5))
    else:
        np.save(path, grey[..., None] if form == "grey with an axis" else grey)
    source = open_images(path, 8)
    assert source.names() == [f"image {i}" for i in range(5)]
    expected = np.repeat(grey[..., None], 3, axis=3)[:, :8]
    np.testing.assert_array_equal(source.load(), expected)
    square = grey[:, :8]
    np.save(tmp_path / "s.npy", square)
    images = open_images(tmp_path / "s.npy", 8).random_access()
    np.testing.assert_array_equal(images[[3, 1]], np.repeat(square[[3, 1], ..., None], 3, axis=3))


def bad_folder(tmp_path: Path) -> Path:
    """40 images of which four cannot be used: one in a batch of its own, one too small."""
    folder = make_form("folder", tmp_path)
    for i in (0, 17, 39):
        (folder / f"class{i // 4}" / f"{i}.png").write_bytes(b"text")
    (folder / "class2/9.png").write_bytes(png(noise(19, 30, 3)))
    return folder


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_unusable_images_are_left_out_on_request_and_noted(batch_size, tmp_path):
    source = open_images(bad_folder(tmp_path), 20)
    skipped = []
    images = np.concatenate(list(source.batches(batch_size, skipped=skipped)))
    kept = np.setdiff1d(np.arange(40), [0, 9, 17, 39])
    np.testing.assert_array_equal(images, IMAGES[kept])
    assert [(image.index, image.name, image.reason) for image in skipped] == [
        (0, "class0/0.png", "not an image"),
        (9, "class2/9.png", "30×19 px, smaller than 20"),
        (17, "class4/17.png", "not an image"),
        (39, "class9/39.png", "not an image"),
    ]
    rest = source.without(skipped)
    assert rest.names() == [source.names()[i] for i in kept]
    np.testing.assert_array_equal(rest.classes().labels, source.classes().labels[kept])
    np.testing.assert_array_equal(rest.load(), images)
    np.testing.assert_array_equal(source.random_access(skipped=[]), images)
    assert "4 of the 40 images" in refusal(source.load), "and are refused otherwise"


def test_positions_of_skipped_images_are_those_in_their_source(tmp_path):
    source = open_images(bad_folder(tmp_path), 20, limit=30, seed=1)
    skipped = []
    images = source.load(skipped=skipped)
    assert skipped
    assert [source.names()[image.index] for image in skipped] == [image.name for image in skipped]
    np.testing.assert_array_equal(source.without(skipped).load(), images)


def test_data_of_which_no_image_is_usable_are_refused_even_then(tmp_path):
    folder = write_folder(tmp_path / "d", {f"{i}.png": b"text" for i in range(150)})
    message = refusal(lambda: open_images(folder, 8).load(skipped=[]))
    assert "150 of the 150 images cannot be used" in message
    assert message.endswith("remove or replace them")


def test_a_folder_that_vanishes_during_a_pass_is_no_folder_of_bad_images(tmp_path):
    folder = make_form("folder", tmp_path)
    source = open_images(folder, 20)
    folder.rename(tmp_path / "elsewhere")
    skipped = []
    assert re.search(r"data: is gone; make it readable", refusal(lambda: source.load(skipped=[])))
    assert not skipped
    (tmp_path / "elsewhere").rename(folder)
    (folder / "class0/0.png").unlink()
    assert len(source.load(skipped=skipped)) == 39
    assert skipped[0].reason == "No such file or directory"


# ---- arrays for training -------------------------------------------------------------------------


def test_an_array_of_the_resolution_is_mapped_and_another_loaded(tmp_path):
    path = make_form("npy", tmp_path)
    for source, mapped in [
        (open_images(path, 20), True),
        (open_images(path, 20, limit=11), True),
        (open_images(path, 16), False),
        (open_images(make_form("folder", tmp_path), 20), False),
    ]:
        images, whole = source.random_access(), source.load()
        assert isinstance(images, MappedImages) == mapped
        assert (images.shape, images.dtype, len(images)) == (whole.shape, np.uint8, len(whole))
        chosen = np.array([5, 1, 5, 10])
        np.testing.assert_array_equal(images[chosen], whole[chosen])
        np.testing.assert_array_equal(images[2:9], whole[2:9])
    (tmp_path / "f").mkdir()
    images = open_images(make_form("fortran npy", tmp_path / "f"), 20).random_access()
    assert not isinstance(images, MappedImages), "each image is scattered over the file"
    np.testing.assert_array_equal(images, IMAGES)


def test_what_memory_does_not_hold_is_not_loaded(tmp_path, monkeypatch):
    path = make_form("folder", tmp_path)
    monkeypatch.setattr("ssd_models.data.memory.available_memory", lambda: 2 * 40 * 20 * 20 * 3)
    source = open_images(path, 20)
    assert len(source.random_access()) == 40
    monkeypatch.setattr("ssd_models.data.memory.available_memory", lambda: 2 * 40 * 20 * 20 * 3 - 1)
    message = refusal(source.random_access)
    assert "40 images of 20 px take 4.8e-05 GB of memory, more than half of the 9.6e-05" in message
    assert f"run `ssd prepare {path} -o DIR --resolution 20` first and give DIR" in message
    monkeypatch.undo()
    monkeypatch.setattr("ssd_models.data.memory._of_machine", lambda: 8 * 2 * 40 * 20 * 20 * 3 - 1)
    assert len(source.random_access()) == 40
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "7")
    assert len(source.random_access()) == 40
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert "9.6e-05 GB there are for each of 8 processes" in refusal(source.random_access)
    mapped = open_images(make_form("npy", tmp_path), 20)
    assert len(mapped.random_access()) == 40, "what stays on disk takes none"


# ---- spectra without bad images ------------------------------------------------------------------


SIDE = 128  # of which 64 make a block, so that parts are small


def soft(seed: int) -> np.ndarray:
    return np.asarray(Image.fromarray(noise(4, 4, 3, seed=seed)).resize((SIDE, SIDE)))


@pytest.mark.slow
@pytest.mark.parametrize("bad", [[3, 40, 41, 99], [7, *range(64, 100)]], ids=["some", "a block"])
def test_a_spectrum_without_bad_images_is_the_same_in_any_parts(bad, tmp_path):
    files = {f"{i}.png": png(soft(i)) for i in range(100)}
    files |= {f"{i}.png": b"text" for i in bad}
    folder = str(write_folder(tmp_path / "d", files))
    skipped = []
    one = measure_spectrum(folder, SIDE, skipped=skipped)
    assert [(image.index, image.name) for image in skipped] == [(i, f"{i}.png") for i in bad]
    good = to_float(np.stack([soft(i) for i in range(100) if i not in bad]))
    np.testing.assert_allclose(one.power, Spectrum.from_images([good]).power, rtol=1e-5)
    assert (one.count, one.meta["images"], one.meta["skipped"]) == (len(good), 100, len(bad))
    noted = []
    two = measure_spectrum(folder, SIDE, workers=2, skipped=noted)
    assert noted == skipped
    parts = {"first": measure_spectrum(folder, SIDE, shard=(1, 2), skipped=[])}
    if len(bad) < 36:
        parts["second"] = measure_spectrum(folder, SIDE, shard=(2, 2), skipped=[])
        together = merge_spectra(parts)[0]
        np.testing.assert_allclose(together.power, one.power, rtol=1e-12)
        assert together.meta["skipped"] == len(bad)
    else:
        message = refusal(lambda: measure_spectrum(folder, SIDE, shard=(2, 2), skipped=[]))
        assert "36 of the 36 images cannot be used" in message
    np.testing.assert_allclose(two.power, one.power, rtol=1e-12)
    np.testing.assert_allclose(two.standard_error, one.standard_error, rtol=1e-12)
    assert two.meta == one.meta
    assert "of the 100 images" in refusal(lambda: measure_spectrum(folder, SIDE))


def test_a_spectrum_skipping_nothing_is_the_one_that_refuses(tmp_path):
    np.save(tmp_path / "d.npy", np.stack([soft(i) for i in range(70)]))
    plain = measure_spectrum(str(tmp_path / "d.npy"), SIDE)
    skipping = measure_spectrum(str(tmp_path / "d.npy"), SIDE, skipped=[])
    np.testing.assert_allclose(plain.power, skipping.power, rtol=1e-12)
    np.testing.assert_allclose(plain.standard_error, skipping.standard_error, rtol=1e-12)
    assert plain.meta == skipping.meta


def test_the_command_reports_what_it_skipped(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "d", {f"{i}.png": png(noise(8, 8, 3, seed=i)) for i in range(25)})
    (tmp_path / "d" / "3.png").write_bytes(b"")
    main(["spectrum", "d", "--resolution", "8", "--skip-bad"])
    error = capsys.readouterr().err
    lines = error[error.index("warning:") :].splitlines()
    assert lines == ["warning: skipped 1 of 25 images:", "  3.png (an empty file)"]
    assert Spectrum.load("spectrum.npz").meta["skipped"] == 1
    with pytest.raises(SystemExit):
        main(["spectrum", "d", "--resolution", "8", "-o", "other.npz"])
    assert not (tmp_path / "other.npz").exists()


@pytest.mark.parametrize("command", ["spectrum", "prepare"])
def test_help_says_what_data_may_be_and_what_becomes_of_pictures(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(re.sub("[│\n]", " ", capsys.readouterr().out).split())
    assert " ".join(DATA_HELP.split()) in text
    assert IMAGE_RULE in text


# ---- the built-in photographs --------------------------------------------------------------------


def test_a_crop_depends_on_seed_and_index_alone():
    many = open_images("photos", 16, limit=200).load()
    assert many.shape == (200, 16, 16, 3)
    np.testing.assert_array_equal(open_images("photos", 16, limit=31).load(), many[:31])
    batches = list(open_images("photos", 16, limit=200).batches(13))
    np.testing.assert_array_equal(np.concatenate(batches), many)
    other = open_images("photos", 16, limit=200, seed=1).load()
    assert not any((a == b).all() for a, b in zip(many, other, strict=True))
    assert len({image.tobytes() for image in many}) == 200
    assert len(open_images("photos", 16)) == 8192


def test_crops_are_drawn_as_promised():
    crops = PhotoCrops(32, 20_000, seed=3)
    left, top, right, bottom = crops.boxes.T
    side = right - left
    np.testing.assert_array_equal(side, bottom - top)
    for index, path in enumerate(crops.paths):
        with Image.open(path) as image:
            width, height = image.size
        of = crops.photograph == index
        assert left[of].min() == 0
        assert top[of].min() == 0
        assert right[of].max() == width
        assert bottom[of].max() == height
        octaves = np.log(side[of] / 32) / np.log(min(width, height) / 32)
        assert 0 <= octaves.min() < 0.01 < 0.99 < octaves.max() <= 1
        # Uniform on [0, 1]: the mean of n draws has standard deviation 1 / sqrt(12 n).
        assert abs(octaves.mean() - 0.5) < 4 / np.sqrt(12 * of.sum())
    assert abs(crops.mirrored.mean() - 0.5) < 0.02
    assert {path.name for path in crops.paths} == set(PHOTOGRAPHS)


def test_a_crop_is_the_box_of_its_photograph():
    crops = PhotoCrops(32, 300, seed=0)
    photographs = [Image.open(path).convert("RGB") for path in crops.paths]
    side = crops.boxes[:, 2] - crops.boxes[:, 0]
    assert side.max() > 256, "a crop of a coarser octave is among them"
    with crops.open() as read:
        for index in range(300):
            cut = photographs[crops.photograph[index]].crop(tuple(crops.boxes[index].tolist()))
            exact = np.asarray(cut.resize((32, 32), Image.Resampling.LANCZOS)).astype(float)
            exact = exact[:, ::-1] if crops.mirrored[index] else exact
            error = np.abs(np.asarray(read(index)) - exact)
            assert error.mean() < 1  # at the border the filter sees pixels beyond the crop
            assert side[index] >= 128 or error[4:-4, 4:-4].max() <= 1


def test_photographs_smaller_than_the_resolution_are_left_out():
    names = [path.name for path in PhotoCrops(420, 4, seed=0).paths]
    assert names == ["astronaut.png", "motorcycle_left.png", "rocket.jpg"]
    assert open_images("photos", 512, limit=2).load().shape == (2, 512, 512, 3)


def test_importing_stays_light():
    code = (
        "import sys, ssd_models.data.opening as d; d.open_images('photos', 32, limit=3).load();"
        "print([m for m in ('torch', 'skimage', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ---- floats and grids ----------------------------------------------------------------------------


def test_floats_round_trip():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    floats = to_float(values)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (-1, 1)
    np.testing.assert_allclose(floats, values / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(to_uint8(floats), values)
    np.testing.assert_array_equal(to_uint8(floats + 0.49 / 127.5), values)
    np.testing.assert_array_equal(to_uint8(np.array([-9.0, -1.001, 1.001, 9.0])), [0, 0, 255, 255])
    with pytest.raises(TypeError, match="uint8"):
        to_float(floats)


@pytest.mark.parametrize(
    ("columns", "rows", "across"), [(None, 2, 3), (2, 3, 2), (5, 1, 5), (9, 1, 5)]
)
def test_a_grid_holds_the_images_row_by_row(columns, rows, across, tmp_path):
    images = noise(5, 6, 4, 3)
    save_grid(images, tmp_path / "new" / "grid.png", columns)
    grid = np.asarray(Image.open(tmp_path / "new" / "grid.png"))
    assert grid.shape == (rows * 8 - 2, across * 6 - 2, 3)
    expected = np.full_like(grid, 255)
    for index, image in enumerate(images):
        top, left = index // across * 8, index % across * 6
        expected[top : top + 6, left : left + 4] = image
    np.testing.assert_array_equal(grid, expected)


@pytest.mark.parametrize(
    ("images", "name", "columns", "said"),
    [
        (IMAGES[:0], "g.png", None, r"N ≥ 1, not uint8 \(0, 20, 20, 3\)"),
        (IMAGES / 255, "g.png", None, r"needs uint8 images .* not float64"),
        (IMAGES, "g.jpg", None, r"g\.jpg: .* ends in \.png"),
        (IMAGES, "g.png", 0, r"0 columns; give 1 or more"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(images, name, columns, said, tmp_path):
    assert re.search(said, refusal(lambda: save_grid(images, tmp_path / name, columns)))
    assert not list(tmp_path.iterdir())


def test_modes_without_a_meaning_in_rgb_are_refused(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    Image.fromarray(np.ones((8, 8), np.float32)).save(folder / "f.tif")
    Image.fromarray(np.ones((8, 8), np.int32)).save(folder / "i.tif")
    message = refusal(open_images(folder, 8).load)
    assert "f.tif (32-bit samples; save it with 8 or 16 bits), i.tif (32-bit" in message
    assert to_rgb(Image.new("YCbCr", (2, 2))).mode == "RGB"


def test_an_animation_needs_frames_and_a_format_that_has_them(tmp_path):
    frame = np.zeros((2, 8, 8, 3), np.uint8)
    said = refusal(lambda: save_animation([frame], tmp_path / "chain.png", 8))
    assert "chain.png: an animation must end in .gif or .webp" in said
    said = refusal(lambda: save_animation([], tmp_path / "chain.gif", 8))
    assert "chain.gif: an animation needs at least one frame" in said
    assert not list(tmp_path.iterdir())
    save_animation([frame, frame + 9], tmp_path / "CHAIN.GIF", 8)
    with Image.open(tmp_path / "CHAIN.GIF") as animation:
        assert animation.n_frames == 2
