"""Datasets known by name: found in their usual layouts, counted, and named as everyone does."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_models.cli import main
from ssd_models.data.known import KNOWN
from ssd_models.data.opening import open_images
from ssd_models.data.preparing import prepare
from theory.support.errors import InputError

WNIDS = ("n01440764", "n01443537", "n02123045")


def image(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, form: str, files: dict[str, bytes]) -> Path:
    if form == "zip":
        with zipfile.ZipFile(root / "data.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return root / "data.zip"
    for name, content in files.items():
        (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / name).write_bytes(content)
    return root / "data"


@pytest.fixture
def small(monkeypatch):
    """Complete copies hold six images, ImageNet's in three classes."""
    for name, known in list(KNOWN.items()):
        classes = known.classes and len(WNIDS)
        monkeypatch.setitem(KNOWN, name, replace(known, count=6, classes=classes))


# Layouts of six images, with what else lies beside them.
LAYOUTS = {
    "celeba": {
        "img_align_celeba/{}.jpg": ["img_celeba/1.jpg", "list_attr_celeba.txt"],
        "Img/img_align_celeba/{}.jpg": ["Img/img_celeba/1.jpg", "Anno/list_attr_celeba.txt"],
        "img_align_celeba/img_align_celeba/{}.jpg": ["list_eval_partition.csv"],
        "{}.jpg": [],
    },
    "celebahq": {
        "CelebAMask-HQ/CelebA-HQ-img/{}.jpg": ["CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/1.png"],
        "celeba_hq_256/{}.jpg": [],
    },
    "imagenet": {
        "train/{wnid}/{}.JPEG": ["val/n01440764/9.JPEG", "test/9.JPEG"],
        "ILSVRC/Data/CLS-LOC/train/{wnid}/{wnid}_{}.JPEG": ["ILSVRC/Data/CLS-LOC/val/9.JPEG"],
        "{wnid}/{}.JPEG": ["LOC_train_solution.csv"],
        "images/{wnid}_{}.jpg": [],
    },
}


def layout_files(pattern: str, beside: list[str]) -> dict[str, bytes]:
    names = [pattern.format(f"{i:06}", wnid=WNIDS[i // 2]) for i in range(6)]
    return dict.fromkeys(beside, png(image(99))) | {
        name: png(image(i)) for i, name in enumerate(names)
    }


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize(
    ("name", "pattern", "beside"),
    [(name, *layout) for name, layouts in LAYOUTS.items() for layout in layouts.items()],
)
def test_the_images_of_each_layout_are_found(name, pattern, beside, form, small, tmp_path):
    path = write(tmp_path, form, layout_files(pattern, beside))
    source = open_images(f"{name}:{path}", 12)
    np.testing.assert_array_equal(source.load(), np.stack([image(i) for i in range(6)]))
    if name == "imagenet":
        assert source.classes().names == WNIDS
        assert source.classes().labels.tolist() == [0, 0, 1, 1, 2, 2]
        part = open_images(f"{name}:{path}", 12, limit=3)
        assert part.classes().names == WNIDS
        assert [WNIDS[i] in n for i, n in zip(part.classes().labels, part.names(), strict=True)]


def test_celeba_is_cut_to_the_central_square_of_its_178_pixels(small, tmp_path):
    pixels = image(0, 218, 178)
    files = {f"img_align_celeba/{i:06}.png": png(pixels) for i in range(6)}
    found = open_images(f"celeba:{write(tmp_path, 'folder', files)}", 178).load()[0]
    np.testing.assert_array_equal(found, pixels[20:198])


@pytest.mark.parametrize(
    ("name", "title", "count"),
    [
        ("celeba", "CelebA", 202599),
        ("celebahq", "CelebA-HQ", 30000),
        ("imagenet", "ImageNet", 1281167),
    ],
)
def test_an_incomplete_copy_passes_only_as_a_part(
    name, title, count, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "folder", layout_files(*next(iter(LAYOUTS[name].items()))))
    said = (
        rf"{name}:data: holds 6 images, {title} should hold {count}; complete the copy, or use a "
        r"part of it with --limit \(`ssd spectrum`, `ssd prepare`, `ssd train`\)"
    )
    for limit in (None, 7):
        with pytest.raises(InputError, match=said):
            open_images(f"{name}:data", 8, limit=limit)
    assert len(open_images(f"{name}:data", 8, limit=6)) == 6
    assert len(open_images(f"{name}:data", 8, limit=4)) == 4
    with pytest.raises(SystemExit) as caught:
        main(["spectrum", f"{name}:data", "--resolution", "8"])
    assert caught.value.code == 2
    assert re.search(f"ssd: error: {said}\n$", capsys.readouterr().err)


def test_a_copy_with_more_images_is_refused(small, tmp_path):
    files = layout_files("img_align_celeba/{}.jpg", ["img_align_celeba/000006.jpg"])
    with pytest.raises(InputError, match="holds 7 images, CelebA should hold 6"):
        open_images(f"celeba:{write(tmp_path, 'folder', files)}", 8)


def test_imagenet_needs_all_its_classes(small, tmp_path):
    files = {f"train/{WNIDS[i % 2]}/{i}.JPEG": png(image(i)) for i in range(6)}
    path = write(tmp_path, "folder", files)
    with pytest.raises(InputError, match=r"has 2 classes, ImageNet should have 3, each a folder"):
        open_images(f"imagenet:{path}", 8)
    assert open_images(f"imagenet:{path}", 8, limit=6).classes().names == WNIDS[:2]
    flat = {f"{i}.JPEG": png(image(i)) for i in range(6)}
    (tmp_path / "flat").mkdir()
    with pytest.raises(InputError, match="has 0 classes"):
        open_images(f"imagenet:{write(tmp_path / 'flat', 'folder', flat)}", 8)


def test_a_prepared_copy_is_still_known(small, tmp_path):
    files = layout_files("train/{wnid}/{}.JPEG", ["val/n01440764/9.JPEG"])
    files["train/n01443537/000002.JPEG"] = b"text"
    path = write(tmp_path, "zip", files)
    prepare(f"imagenet:{path}", tmp_path / "out", 8, workers=1, skipped=[])
    source = open_images(f"imagenet:{tmp_path / 'out'}", 8)
    assert len(source) == 5, "complete but for the image that cannot be used"
    assert source.classes().names == WNIDS
    assert source.random_access().shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(source.random_access()[:], source.load())


def test_counts_are_those_that_the_datasets_state():
    assert {name: (known.count, known.classes) for name, known in KNOWN.items()} == {
        "celeba": (162_770 + 19_867 + 19_962, None),  # the sizes of its three parts
        "celebahq": (30_000, None),
        "imagenet": (1_281_167, 1000),
    }
