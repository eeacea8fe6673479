"""What changes of resolution cost, and what attenuation makes of it."""

import numpy as np
import pytest

from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    change_divergence,
    derive_schedule,
)
from theory.information.divergence import described_divergence, measured_divergence
from theory.information.measured import measured_information
from theory.oracle.predictions import with_predictions

SPECTRUM = Spectrum.power_law(16, 2.2, channels=2)
NOISE = NoiseSchedule.linear(200)


def kl(truth, other):
    """KL(truth ‖ other) of centred Gaussians, nats."""
    ratio = np.linalg.solve(other, truth)
    return 0.5 * (np.trace(ratio) - len(truth) - np.log(np.linalg.det(ratio)))


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
def test_gaussian_data_by_the_joint_distribution_of_both_states(noise_mode):
    """KL of the larger state, given the smaller, as the sampler makes it from the exact mean."""
    same = NoiseSchedule(np.array([0.5, 0.5 - 1e-12]))  # so that the change is all that happens
    schedule = ResolutionSchedule.from_noise(np.array([16, 8]), same, noise_mode)
    (found,) = change_divergence(schedule, SPECTRUM)
    assert (found.step, found.before, found.after) == (1, 16, 8)
    a, sigma = schedule.alpha, schedule.sigma
    expected = most = 0.0
    for (k1, k2, _), s in np.ndenumerate(SPECTRUM.power):
        m_0, m_1 = a[0], a[1] / 2 if max(k1, k2) < 8 else 0.0
        kappa = (a[1] / a[0]) * sigma[0] ** 2 / sigma[1] ** 2 / 2 if m_1 else 0.0
        fresh = sigma[0] ** 2 - sigma[1] ** 2 * kappa**2  # of the exact posterior
        small = m_1**2 * s + sigma[1] ** 2
        clean = m_1 * s / small  # E[x0 | x_1] over x_1
        mean = m_0 * clean + kappa * (1 - m_1 * clean)
        unknown = s - clean**2 * small
        added = (m_0 - kappa * m_1) ** 2 * unknown
        if fresh < 1e-10:  # nothing is drawn: the smaller state says all
            assert added < 1e-10
            continue
        truth = np.array([[small, mean * small], [mean * small, mean**2 * small + fresh + added]])
        made = truth - np.diag([0, added])
        expected += kl(truth, made)
        most += 0.5 * (m_0 - kappa * m_1) ** 2 * s / fresh
    assert found.gaussian == pytest.approx(expected, rel=1e-6)
    assert found.bound == pytest.approx(most, rel=1e-6)
    assert 0 < found.gaussian < found.bound


def test_small_signals_and_the_bound():
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), "snr", 0.01)
    for found in change_divergence(schedule, SPECTRUM):
        t, band = found.step - 1, SPECTRUM.power[: found.before, : found.before].copy()
        band[: found.after, : found.after] = 0
        ratio = NOISE.snr[t] * band
        assert found.bound == pytest.approx(ratio.sum() / 2)
        assert found.gaussian == pytest.approx((ratio**2).sum() / 4, rel=0.01)


def test_the_criterion_divergence_keeps_the_bound():
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), "divergence", 0.5)
    assert len(schedule.changes) == 2
    for found in change_divergence(schedule, SPECTRUM):
        beyond = schedule.base_snr[found.step] / schedule.base_snr[found.step - 1]
        assert found.bound * beyond <= 0.5  # at the step that is the first to leave the band out


def test_attenuated_changes_cost_nothing():
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8, 4))
    found = change_divergence(schedule, SPECTRUM)
    assert [(f.gaussian, f.bound) for f in found] == [(0, 0), (0, 0)]
    predicted = with_predictions(schedule, SPECTRUM).predicted
    assert predicted["change_divergence_nats"] == [0, 0]
    assert described_divergence(0, 0).endswith("lose nothing, whatever the data")
    jumps = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), "snr")
    nats = with_predictions(jumps, SPECTRUM).predicted["change_divergence_nats"]
    found = change_divergence(jumps, SPECTRUM)
    assert nats == [sum(f.gaussian for f in found), sum(f.bound for f in found)]
    full = ResolutionSchedule.full_resolution(16, NOISE)
    assert change_divergence(full, SPECTRUM) == []
    assert "change_divergence_nats" not in with_predictions(full, SPECTRUM).predicted


def test_what_has_no_divergence_is_refused():
    box = derive_schedule(SPECTRUM, NOISE, (16, 8), "snr", operator="box")
    with pytest.raises(InputError, match="operator 'box': mixes DCT coefficients"):
        change_divergence(box, SPECTRUM)
    with pytest.raises(InputError, match="resolution 8, the schedule has 16"):
        change_divergence(box, Spectrum.power_law(8, 2.0))


def test_measured_divergence_of_gaussian_data_is_the_closed_form():
    spectrum = Spectrum.power_law(16, 2.0, channels=3)
    noise = NoiseSchedule.linear(200)
    schedule = derive_schedule(spectrum, noise, (16, 8, 4), "snr", 0.5)
    full = ResolutionSchedule.full_resolution(16, noise)
    steps = [199, 150, 100, 50, 0]
    exact = [
        shell_sums(spectrum.power / (1 + full.snr[t] * spectrum.power))[None].repeat(2, 0)
        for t in steps
    ]
    measured = measured_information(full, spectrum, steps, exact)
    across = [
        shell_sums(spectrum.power[:before, :before])[None].repeat(2, 0) * (before / 16) ** 2
        for before, _ in schedule.changes.values()
    ]
    found = measured_divergence(schedule, measured, across)
    known = change_divergence(schedule, spectrum)
    assert len(found) == 2
    for one, other in zip(found, known, strict=True):
        assert (one.step, one.before, one.after) == (other.step, other.before, other.after)
        assert one.nats == pytest.approx(other.gaussian, rel=1e-9)
        assert other.gaussian > 1e-3
        assert one.standard_error == pytest.approx(0, abs=1e-9)
    larger = measured_divergence(schedule, measured, [1.5 * a for a in across])
    assert larger[0].nats > 2 * found[0].nats


def test_measured_divergence_refuses_what_it_does_not_hold_for():
    spectrum, noise = Spectrum.power_law(16, 2.0), NoiseSchedule.linear(200)
    full = ResolutionSchedule.full_resolution(16, noise)
    steps = [199, 0]
    measured = measured_information(full, spectrum, steps, [np.ones((2, 16))] * 2)
    lossless = derive_schedule(spectrum, noise, (16, 8))
    jump = derive_schedule(spectrum, noise, (16, 8), "snr")
    with pytest.raises(InputError, match="no attenuation"):
        measured_divergence(lossless, measured, [np.ones((2, 16))])
    with pytest.raises(InputError, match="2 arrays for 1"):
        measured_divergence(jump, measured, [np.ones((2, 16))] * 2)
    with pytest.raises(InputError, match=r"needs \(N, 16\)"):
        measured_divergence(jump, measured, [np.ones((2, 8))])


def shell_sums(power):
    """(R, R, C) summed over colours and ``max(k1, k2)``: (R,)."""
    index = np.maximum(*np.indices(power.shape[:2]))
    return np.bincount(index.ravel(), power.sum(axis=-1).ravel())
