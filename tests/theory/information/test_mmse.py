"""I-MMSE: inputs with known answers, quadrature, and estimates from measured errors."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad

from theory import InputError, NoiseSchedule, Spectrum, gaussian_information
from theory.information.mmse import (
    binary_information,
    binary_mmse,
    gaussian_mmse,
    information_from_errors,
)

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


def test_the_estimate_is_exact_for_gaussian_errors_and_close_for_others():
    snr = NoiseSchedule.linear(100).snr
    spectrum = Spectrum.power_law(8, 2)
    estimate = information_from_errors(snr, gaussian_mmse(spectrum, snr), spectrum)
    np.testing.assert_allclose(estimate.bits, gaussian_information(spectrum, np.sort(snr)))
    assert np.isnan(estimate.standard_error).all()
    plain = information_from_errors(snr, gaussian_mmse(spectrum, snr))
    np.testing.assert_allclose(plain.bits, estimate.bits, rtol=5e-3)
    binary = information_from_errors(snr, binary_mmse(snr), ONE)
    np.testing.assert_allclose(binary.bits, binary_information(np.sort(snr)), atol=3e-3)


def test_error_bars_are_the_spread_of_repeated_measurements():
    rng = np.random.default_rng(0)
    snr = NoiseSchedule.linear(40).snr[::-1]
    mmse = np.asarray(binary_mmse(snr))
    repeats = [rng.normal(mmse, 0.05) for _ in range(2000)]
    totals = [information_from_errors(snr, r.clip(0), ONE).bits[-10] for r in repeats]
    stated = information_from_errors(snr, mmse, ONE, np.full(40, 0.05)).standard_error[-10]
    assert np.std(totals) == pytest.approx(stated, rel=0.1)
    # Images that are each hard or easy at every step: rows keep that correlation.
    hard = rng.normal(size=(400, 1)) * 0.05
    rows = mmse * (1 + hard)
    result = information_from_errors(snr, rows, ONE)
    each = [information_from_errors(snr, row, ONE).bits[-1] for row in rows]
    assert result.standard_error[-1] == pytest.approx(np.std(each, ddof=1) / 20, rel=1e-6)
    assert result.bits[-1] == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("snr", "error", "said"),
    [
        ([1.0], [1.0], "at least two"),
        ([1.0, -1.0], [1.0, 1.0], "positive"),
        ([1.0, 1.0], [1.0, 1.0], "twice"),
        ([1.0, 2.0], [1.0], "shape"),
        ([1.0, 2.0], [1.0, np.nan], "NaN"),
    ],
)
def test_bad_measurements_are_refused(snr, error, said):
    with pytest.raises(InputError, match=said):
        information_from_errors(np.array(snr), np.array(error))
