"""States that pages show: the same image and noise at both resolutions."""

import numpy as np
import pytest
from scipy.fft import dctn

from theory import NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.images.operators import resize_matrix
from theory.information.bounds import schedule_information
from theory.plots.shown_states import (
    gaussian_draws,
    lifted,
    noisy_state,
    shown_state,
    shown_steps,
    to_uint8,
)

SPECTRUM = Spectrum.power_law(16, 2.2, pixel_variance=0.1, channels=3)
NOISE = NoiseSchedule.linear(100)
LOSSLESS = derive_schedule(SPECTRUM, NOISE, (16, 8, 4))
JUMPS = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), criterion="snr")


def coefficients(x):
    return dctn(x, axes=(0, 1), norm="ortho")


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (16, 16, 3)), rng.standard_normal((16, 16, 3))


@pytest.mark.parametrize("schedule", [LOSSLESS, JUMPS], ids=["lossless", "jumps"])
def test_the_small_state_is_the_low_band_of_the_large_one(schedule):
    clean, noise = drawn()
    full = lifted(schedule)
    np.testing.assert_allclose(full.base_snr, schedule.base_snr)
    for t in (0, *schedule.changes, 99):
        side = int(schedule.resolutions[t])
        large = coefficients(noisy_state(full, clean, noise, t))[:side, :side]
        small = coefficients(noisy_state(schedule, clean, noise, t))
        np.testing.assert_allclose(small, large * schedule.sigma[t] / full.sigma[t], atol=1e-12)


def test_the_large_state_holds_no_more_than_a_lossless_small_one():
    clean, noise = drawn()
    full = lifted(LOSSLESS)
    known = schedule_information(full, SPECTRUM)
    np.testing.assert_allclose(known, schedule_information(LOSSLESS, SPECTRUM))
    t = min(LOSSLESS.changes)
    outside = coefficients(noisy_state(full, clean, noise, t))
    expected = full.sigma[t] * coefficients(noise)
    np.testing.assert_allclose(outside[8:], expected[8:], atol=1e-12)  # noise alone
    assert (schedule_information(lifted(JUMPS), SPECTRUM)[99:] > 0).all()


def test_an_operator_that_mixes_frequencies():
    schedule = ResolutionSchedule.from_noise(np.r_[[16] * 50, [8] * 50], NOISE, operator="box")
    clean, noise = drawn()
    axis = resize_matrix("box", 16, 8)
    expected = schedule.alpha[60] * np.einsum("ij,jkc,lk->ilc", axis, clean, axis)
    np.testing.assert_allclose(noisy_state(schedule, clean, 0 * noise, 60), expected, atol=1e-12)
    noise_alone = noisy_state(schedule, 0 * clean, noise, 60)
    np.testing.assert_allclose(
        coefficients(noise_alone), schedule.sigma[60] * coefficients(noise)[:8, :8], atol=1e-12
    )


def test_steps_hold_both_sides_of_changes_and_both_ends():
    steps = shown_steps(JUMPS)
    assert steps == sorted(set(steps))
    assert {0, 50, 99, *JUMPS.change_sides} <= set(steps)
    assert len(steps) < 30


def test_draws_have_the_spectrum_s_power_and_mean():
    mean = np.full((16, 16, 3), 0.25)
    spectrum = Spectrum(SPECTRUM.power, mean, SPECTRUM.colour_basis, 0, 0 * mean)
    draws = gaussian_draws(spectrum, 400)
    power = np.square(dctn(draws - mean, axes=(1, 2), norm="ortho")).mean(axis=0)
    np.testing.assert_allclose((power / spectrum.power).mean(), 1, atol=0.02)
    assert abs((power / spectrum.power).std() - np.sqrt(2 / 400)) < 0.02


def test_values_of_pictures():
    np.testing.assert_array_equal(to_uint8(np.array([-2.0, -1, 0, 1, 2])), [0, 0, 128, 255, 255])
    half = JUMPS.alpha[50] + JUMPS.sigma[50]
    np.testing.assert_array_equal(shown_state(JUMPS, np.array([half, -half]), 50), [255, 0])
