"""I-MMSE: inputs with known answers, and quadrature."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad

from theory import Spectrum, gaussian_information
from theory.information.mmse import binary_information, binary_mmse, gaussian_mmse

ONE = Spectrum.power_law(1, 0, pixel_variance=1.0)  # a single coefficient of variance 1


def test_known_answers():
    # Closed form for the Gaussian; for ±1 by adaptive quadrature of its density.
    assert gaussian_information(ONE, 1.0) == pytest.approx(0.5, abs=1e-6)
    assert binary_information(1.0) == pytest.approx(0.485944, abs=1e-6)
    assert binary_information(100.0) == pytest.approx(1, abs=1e-6)
    for snr in (0.1, 1, 2, 4, 10):
        assert gaussian_information(ONE, snr) == pytest.approx(np.log2(1 + snr) / 2, abs=1e-9)

        def integrand(y, snr=snr):
            density = [
                np.exp(-((y - x * np.sqrt(snr)) ** 2) / 2) / np.sqrt(8 * np.pi) for x in (-1, 1)
            ]
            total = sum(density)
            return -total * np.log2(total) if total > 0 else 0.0

        entropy = quad(integrand, -12, 12, limit=400, epsabs=1e-11)[0]
        noise = np.log2(2 * np.pi * np.e) / 2
        assert binary_information(snr) == pytest.approx(entropy - noise, abs=1e-6)


def test_parallel_channels():
    power = np.zeros((2, 2, 1))
    power.flat[:3] = 4, 1, 0.25
    zeros = np.zeros_like(power)
    spectrum = Spectrum(power, zeros, np.eye(1), 0, zeros)
    assert gaussian_information(spectrum, 1.0) == pytest.approx(1.821928, abs=1e-6)


@pytest.mark.parametrize("snr", [0.1, 1.0, 2.0, 4.0, 10.0])
def test_information_grows_at_half_the_mmse(snr):
    spectrum = Spectrum.power_law(8, 2)
    step = 1e-5 * snr
    for information, mmse in (
        (lambda x: gaussian_information(spectrum, x), gaussian_mmse(spectrum, snr)),
        (binary_information, binary_mmse(snr)),
    ):
        slope = (information(snr + step) - information(snr - step)) / (2 * step)
        assert slope * np.log(2) == pytest.approx(mmse / 2, rel=1e-6)


@given(st.floats(0, 100))
def test_a_gaussian_holds_most(snr):
    assert binary_information(snr) <= gaussian_information(ONE, snr) + 1e-9
    assert binary_mmse(snr) <= gaussian_mmse(ONE, snr) + 1e-9
