"""Properties of the bounds: data processing, additivity, and the operators' losses."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    derive_schedule,
    discarded_information,
    gaussian_information,
    resize_matrix,
)
from theory.images.operators import OPERATORS
from theory.information.bounds import (
    band_information,
    covariance_information,
    hadamard_gap,
    schedule_information,
    shell_information,
)
from theory.information.discarded import dense_discarded_information, discarded_bound
from theory.information.thumbnails import matching_thumbnail, thumbnail_bits
from theory.oracle.dense import pixel_covariance
from theory.schedule.derivation import matched_resolution

EXPONENT = st.floats(0.5, 4)
SNR = st.floats(1e-4, 1e4)


def spectrum_of(exponent, channels=2):
    return Spectrum.power_law(8, exponent, channels=channels)


@given(EXPONENT, SNR, st.integers(1, 8))
def test_kept_and_discarded_make_the_total(exponent, snr, resolution):
    spectrum = spectrum_of(exponent)
    kept = schedule_like(spectrum, snr, resolution)
    lost = discarded_information(spectrum, snr, resolution)
    assert kept + lost == pytest.approx(gaussian_information(spectrum, snr))


def schedule_like(spectrum, snr, resolution):
    """Information of the low band of a state: resized, signal and noise."""
    power = spectrum.power[:resolution, :resolution]
    return 0.5 * np.log2(1 + snr * power).sum()


@given(EXPONENT, st.sampled_from(OPERATORS), st.sampled_from([1, 2, 3, 4, 6]), SNR, SNR)
def test_data_processing(exponent, operator, resolution, snr, other):
    """Less noise tells more; an operator never adds; nor does a state of a schedule."""
    spectrum = spectrum_of(exponent)
    low, high = sorted([snr, other])
    assert gaussian_information(spectrum, low) <= gaussian_information(spectrum, high) + 1e-12
    lost = discarded_bound(spectrum, snr, resolution, operator, "dense").bits
    assert -1e-9 <= lost <= gaussian_information(spectrum, snr) + 1e-9
    assert lost <= discarded_bound(spectrum, snr, resolution, operator, "diagonal").bits + 1e-9


@given(EXPONENT, st.sampled_from(["matched", "paper"]), st.sampled_from(["dct", "box"]))
def test_information_never_grows_along_a_schedule(exponent, noise_mode, operator):
    spectrum, noise = spectrum_of(exponent), NoiseSchedule.linear(60)
    schedule = derive_schedule(
        spectrum, noise, (8, 4, 2), noise_mode=noise_mode, operator=operator, criterion="snr"
    )
    bits = schedule_information(schedule, spectrum)
    assert (np.diff(bits) <= 1e-9).all()
    assert (bits <= gaussian_information(spectrum, noise.snr) + 1e-9).all()


def test_matched_noise_loses_the_discarded_band_and_the_papers_loses_more():
    spectrum, noise = Spectrum.power_law(64, 2.2), NoiseSchedule.linear(1000)
    paper = ResolutionSchedule.paper(64, 4, "ConvexDecay_0.5", noise)
    matched = ResolutionSchedule.from_noise(paper.resolutions, noise)
    t = 438
    full = gaussian_information(spectrum, noise.snr[t])
    lost = discarded_information(spectrum, noise.snr[t], 32)
    assert schedule_information(matched, spectrum)[t] == pytest.approx(full - lost)
    assert full / 64**2 == pytest.approx(0.0131, abs=5e-5)
    assert schedule_information(paper, spectrum)[t] / 64**2 == pytest.approx(0.0040, abs=5e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_dense_bound_is_that_of_explicit_covariances(operator):
    spectrum, snr = Spectrum.power_law(6, 2.0), 3.0
    data = pixel_covariance(spectrum, 0)
    axis = resize_matrix(operator, 6, 4)
    m = np.kron(axis, axis)
    signal, noise = snr * m @ data @ m.T, m @ m.T
    kept = 0.5 * (np.linalg.slogdet(signal + noise)[1] - np.linalg.slogdet(noise)[1]) / np.log(2)
    total = covariance_information(data, snr)
    bound = discarded_bound(spectrum, snr, 4, operator)
    assert bound.method == "dense"
    assert bound.bits == pytest.approx(total - kept, rel=1e-9)


@pytest.mark.parametrize("operator", OPERATORS)
def test_any_matrix_gives_what_the_separable_form_gives(operator):
    spectrum, snr = Spectrum.power_law(6, 2.0), np.array([0.1, 3.0])
    axis = resize_matrix(operator, 6, 4)
    lost = dense_discarded_information(pixel_covariance(spectrum, 0), np.kron(axis, axis), snr)
    np.testing.assert_allclose(lost, discarded_bound(spectrum, snr, 4, operator).bits, rtol=1e-9)


def test_a_mask_loses_what_the_hidden_pixels_add_and_a_blur_nothing():
    covariance = np.array([[2.0, 0.8], [0.8, 0.5]])
    lost = dense_discarded_information(covariance, np.array([[1.0, 0.0]]), 3.0)
    expected = np.log2(np.linalg.det(np.eye(2) + 3 * covariance) / (1 + 3 * 2.0)) / 2
    assert lost == pytest.approx(expected)
    blur = np.array([[0.7, 0.3], [0.3, 0.7]])
    assert dense_discarded_information(covariance, blur, 3.0) == pytest.approx(0, abs=1e-12)
    for bad in (np.eye(3), np.zeros((1, 2)), np.zeros((0, 2)), np.ones(2), [[1, np.nan]]):
        with pytest.raises(InputError, match="matrix"):
            dense_discarded_information(covariance, bad, 3.0)


def test_which_bound_was_used_is_said():
    spectrum = Spectrum.power_law(64, 2.0)
    assert discarded_bound(spectrum, 1.0, 16, "box").method == "dense"
    assert discarded_bound(spectrum, 1.0, 48, "box").method == "diagonal"
    with pytest.raises(InputError, match="method"):
        discarded_bound(spectrum, 1.0, 16, "box", "exact")


def test_the_diagonal_bound_exceeds_the_exact_one_by_the_correlations():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 2, 2, 1))
    x[..., 1, 1, 0] += x[..., 0, 0, 0]  # correlates DCT coefficients
    x = (x / 8).clip(-1, 1)
    snr = np.array([1.0, 30.0])
    gap = hadamard_gap(x, snr)
    assert (gap > 1e-4).all()
    assert gap[1] > 0.02
    white = (rng.normal(size=(40_000, 2, 2, 1)) / 8).clip(-1, 1)
    assert np.abs(hadamard_gap(white, snr)).max() < gap[1] / 20
    for bad in (np.zeros((2, 3)), np.array([[1.0, 2.0], [0.0, 1.0]]), -np.eye(2)):
        with pytest.raises(InputError, match="covariance"):
            covariance_information(bad, 1.0)


def test_parts_sum_to_the_whole():
    spectrum, snr = Spectrum.power_law(16, 2.0, channels=3), np.array([0.1, 1.0, 10.0])
    total = gaussian_information(spectrum, snr)
    bands = band_information(spectrum, snr)
    assert bands.shape == (3, 4, 3)
    np.testing.assert_allclose(bands.sum(axis=(1, 2)), total)
    shells = shell_information(spectrum, snr)
    np.testing.assert_allclose(shells.sum(axis=1), total)
    np.testing.assert_allclose(shells[:, 8:].sum(axis=1), discarded_information(spectrum, snr, 8))
    np.testing.assert_allclose(bands[:, -1].sum(axis=1), shells[:, 8:].sum(axis=1))


@pytest.mark.parametrize("criterion", ["snr", "information", "bits", "signal-fraction"])
def test_the_matched_resolution_is_the_staircase_made_continuous(criterion):
    spectrum, noise = Spectrum.power_law(32, 2.2), NoiseSchedule.linear(300)
    curve = matched_resolution(spectrum, noise.snr, criterion, 0.05)
    assert (np.diff(curve) <= 1e-9).all()
    assert curve.min() >= 1
    assert curve.max() <= 32
    levels = tuple(range(32, 0, -1))
    stairs = derive_schedule(spectrum, noise, levels, criterion, 0.05).resolutions
    np.testing.assert_array_equal(stairs[1:], np.ceil(curve - 1e-9)[1:])


def test_thumbnails_take_more_bits_the_larger_they_are():
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (4, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    images = smooth.astype(np.uint8)
    for file_format in ("png", "webp"):
        bits = thumbnail_bits(images, [4, 8, 32], file_format)
        assert bits.shape == (4, 3)
        assert (bits[:, 0] < bits[:, 2]).all()
        # Incompressible 4 x 4 pixels of 24 bits need their 384 bits, and a header.
        assert (bits[:, 0] > 384).all()
        assert (bits[:, 0] < 384 + 1500).all()
    np.testing.assert_allclose(
        matching_thumbnail(np.array([1.0, 100.0, 1e9]), [1, 10, 100], np.array([10, 100, 1000])),
        [1, 10, 100],
    )
    with pytest.raises(InputError, match="uint8"):
        thumbnail_bits(np.zeros((1, 4, 4, 3)), [2])
    with pytest.raises(InputError, match="from 1 to 32"):
        thumbnail_bits(images, [64])
    with pytest.raises(InputError, match="format 'jpeg'"):
        thumbnail_bits(images, [8], "jpeg")
