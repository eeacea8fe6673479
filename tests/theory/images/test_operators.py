"""Resize matrices: against torch, against known gains, and under composition."""

import numpy as np
import pytest
import torch

from theory import InputError, resize_matrix
from theory.images.axis_maps import DegradationPath, lambda_max
from theory.images.operators import OPERATORS

SIZES = [(64, 32), (48, 36), (33, 10), (8, 8)]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_constants_survive(operator, n_in, n_out):
    matrix = resize_matrix(operator, n_in, n_out)
    assert matrix.shape == (n_out, n_in)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_bilinear_is_torchs_antialiased_resize(n_in, n_out):
    x = np.random.default_rng(0).normal(size=(n_in, n_in))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None, None],
        size=(n_out, n_out),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[0, 0].numpy()
    matrix = resize_matrix("bilinear", n_in, n_out)
    np.testing.assert_allclose(matrix @ x @ matrix.T, expected, atol=1e-12)


def test_box_averages_blocks():
    x = np.random.default_rng(0).normal(size=12)
    np.testing.assert_allclose(resize_matrix("box", 12, 4) @ x, x.reshape(4, 3).mean(axis=1))


@pytest.mark.parametrize("operator", ["box", "dct"])
def test_halving_scales_white_noise_by_a_quarter_in_every_direction(operator):
    matrix = resize_matrix(operator, 32, 16)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(16) / 2, atol=1e-12)
    assert lambda_max(operator, 32, 16) == pytest.approx(0.25, abs=1e-12)


@pytest.mark.parametrize("operator", ["box", "dct"])
def test_two_halvings_are_one_quartering(operator):
    np.testing.assert_allclose(
        DegradationPath(operator, (32, 16, 8)).matrix(), resize_matrix(operator, 32, 8), atol=1e-12
    )


def test_dct_keeps_the_lowest_coefficients_and_no_other():
    from scipy.fft import dct

    x = np.random.default_rng(0).normal(size=24)
    small = dct(resize_matrix("dct", 24, 9) @ x, norm="ortho")
    np.testing.assert_allclose(small, dct(x, norm="ortho")[:9] * np.sqrt(9 / 24), atol=1e-12)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="'cubic': unknown"):
        resize_matrix("cubic", 4, 2)
    with pytest.raises(InputError, match="at least 1"):
        resize_matrix("box", 4, 0)
