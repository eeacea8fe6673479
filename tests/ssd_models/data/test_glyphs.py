"""The built-in letters and digits."""

import numpy as np
import pytest

from ssd_models.data.glyphs import CHARACTERS, FONTS, Glyphs
from ssd_models.data.opening import open_images, to_float
from ssd_models.data.resolution import choose_resolution
from theory import InputError, Spectrum
from theory.spectrum.bands import band_power


def test_a_picture_depends_on_its_seed_and_place_alone():
    many = open_images("glyphs", 16, limit=60).load()
    assert many.shape == (60, 16, 16, 3)
    np.testing.assert_array_equal(open_images("glyphs", 16, limit=7).load(), many[:7])
    other = open_images("glyphs", 16, limit=60, seed=1).load()
    assert (other != many).mean() > 0.9
    assert open_images("glyphs", 16, limit=60, seed=0).names()[3] == "glyph 3"
    assert len(open_images("glyphs", 16)) == 8192


def test_classes_are_the_characters_drawn_with_even_chances():
    classes = open_images("glyphs", 32, limit=3400).classes()
    assert classes.names == tuple(CHARACTERS)
    assert len(CHARACTERS) == 34
    counts = np.bincount(classes.labels, minlength=34)
    assert abs(counts - 100).max() < 5 * 10


def test_characters_can_be_told_apart():
    """Nearest mean of the pictures' shapes, which a careless drawing would not allow."""
    source = open_images("glyphs", 16, limit=3000)
    labels = source.classes().labels
    grey = to_float(source.load()).mean(axis=3)
    edge = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    shape = np.abs(grey - np.median(edge, axis=1)[:, None, None]).reshape(len(grey), -1)
    shape /= np.linalg.norm(shape, axis=1, keepdims=True)
    train, test = slice(0, 2400), slice(2400, None)
    means = np.stack([shape[train][labels[train] == c].mean(axis=0) for c in range(34)])
    distance = ((shape[test, None] - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == labels[test]).mean() > 0.4  # by chance 0.03


@pytest.mark.parametrize("size", [16, 64])
def test_characters_lie_inside_and_stand_out(size):
    glyphs = Glyphs(size, 200, 3)
    with glyphs.open() as read:
        pictures = np.stack([np.asarray(read(i), float) for i in range(200)]) / 255
    brightness = pictures.mean(axis=3)
    low, high = np.percentile(brightness, [5, 95], axis=(1, 2))
    assert ((high - low) > 0.25).mean() > 0.95


def test_power_falls_with_frequency_as_that_of_photographs_does():
    spectrum = Spectrum.from_images(to_float(open_images("glyphs", 32, limit=500).load()))
    power = band_power(spectrum.power)
    slope = np.polyfit(np.log(np.arange(2, 30)), np.log(power[2:30]), 1)[0]
    assert -3.5 < slope < -1.5


def test_bad_resolutions_are_refused(monkeypatch):
    with pytest.raises(InputError, match="glyphs: resolution 4 is too small"):
        open_images("glyphs", 4)
    with pytest.raises(InputError, match="glyphs: its images have no size of their own"):
        open_images("glyphs", None)
    assert choose_resolution("glyphs").resolution == 32
    monkeypatch.setattr("ssd_models.data.glyphs.FONTS", (*FONTS, "none.ttf"))
    with pytest.raises(InputError, match=r"none.ttf is missing; reinstall matplotlib"):
        Glyphs(32, 1, 0)


def test_some_characters_make_a_dataset_of_their_own():
    source = open_images("glyphs:CAB", 16, limit=300)
    classes = source.classes()
    assert classes.names == ("A", "B", "C")
    assert min(classes.counts.values()) > 70
    assert choose_resolution("glyphs:CAB").resolution == 32
    for wrong in ("glyphs:", "glyphs:A0", "glyphs:a"):
        with pytest.raises(InputError, match="choose from ABC"):
            open_images(wrong, 16)
