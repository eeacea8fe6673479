"""What a denoiser finds: Gaussian data give the closed form, ±1 data their own known answer."""

import numpy as np
import pytest

from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    derive_schedule,
    discarded_information,
)
from theory.information.bounds import gaussian_information, schedule_information, shell_information
from theory.information.measured import (
    MeasuredInformation,
    error_weights,
    losses_at_changes,
    measured_information,
)
from theory.information.mmse import binary_information, binary_mmse
from theory.spectrum.bands import shell_index

NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(16, 2.2)
SHELLS = shell_index(16)
STEPS = list(range(0, 1000, 7))


def schedule_of(mode="matched", operator="dct"):
    return derive_schedule(
        SPECTRUM,
        NOISE,
        (16, 8, 4),
        tolerance=0.3,
        noise_mode=mode,
        operator=operator,
        criterion="snr",
    )


def gaussian_errors(schedule, steps, scale=1.0):
    """Exact error of the linear denoiser at each step and frequency, as of one image."""
    errors = []
    for t in steps:
        r, snr = int(schedule.resolutions[t]), schedule.snr[t]
        level = SPECTRUM.at_resolution(r, schedule.operator) if r < 16 else SPECTRUM
        error = (level.power / (1 + snr * level.power)).sum(axis=-1)
        errors.append(scale * np.bincount(SHELLS[:r, :r].ravel(), error.ravel(), r)[None])
    return errors


@pytest.mark.parametrize("mode", ["matched", "paper"])
@pytest.mark.parametrize("operator", ["dct", "box"])
def test_gaussian_data_give_the_states_information(mode, operator):
    schedule = schedule_of(mode, operator)
    found = measured_information(schedule, SPECTRUM, STEPS, gaussian_errors(schedule, STEPS))
    np.testing.assert_allclose(found.bits, found.bound, atol=1e-9)
    if operator == "dct":
        expected = schedule_information(schedule, SPECTRUM)[found.steps]
        np.testing.assert_allclose(found.bits.sum(axis=1), expected, rtol=1e-9)
    np.testing.assert_allclose(found.octaves()[0].sum(axis=1), found.bits.sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("smoothness", [1.0, 2.0])
def test_attenuated_states_of_gaussian_data(smoothness):
    """Half of the error is half of the information, of each coefficient's own snr."""
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), smoothness=smoothness)
    steps = list(range(1000))
    weights = error_weights(schedule, steps)
    errors = []
    for t in steps:
        r, own = int(schedule.resolutions[t]), schedule.signal_gains(t) ** 2
        own = own[:r, :r] / schedule.sigma[t] ** 2
        power = SPECTRUM.power[:r, :r, 0]
        error = weights[t] * (r / 16) ** 2 * power / (1 + own * power)
        errors.append(np.bincount(SHELLS[:r, :r].ravel(), error.ravel(), r)[None])
    expected = schedule_information(schedule, SPECTRUM)
    exact = measured_information(schedule, SPECTRUM, steps, errors)
    np.testing.assert_allclose(exact.bits.sum(axis=1), expected[::-1], rtol=1e-9, atol=1e-9)
    half = measured_information(schedule, SPECTRUM, steps, [e / 2 for e in errors])
    ahead = 0.5 * (expected + expected[-1])[::-1]  # the first step's information is the Gaussian's
    np.testing.assert_allclose(half.bits.sum(axis=1), ahead, rtol=2e-3, atol=4e-3)
    # Bits of the full resolution follow those of the attenuated states.
    at = schedule.base_snr[[100, 500]]
    full = shell_information(SPECTRUM, at).sum(axis=1)
    np.testing.assert_allclose(exact.shell_bits(at).sum(axis=1), full, rtol=1e-9)
    assert 0.45 < half.shell_bits(at).sum(axis=1)[0] / full[0] < 0.55
    assert [(loss.gaussian, loss.found) for loss in losses_at_changes(schedule, half)] == [
        (0.0, 0.0)
    ] * len(schedule.changes)


def test_signs_are_known_to_hold_less_than_gaussians():
    """Images that are ±1 times a constant: one coefficient, whose information ends at 1 bit."""
    size = 8
    power = np.zeros((size, size, 1))
    power[0, 0] = size**2
    zeros = np.zeros_like(power)
    spectrum = Spectrum(power, zeros, np.eye(1), 1, zeros)
    schedule = ResolutionSchedule.full_resolution(size, NOISE)
    steps = range(150, 1000)
    snr = schedule.snr[150:]
    errors = [np.zeros((1, size)) for _ in steps]
    for row, value in zip(errors, snr, strict=True):
        row[0, 0] = size**2 * binary_mmse(value * size**2)
    found = measured_information(schedule, spectrum, steps, errors)
    total = found.bits.sum(axis=1)[::-1]
    # What lies below the noisiest step counts as the Gaussian's: 1.9e-3 bits here.
    np.testing.assert_allclose(total, binary_information(snr * size**2), atol=2.5e-3)
    assert total[0] == pytest.approx(1, abs=2.5e-3)
    assert found.bound.sum(axis=1)[-1] > 3.9
    at = found.shell_bits(snr[[0, 400]])
    np.testing.assert_allclose(at.sum(axis=1), total[[0, 400]], rtol=1e-9)


def test_the_linear_error_on_the_same_states_removes_chance():
    schedule = schedule_of()
    exact = gaussian_errors(schedule, STEPS)
    rng = np.random.default_rng(0)
    drawn = [e * rng.gamma(3, 1 / 3, (40, 1)) for e in exact]
    loose = measured_information(schedule, SPECTRUM, STEPS, drawn)
    tight = measured_information(schedule, SPECTRUM, STEPS, drawn, drawn)
    np.testing.assert_allclose(tight.bits, tight.bound, atol=1e-9)
    assert tight.standard_error.max() < 1e-9 < loose.standard_error[-1]
    off = np.abs(loose.bits.sum(1) - loose.bound.sum(1))
    assert (off < 5 * loose.standard_error + 1e-9).all()


def test_a_change_loses_its_band_and_the_papers_noise_more():
    for mode in ("matched", "paper"):
        schedule = schedule_of(mode)
        full = ResolutionSchedule.full_resolution(16, NOISE, "dct")
        errors = gaussian_errors(full, STEPS)
        losses = losses_at_changes(schedule, measured_information(full, SPECTRUM, STEPS, errors))
        assert [loss.step for loss in losses] == list(schedule.changes)
        for loss in losses:
            base = schedule.base_snr[loss.step]
            band = shell_information(SPECTRUM, np.array([base]))[0, loss.after : loss.before].sum()
            assert loss.found == pytest.approx(loss.gaussian, rel=1e-6)
            if mode == "matched":
                assert loss.gaussian == pytest.approx(band, rel=1e-9)
            elif loss is losses[0]:
                assert loss.gaussian > 2 * band


def test_half_the_error_is_found_lost_at_changes():
    """A full-resolution network that errs half as much finds less in the discarded band too."""
    full = ResolutionSchedule.full_resolution(16, NOISE, "dct")
    steps = list(range(1000))
    errors = gaussian_errors(full, steps)
    for error in errors:
        error[:, 8:] *= 0.5
    schedule = schedule_of()
    t = next(iter(schedule.changes))
    loss = losses_at_changes(schedule, measured_information(full, SPECTRUM, steps, errors))[0]
    begin = schedule.base_snr[-1]
    band = discarded_information(SPECTRUM, schedule.base_snr[t], 8)
    below = discarded_information(SPECTRUM, begin, 8)
    assert loss.found == pytest.approx(below + 0.5 * (band - below), rel=1e-3)


def test_measured_information_derives_schedules():
    full = ResolutionSchedule.full_resolution(16, NOISE, "dct")
    steps = list(range(1000))
    errors = gaussian_errors(full, steps)
    gaussian = measured_information(full, SPECTRUM, steps, errors)
    for error in errors:
        error[:, 8:] *= 0.25
    found = measured_information(full, SPECTRUM, steps, errors, meta={"source": "run"})
    for criterion, tolerance in (("bits", 0.05), ("information", 0.1)):
        plain = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), criterion, tolerance)
        same = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), criterion, tolerance, measured=gaussian)
        less = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), criterion, tolerance, measured=found)
        assert same.changes == plain.changes
        assert min(less.changes) < min(plain.changes)  # the band holds less: leave it sooner
        assert less.derivation["measured_on"] == "run"
    with pytest.raises(InputError, match="measured: was measured against another spectrum"):
        derive_schedule(Spectrum.power_law(32, 2.2), NOISE, 2, "bits", 0.1, measured=found)
    with pytest.raises(InputError, match="spectrum: has resolution 16, the schedule has 32"):
        losses_at_changes(ResolutionSchedule.full_resolution(32, NOISE), found)
    with pytest.raises(InputError, match="criterion 'snr': does not use measured information"):
        derive_schedule(SPECTRUM, NOISE, (16, 8, 4), measured=found, criterion="snr")


def test_files(tmp_path):
    schedule = schedule_of()
    found = measured_information(
        schedule, SPECTRUM, STEPS, gaussian_errors(schedule, STEPS), meta={"source": "x"}
    )
    found.save(tmp_path / "information.json")
    again = MeasuredInformation.load(tmp_path / "information.json", SPECTRUM)
    for name in ("steps", "resolutions", "snr", "bits", "bound", "standard_error"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.count, again.meta) == (found.count, found.meta)
    with pytest.raises(InputError, match="another spectrum"):
        MeasuredInformation.load(tmp_path / "information.json", Spectrum.power_law(16, 2.5))
    (tmp_path / "cut.json").write_text((tmp_path / "information.json").read_text()[:-9])
    with pytest.raises(InputError, match=r"cut.json: cannot be read"):
        MeasuredInformation.load(tmp_path / "cut.json", SPECTRUM)
    with pytest.raises(InputError, match="no such file"):
        MeasuredInformation.load(tmp_path / "none.json", SPECTRUM)
    for steps, errors, said in (
        ([0, 1, 2], [np.ones((3, 16))] * 2, "errors: has 2 arrays for 3 steps"),
        ([0, 1000], [np.ones((3, 16))] * 2, "between 0 and 999"),
    ):
        with pytest.raises(InputError, match=said):
            measured_information(schedule, SPECTRUM, steps, errors)
    with pytest.raises(InputError, match="linear: has 1 arrays for 2 steps"):
        measured_information(schedule, SPECTRUM, [0, 1], [np.ones((3, 16))] * 2, [np.ones(3)])
    with pytest.raises(InputError, match=r"errors\[1\]: have shape"):
        measured_information(schedule, SPECTRUM, [0, 1], [np.ones((3, 16)), np.ones((3, 8))])
    assert gaussian_information(SPECTRUM, found.snr[-1]) == pytest.approx(
        found.bound[-1].sum(), rel=1e-9
    )
