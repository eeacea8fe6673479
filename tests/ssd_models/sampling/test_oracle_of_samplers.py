"""The oracle's report equals what the real samplers do, as exact linear maps."""

import numpy as np
import pytest

from ssd_models.sampling.samplers import sample_dpmpp_2m, sample_eta
from tests.support.linear_chain import generated_covariance, relative_w2
from theory import NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule, oracle_report
from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps

OPERATORS = ("dct", "box", "bilinear", "lanczos")
SAMPLERS = {
    "eta 0": (sample_eta, {"eta": 0.0}),
    "eta 0.5": (sample_eta, {"eta": 0.5}),
    "eta 1": (sample_eta, {"eta": 1.0}),
    "second order": (sample_dpmpp_2m, {}),
}


def check(schedule, spectrum, name, changes, calls):
    sampler, options = SAMPLERS[name]
    steps = select_steps(schedule, calls, sampler=Sampler(changes=changes))
    generated = generated_covariance(sampler, schedule, spectrum, steps, changes=changes, **options)
    expected = relative_w2(generated, spectrum.power.ravel())
    report = oracle_report(
        schedule,
        spectrum,
        steps,
        options.get("eta", 0.0),
        order=1 if options else 2,
        changes=changes,
    )
    np.testing.assert_allclose(
        report.power.ravel(), np.diag(generated), rtol=1e-8, atol=1e-12 * spectrum.power.max()
    )
    assert expected > 1e-7  # or rounding would be compared
    assert report.relative_w2 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "noise_mode"),
    [("network", "matched"), ("network", "paper"), ("corrected", "matched"), ("free", "paper")],
)
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_jumps(operator, name, noise_mode, changes):
    noise = NoiseSchedule.linear(200)
    resolutions = np.repeat([16, 8, 4], [60, 60, 80])
    schedule = ResolutionSchedule.from_noise(resolutions, noise, noise_mode, operator)
    check(schedule, Spectrum.power_law(16, 2.0), name, changes, 12)


@pytest.mark.parametrize("changes", ["network", "free"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_jumps_at_32_pixels(operator, changes):
    spectrum, noise = Spectrum.power_law(32, 2.5), NoiseSchedule.linear(1000)
    schedule = derive_schedule(spectrum, noise, (32, 16, 8), "snr", 0.1, operator=operator)
    check(schedule, spectrum, "second order", changes, 10)


@pytest.mark.parametrize(
    ("noise", "tolerance", "smoothness"),
    [("linear", 0.1, 2.0), ("linear", 1.0, 1.0), ("spectrum", 1.0, 2.0)],
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_attenuated_schedules(name, smoothness, tolerance, noise):
    spectrum = Spectrum.power_law(16, 2.0)
    schedule = derive_schedule(
        spectrum,
        NoiseSchedule.named(noise, 300, spectrum),
        (16, 8, 4),
        tolerance=tolerance,
        smoothness=smoothness,
    )
    assert len(schedule.changes) == 2
    check(schedule, spectrum, name, None, 12)
    without_sides = sorted({0, 17, 44, 60, 110, 200, 299}, reverse=True)
    sampler, options = SAMPLERS[name]
    generated = generated_covariance(sampler, schedule, spectrum, without_sides, **options)
    report = oracle_report(
        schedule, spectrum, without_sides, options.get("eta", 0.0), order=1 if options else 2
    )
    expected = relative_w2(generated, spectrum.power.ravel())
    assert report.relative_w2 == pytest.approx(expected, rel=1e-6)
