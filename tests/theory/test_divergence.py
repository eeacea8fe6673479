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
from theory.divergence import described_divergence
from theory.oracle import with_predictions

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
