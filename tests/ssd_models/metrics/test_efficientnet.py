"""Distances of pretrained features."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from ssd_models.data.opening import open_images
from ssd_models.metrics import efficientnet
from ssd_models.metrics.efficientnet import (
    FEATURES,
    efficientnet_distances,
    efficientnet_features,
    kernel_distance,
)
from ssd_models.metrics.evaluation import evaluate_images, table
from ssd_models.metrics.frechet import frechet_distance
from theory import InputError

IMAGES = open_images("photos", 64, limit=64).load()


@pytest.fixture(scope="module")
def features():
    return efficientnet_features(IMAGES)


def test_features_depend_on_each_picture_alone(features):
    assert features.shape == (64, FEATURES)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(
        efficientnet_features(IMAGES[:5], batch=2), features[:5], rtol=1e-3, atol=1e-4
    )
    grey = IMAGES[:2, :, :, :1]
    np.testing.assert_allclose(
        efficientnet_features(grey), efficientnet_features(grey.repeat(3, axis=3)), atol=1e-4
    )


def blurred(images, amount):
    return gaussian_filter(images, (0, amount, amount, 0))


def noisy(images, amount):
    drawn = np.random.default_rng(0).normal(0, amount, images.shape)
    return np.clip(images + drawn, 0, 255).astype(np.uint8)


def recoloured(images, amount):
    return np.clip(images * [1 + amount, 1, 1 - amount], 0, 255).astype(np.uint8)


def compressed(images, quality):
    def one(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "jpeg", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([one(image) for image in images])


@pytest.mark.parametrize(
    ("change", "amounts"),
    [(blurred, (0.6, 1.5)), (noisy, (8, 25)), (recoloured, (0.15, 0.5)), (compressed, (50, 12))],
)
def test_distances_grow_with_what_is_done_to_images(change, amounts, features):
    changed = [efficientnet_features(change(IMAGES, amount)) for amount in amounts]
    for distance in (frechet_distance, kernel_distance):
        little, much = (distance(features, other) for other in changed)
        assert little < much
        assert much > 3 * distance(features, features[::-1])


def test_two_halves_are_near(features):
    half = kernel_distance(features[::2], features[1::2])
    assert abs(half) < 0.2 * kernel_distance(
        features[::2], efficientnet_features(blurred(IMAGES[1::2], 1.5))
    )


def test_kernel_distance_is_the_unbiased_estimate():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)) + 0.5

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    def mean(pairs):
        return np.mean([kernel(x, y) for x, y in pairs])

    expected = (
        mean((a[i], a[j]) for i in range(5) for j in range(5) if i != j)
        + mean((b[i], b[j]) for i in range(4) for j in range(4) if i != j)
        - 2 * mean((x, y) for x in a for y in b)
    )
    assert kernel_distance(a, b) == pytest.approx(expected)
    draws = rng.normal(size=(400, 2, 8, 3))
    found = np.array([kernel_distance(*pair) for pair in draws])
    assert abs(found.mean()) < 3 * found.std() / 20


def test_frechet_distance_is_the_usual_formula(features):
    a, b = features[:40].astype(float)[:, :20], features[40:].astype(float)[:, :20]
    one, other = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(
        one + other - 2 * sqrtm(one @ other).real
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_evaluation_shows_them_when_asked():
    small = IMAGES[:, ::2, ::2]
    result = evaluate_images(small[:20], small[20:], features=True)
    for part in ("metrics", "baseline"):
        assert {"fd_effnet", "kd_effnet"} <= set(result[part])
    own = efficientnet_distances(small[:20], small[20:40])
    assert set(own) == {"fd_effnet", "kd_effnet"}
    assert "fd effnet" in table(result)
    assert "fd_effnet" not in evaluate_images(small[:20], small[20:])["metrics"]


def test_missing_weights_and_other_images_are_refused(monkeypatch):
    with pytest.raises(InputError, match="need uint8"):
        efficientnet_features(IMAGES.astype(float))
    with pytest.raises(InputError, match=r"\(2, 64, 64, 2\)"):
        efficientnet_features(IMAGES[:2, :, :, :2])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'missing; pip install "scale-space-diffusion\[features'):
        efficientnet.check_efficientnet()
