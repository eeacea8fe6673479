"""Schedules by reverse water-filling: nothing outside a state, and the rate-distortion function."""

import json

import numpy as np
import pytest

from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    derive_schedule,
    schedule_information,
)
from theory.schedule.attenuation import Attenuation
from theory.schedule.levels import halved_levels

NOISES = ("linear", "cosine", "spectrum")


def falling(size, exponent=2.2, channels=1):
    """A spectrum of 8-bit images' scale whose power falls with the Euclidean radius."""
    return Spectrum.power_law(size, exponent, channels=channels)


def colourful(size):
    """Three components, of which the second is largest in the middle, and all are rugged."""
    spectrum = falling(size, channels=3)
    rng = np.random.default_rng(size)
    power = spectrum.power * [1, 0.2, 0.02] * rng.uniform(0.3, 1.7, spectrum.power.shape)
    power[size // 3 : size // 2, :, 1] *= 20
    return Spectrum(power, spectrum.mean, np.eye(3), 0, np.zeros_like(power))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("smoothness", [1.0, 2.0])
@pytest.mark.parametrize("tolerance", [0.1, 0.3, 1.0])
@pytest.mark.parametrize(("size", "levels"), [(32, 3), (64, 4), (128, 5), (256, 6)])
def test_outside_a_state_all_gains_are_zero(size, levels, tolerance, smoothness, noise):
    spectrum = colourful(size)
    schedule = derive_schedule(
        spectrum,
        NoiseSchedule.named(noise, 1000, spectrum),
        halved_levels(size, levels),
        tolerance=tolerance,
        smoothness=smoothness,
    )
    attenuation = schedule.attenuation
    assert len(schedule.changes) >= 2
    envelope = attenuation.grid(size, size)
    assert (envelope[:, :, None] >= spectrum.power).all()
    for t in {0, *schedule.change_sides, 17, 500, 999}:
        gain = attenuation.gain(schedule.base_snr[t], envelope)
        side = schedule.resolutions[t]
        np.testing.assert_array_equal(gain[side:], 0)
        np.testing.assert_array_equal(gain[:, side:], 0)
        gains = schedule.signal_gains(t)
        assert gains.shape == (size, size)
        amplitude = schedule.alpha[t] * side / size
        np.testing.assert_allclose(gains, amplitude * gain, rtol=1e-12)
        smaller = [level for level in schedule.levels if level < side]
        if smaller:  # the smallest level outside of which nothing is left
            assert gain[max(smaller) :].any() or t == 0
    # Every step's largest gain outside, at the frequency next to the state.
    outside = np.append(attenuation.envelope(np.arange(1.0, size) ** 2), 0.0)
    np.testing.assert_array_equal(
        attenuation.gain(schedule.base_snr, outside[schedule.resolutions - 1]), 0
    )
    if noise == "spectrum" and tolerance == 1:
        np.testing.assert_array_equal(schedule.signal_gains(999), 0)  # begins with white noise


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("size", [32, 128])
def test_states_hold_the_rate_at_least_distortion(size, noise):
    """With p = τ = 1 and one component: the rate-distortion function, by reverse water-filling."""
    spectrum = falling(size)
    schedule = derive_schedule(
        spectrum,
        NoiseSchedule.named(noise, 300, spectrum),
        halved_levels(size, 3),
        smoothness=1.0,
    )
    level = 1 / schedule.base_snr  # θ
    with np.errstate(divide="ignore"):
        rate = [np.maximum(0, np.log2(spectrum.power / theta) / 2).sum() for theta in level]
    np.testing.assert_allclose(schedule_information(schedule, spectrum), rate, rtol=1e-9, atol=1e-9)
    # The least mean-square error from the state is the distortion.
    for t in (10, 100, 250):
        gains = schedule.signal_gains(t)[:, :, None]
        left = spectrum.power / (1 + (gains / schedule.sigma[t]) ** 2 * spectrum.power)
        np.testing.assert_allclose(left, np.minimum(level[t], spectrum.power), rtol=1e-9)


def test_information_is_the_same_on_both_sides_of_a_change():
    spectrum = colourful(32)
    noise = NoiseSchedule.linear(1000)
    fade = derive_schedule(spectrum, noise, (32, 16, 8))
    bits = schedule_information(fade, spectrum)
    for t, (before, after) in fade.changes.items():
        # The state at t, had it kept the larger size: the same coefficients, and none beyond.
        larger = fade.resolutions.copy()
        larger[t] = before
        kept = ResolutionSchedule.from_noise(larger, noise, attenuation=fade.attenuation)
        assert schedule_information(kept, spectrum)[t] == pytest.approx(bits[t], rel=1e-12)
        gains = kept.signal_gains(t)
        assert not gains[after:].any()
        assert not gains[:, after:].any()


def test_steps_are_valid_and_the_envelope_never_rises():
    fade = derive_schedule(colourful(32), NoiseSchedule.linear(200), (32, 16, 8), smoothness=1.0)
    power = fade.attenuation.envelope(np.arange(2000.0))
    assert (np.diff(power) <= 0).all()
    before = np.ones((32, 32))
    for t, snr in enumerate(fade.base_snr):
        gain = fade.attenuation.gain(snr, fade.attenuation.grid(32, 32))
        assert (gain <= before).all(), t
        before = gain


def test_a_file_rebuilds_exactly_the_same_schedule(tmp_path):
    fade = derive_schedule(colourful(32), NoiseSchedule.cosine(100), (32, 16), tolerance=0.3)
    fade.save(tmp_path / "s.json")
    loaded = ResolutionSchedule.load(tmp_path / "s.json")
    assert loaded.digest == fade.digest
    assert loaded.to_json() == fade.to_json()
    for t in (0, 50, 99):
        np.testing.assert_array_equal(loaded.signal_gains(t), fade.signal_gains(t))
    assert loaded.derivation["smoothness"] == 2.0
    plain = derive_schedule(colourful(32), NoiseSchedule.cosine(100), (32, 16), "snr")
    assert "attenuation" not in plain.to_json()


def _tampered(change):
    fade = derive_schedule(colourful(32), NoiseSchedule.linear(100), (32, 16), tolerance=0.3)
    content = json.loads(json.dumps(fade.to_json()))
    change(content, content["attenuation"])
    return content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, a: a.update(tolerance=0), r"tolerance 0.0: must lie in \(0, 1\]"),
        (lambda c, a: a.update(tolerance=1.5), "tolerance 1.5"),
        (lambda c, a: a.update(tolerance=True), "attenuation: tolerance: must be a number"),
        (lambda c, a: a.update(smoothness=0.5), "smoothness 0.5: must be a number of at least 1"),
        (lambda c, a: a.pop("power"), "attenuation: lacks the entries power"),
        (lambda c, a: a.update(power=3), "attenuation: power: must be a list of numbers"),
        (
            lambda c, a: a["power"].__setitem__(1, "x"),
            r"attenuation: power\[1\]: must be a number, not 'x'",
        ),
        (lambda c, a: a["power"].pop(), "as many powers as radii"),
        (lambda c, a: a["power"].__setitem__(2, a["power"][1]), r"power\[2\] must fall"),
        (lambda c, a: a["power"].__setitem__(-1, 0.0), "must be finite, powers > 0"),
        (lambda c, a: a["power"].__setitem__(0, float("nan")), "must be finite"),
        (lambda c, a: a["squared_radius"].__setitem__(1, 0), r"squared_radius\[1\] must rise"),
        (lambda c, a: a["squared_radius"].__setitem__(0, -1), r"squared_radius\[0\] must not be"),
        (lambda c, a: c.update(attenuation=[]), "attenuation: must be an object"),
        (
            lambda c, a: a.update(power=[10 * p for p in a["power"]]),
            r"resolutions\[\d+\] = 16: leaves out coefficients that the attenuation has not",
        ),
        (lambda c, a: a.update(tolerance=0.1), "leaves out coefficients"),
        (lambda c, a: c.update(operator="box"), "attenuation: needs operator 'dct'"),
        (lambda c, a: c.update(blur=np.linspace(0, 1, 100).tolist()), "and no blur"),
    ],
)
def test_tampered_files_are_refused(change, said, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(_tampered(change)))
    with pytest.raises(InputError, match=said):
        ResolutionSchedule.load(tmp_path / "s.json")


def test_impossible_derivations_are_refused():
    noise, spectrum = NoiseSchedule.linear(100), colourful(32)
    for options, said in (
        ({"tolerance": 2.0}, "tolerance 2.0"),
        ({"smoothness": 0.0}, "smoothness 0.0"),
        ({"operator": "box"}, "needs matched noise and operator 'dct'"),
        ({"noise_mode": "paper"}, "needs matched noise and operator 'dct'"),
    ):
        with pytest.raises(InputError, match=said):
            derive_schedule(spectrum, noise, (32, 16), **options)
    full = derive_schedule(spectrum, noise, (32, 16), tolerance=0.0)  # τ = 0 is full resolution
    assert full.attenuation is None
    assert not full.changes
    with pytest.raises(InputError, match="no power"):
        Attenuation.of(
            Spectrum(np.zeros((8, 8, 1)), np.zeros((8, 8, 1)), np.eye(1), 0, np.zeros((8, 8, 1))),
            1.0,
            1.0,
        )
