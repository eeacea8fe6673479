"""The classifier of images."""

import numpy as np
import pytest

from ssd_models.data.opening import open_images
from ssd_models.metrics.classifier import ImageClassifier
from theory.support.errors import InputError


def _stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy stripes that lie or stand, as class 0 or 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    lying = 60.0 * (np.arange(8) // 2 % 2)[:, None].repeat(8, axis=1)
    shapes = np.stack([lying, lying.T])[labels][..., None]
    return np.uint8(shapes + rng.uniform(0, 120, (count, 8, 8, 3))), labels


def test_it_learns_what_tells_classes_apart():
    classifier = ImageClassifier.trained(*_stripes(400, 0), epochs=3)
    images, labels = _stripes(200, 1)
    assert classifier.accuracy(images, labels) > 0.95
    assert classifier.accuracy(images, 1 - labels) < 0.05
    assert classifier.classes(images).shape == (200,)


def test_the_same_seed_gives_the_same_classifier():
    images, labels = _stripes(100, 0)
    one, same = (ImageClassifier.trained(images, labels, epochs=1, seed=5) for _ in range(2))
    for name, value in one.network.state_dict().items():
        np.testing.assert_array_equal(value, same.network.state_dict()[name])


@pytest.mark.slow
def test_it_reads_letters():
    source, other = (open_images("glyphs", 16, limit=n, seed=s) for n, s in ((3000, 0), (500, 1)))
    classifier = ImageClassifier.trained(source.load(), source.classes().labels, epochs=6)
    assert classifier.accuracy(other.load(), other.classes().labels) > 0.85


def test_what_cannot_be_used_is_refused():
    images, labels = _stripes(10, 0)
    with pytest.raises(InputError, match="and 9 labels"):
        ImageClassifier.trained(images, labels[:9])
    with pytest.raises(InputError, match="8 px or more"):
        ImageClassifier.trained(images[:, :4, :4], labels)
