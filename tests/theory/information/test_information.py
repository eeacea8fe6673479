"""Information bounds: closed forms, I-MMSE, and what a band split must satisfy."""

import numpy as np
import pytest
from scipy.integrate import quad

from theory import (
    InputError,
    Spectrum,
    discarded_information,
    gaussian_information,
    signal_dominated_fraction,
)
from theory.information.bounds import state_information

SPECTRUM = Spectrum.power_law(16, 2.2)


def test_one_coefficient_is_the_gaussian_channel():
    spectrum = Spectrum.power_law(1, 2, pixel_variance=1.0)
    assert gaussian_information(spectrum, 3.0) == pytest.approx(1.0)  # ½ log2(1 + 3)


def test_information_is_the_integral_of_the_mmse():
    power = SPECTRUM.power

    def mmse(snr):
        return (power / (1 + snr * power)).sum()

    nats = 0.5 * quad(mmse, 0, 2.0)[0]
    assert gaussian_information(SPECTRUM, 2.0) == pytest.approx(nats / np.log(2), rel=1e-8)


@pytest.mark.parametrize("snr", [1e-4, 0.3, 50.0])
def test_kept_and_discarded_add_up(snr):
    kept = state_information(SPECTRUM, np.array([snr * 4]), np.array([8]))[0]  # matched: snr · 4
    lost = discarded_information(SPECTRUM, snr, 8)
    assert kept + lost == pytest.approx(gaussian_information(SPECTRUM, snr))
    assert discarded_information(SPECTRUM, snr, 16) == 0


def test_the_bound_holds_for_a_dense_covariance():
    # Discarded information of correlated Gaussian data, exactly, is at most the diagonal bound.
    rng = np.random.default_rng(0)
    root = rng.normal(size=(16, 16)) * np.geomspace(3, 0.1, 16)
    covariance = root @ root.T
    spectrum = Spectrum.power_law(4, 2)
    power = np.diag(covariance).reshape(4, 4, 1)
    spectrum = Spectrum(power, spectrum.mean, spectrum.colour_basis, 0, spectrum.standard_error)
    snr = 0.2
    low = (np.add.outer(4 * np.arange(4), np.arange(4))[:2, :2]).ravel()

    def bits(index):
        block = covariance[np.ix_(index, index)]
        return 0.5 * np.linalg.slogdet(np.eye(len(index)) + snr * block)[1] / np.log(2)

    lost = bits(np.arange(16)) - bits(low)
    assert 0 < lost < discarded_information(spectrum, snr, 2)


def test_signal_dominated_pixels():
    rng = np.random.default_rng(0)
    flat = Spectrum.power_law(8, 0, pixel_variance=0.25)
    pixels = rng.normal(scale=0.5, size=200_000)
    noise = rng.normal(size=200_000)
    for snr in (0.1, 4.0, 100.0):
        counted = (np.abs(np.sqrt(snr) * pixels) > np.abs(noise)).mean()
        assert signal_dominated_fraction(flat, snr) == pytest.approx(counted, abs=0.005)
        assert signal_dominated_fraction(pixels, snr) == pytest.approx(counted, abs=0.005)
    assert signal_dominated_fraction(flat, 3.9, kind="coefficients") == 0
    assert signal_dominated_fraction(flat, 4.1, kind="coefficients") == 1
    with pytest.raises(InputError):
        signal_dominated_fraction(pixels, 1.0, kind="coefficients")


def test_arrays_of_snr_keep_their_shape():
    snr = np.geomspace(0.01, 10, 6).reshape(2, 3)
    bits = gaussian_information(SPECTRUM, snr)
    assert bits.shape == (2, 3)
    assert bits[1, 2] == pytest.approx(gaussian_information(SPECTRUM, 10.0))
    with pytest.raises(InputError, match="negative"):
        gaussian_information(SPECTRUM, -1.0)
