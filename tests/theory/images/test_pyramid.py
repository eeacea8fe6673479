"""Pyramids: exact reconstruction, and agreement with scikit-image."""

import numpy as np
import pytest
from skimage.transform import pyramid_expand, pyramid_gaussian

from theory import InputError, gaussian_pyramid, laplacian_pyramid
from theory.images.pyramid import expand, reconstruct, reduce

SHAPES = [(32, 32), (33, 47), (24, 40, 3)]


def image(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [2, 1.5, 2.7])
def test_laplacian_pyramid_reconstructs_exactly(shape, factor):
    x = image(shape)
    bands = laplacian_pyramid(x, 4, factor=factor)
    np.testing.assert_allclose(reconstruct(bands, factor=factor), x, atol=1e-13)


@pytest.mark.parametrize("shape", [(32, 32), (64, 16), (24, 40, 3), (33, 47)])
@pytest.mark.parametrize("factor", [2, 1.5, 2.7])
def test_gaussian_pyramid_is_scikit_images(shape, factor):
    x = image(shape)
    expected = pyramid_gaussian(
        x, max_layer=2, downscale=factor, channel_axis=2 if len(shape) == 3 else None
    )
    for ours, theirs in zip(gaussian_pyramid(x, 3, factor=factor), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_expanding_is_scikit_images_within_the_border():
    x = image((20, 26))
    ours, theirs = expand(x, (40, 52)), pyramid_expand(x)
    np.testing.assert_allclose(ours[4:-4, 4:-4], theirs[4:-4, 4:-4], atol=1e-12)
    assert np.abs(ours - theirs).max() > 0.01  # the borders follow different rules


def test_a_constant_image_has_no_detail():
    bands = laplacian_pyramid(np.full((16, 16), 0.3), 3)
    np.testing.assert_allclose(bands[0], 0, atol=1e-14)
    np.testing.assert_allclose(bands[1], 0, atol=1e-14)
    np.testing.assert_allclose(bands[2], 0.3)


def test_too_many_levels_are_refused():
    with pytest.raises(InputError, match="cannot have 6 levels"):
        gaussian_pyramid(image((16, 16)), 6)
    with pytest.raises(InputError, match="factor 1 must be above 1"):
        gaussian_pyramid(image((16, 16)), 2, factor=1)
    with pytest.raises(InputError, match="factor 0 must be above 1"):
        reduce(image((16, 16)), factor=0)
    with pytest.raises(InputError, match="sigma -1 must not be negative"):
        gaussian_pyramid(image((16, 16)), 2, sigma=-1)
