"""Scale-space axioms, and agreement with convolution and scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import convolve1d, laplace
from skimage.filters import gaussian

from theory import InputError
from theory.images.scale_space import (
    KINDS,
    difference_of_gaussians,
    discrete_gaussian,
    gaussian_scale_space,
    heat_transfer,
    laplacian_scale_space,
    resized_stack,
    smooth,
)

RNG = np.random.default_rng(0)
IMAGES = [RNG.normal(size=shape) for shape in ((16, 16), (12, 31), (9, 20, 3), (1, 7))]
VARIANCE = st.floats(0, 20)
SIGNALS = arrays(
    np.float64, st.tuples(st.integers(2, 40), st.just(1)), elements=st.integers(-9, 9).map(float)
)


@pytest.mark.parametrize("variance", [0, 0.3, 1, 10, 200])
def test_the_kernel_has_the_stated_moments(variance):
    kernel = discrete_gaussian(variance)
    n = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-11)
    assert (kernel * n).sum() == pytest.approx(0, abs=1e-11)
    assert (kernel * n**2).sum() == pytest.approx(variance, rel=1e-6, abs=1e-12)
    np.testing.assert_array_equal(kernel, kernel[::-1])


@pytest.mark.parametrize("image", IMAGES, ids=lambda x: str(x.shape))
@pytest.mark.parametrize("variance", [0.2, 2.5, 30])
def test_the_heat_form_is_the_convolution(image, variance):
    kernel = discrete_gaussian(variance, 1e-14)
    expected = convolve1d(convolve1d(image, kernel, 0, mode="reflect"), kernel, 1, mode="reflect")
    np.testing.assert_allclose(smooth(image, variance), expected, atol=1e-11)


@given(VARIANCE, VARIANCE, st.sampled_from(KINDS), st.sampled_from(range(len(IMAGES))))
def test_scales_add_and_the_mean_stays(s, t, kind, which):
    image = IMAGES[which]
    twice = smooth(smooth(image, s, kind), t, kind)
    np.testing.assert_allclose(twice, smooth(image, s + t, kind), atol=1e-12)
    np.testing.assert_allclose(twice.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=1e-13)


def extrema(signal):
    """Number of changes of direction, equal neighbours aside."""
    slope = np.diff(signal.ravel())
    slope = np.sign(slope[np.abs(slope) > 1e-9])  # rounding is no extremum
    return int((np.diff(slope) != 0).sum())


@settings(max_examples=200)
@given(SIGNALS, VARIANCE)
def test_a_signal_never_gains_extrema(signal, variance):
    assert extrema(smooth(signal, variance)) <= extrema(signal)


def test_a_sampled_gaussian_breaks_what_the_discrete_one_keeps():
    """The test above can fail: an undersampled Gaussian kernel is no semigroup."""
    n = np.arange(-6, 7)
    sampled = np.exp(-(n**2) / (2 * 0.2))
    sampled /= sampled.sum()
    twice = np.convolve(sampled, sampled)
    n2 = np.arange(-12, 13)
    once = np.exp(-(n2**2) / (2 * 0.4))
    assert np.abs(twice - once / once.sum()).max() > 0.01
    kernel = discrete_gaussian(0.2, 1e-15)
    double = discrete_gaussian(0.4, 1e-15)
    twice = np.convolve(kernel, kernel)
    middle = len(twice) // 2
    half = min(middle, len(double) // 2)
    np.testing.assert_allclose(
        twice[middle - half : middle + half + 1],
        double[len(double) // 2 - half : len(double) // 2 + half + 1],
        atol=1e-13,
    )


@pytest.mark.parametrize(("kind", "atol"), [("discrete", 1e-2), ("continuous", 1e-7)])
def test_large_scales_agree_with_scikit_image(kind, atol):
    image = RNG.normal(size=(40, 52, 3))
    expected = gaussian(image, sigma=3, mode="reflect", channel_axis=-1, truncate=8)
    # The discrete and the continuous Gaussian differ by terms of order 1/t.
    np.testing.assert_allclose(smooth(image, 9.0, kind), expected, atol=atol)


def test_the_laplacian_is_the_rate_of_change():
    image, t, step = IMAGES[1], 2.0, 1e-4
    rate = (smooth(image, t + step) - smooth(image, t - step)) / (2 * step)
    laplacian = laplacian_scale_space(image, [t])[0]
    np.testing.assert_allclose(laplacian, 2 * t * rate, atol=1e-7)
    np.testing.assert_allclose(laplacian, t * laplace(smooth(image, t), mode="reflect"), atol=1e-12)


def test_a_blob_responds_most_at_its_own_scale():
    n = np.arange(65) - 32
    blob = np.exp(-(n[:, None] ** 2 + n**2) / (2 * 9.0))
    scales = [4.5, 6, 7.5, 9, 11, 13, 18]
    response = laplacian_scale_space(blob, scales)[:, 32, 32]
    assert (response < 0).all()
    assert scales[int(np.argmin(response))] == 9


def test_differences_telescope():
    image, scales = IMAGES[2], [0.0, 1.0, 2.5, 7.0]
    bands = difference_of_gaussians(image, scales)
    assert bands.shape == (3, *image.shape)
    np.testing.assert_allclose(bands.sum(axis=0) + smooth(image, 7.0), image, atol=1e-12)
    close = difference_of_gaussians(image, [2.0, 2.001])[0]
    laplacian = laplacian_scale_space(image, [2.0])[0] / 2.0
    np.testing.assert_allclose(close, -0.0005 * laplacian, atol=1e-6)


def test_stacks_have_any_size():
    image = RNG.normal(size=(20, 33, 3))
    stack = resized_stack(image, [(20, 33), (13, 21), (7, 8), (1, 1)])
    assert [level.shape for level in stack] == [(20, 33, 3), (13, 21, 3), (7, 8, 3), (1, 1, 3)]
    np.testing.assert_allclose(stack[0], image, atol=1e-12)
    np.testing.assert_allclose(stack[-1][0, 0], image.mean(axis=(0, 1)), atol=1e-12)
    single = resized_stack(image[..., 1], [(13, 21)], "box")[0]
    np.testing.assert_allclose(single, resized_stack(image, [(13, 21)], "box")[0][..., 1])


def test_transfer_is_as_stated():
    np.testing.assert_allclose(
        heat_transfer(8, 1.5), np.exp(-1.5 * (1 - np.cos(np.pi * np.arange(8) / 8)))
    )
    np.testing.assert_allclose(
        heat_transfer(8, 1.5, "continuous"), np.exp(-1.5 * (np.pi * np.arange(8) / 8) ** 2 / 2)
    )
    assert gaussian_scale_space(IMAGES[0], [0.0, 1.0, 3.0]).shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: smooth(np.zeros(4), 1), "shape"),
        (lambda: smooth(np.full((2, 2), np.nan), 1), "not finite"),
        (lambda: smooth(np.zeros((2, 2)), -1), "negative"),
        (lambda: smooth(np.zeros((2, 2)), 1, "other"), "kind"),
        (lambda: gaussian_scale_space(np.zeros((2, 2)), []), "at least one"),
        (lambda: difference_of_gaussians(np.zeros((2, 2)), [2, 1]), "fine to coarse"),
        (lambda: resized_stack(np.zeros((2, 2)), [(3, 1)]), "size 3 x 1"),
        (lambda: discrete_gaussian(1, 0), "tail"),
        (lambda: heat_transfer(0, 1), "size 0"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
