"""Pyramids: exact reconstruction, and agreement with scikit-image."""

import numpy as np
import pytest
from skimage.transform import pyramid_gaussian

from theory import InputError, gaussian_pyramid, laplacian_pyramid
from theory.pyramid import reconstruct

SHAPES = [(32, 32), (33, 47), (24, 40, 3)]


def image(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_laplacian_pyramid_reconstructs_exactly(shape):
    x = image(shape)
    np.testing.assert_allclose(reconstruct(laplacian_pyramid(x, 4)), x, atol=1e-13)


@pytest.mark.parametrize("shape", [(32, 32), (64, 16), (24, 40, 3)])
def test_gaussian_pyramid_is_scikit_images(shape):
    x = image(shape)
    expected = pyramid_gaussian(x, max_layer=2, channel_axis=2 if len(shape) == 3 else None)
    for ours, theirs in zip(gaussian_pyramid(x, 3), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_a_constant_image_has_no_detail():
    bands = laplacian_pyramid(np.full((16, 16), 0.3), 3)
    np.testing.assert_allclose(bands[0], 0, atol=1e-14)
    np.testing.assert_allclose(bands[1], 0, atol=1e-14)
    np.testing.assert_allclose(bands[2], 0.3)


def test_too_many_levels_are_refused():
    with pytest.raises(InputError, match="cannot have 6 levels"):
        gaussian_pyramid(image((16, 16)), 6)
