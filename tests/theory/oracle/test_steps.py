"""Which steps a sampler visits."""

import numpy as np
import pytest

from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    derive_schedule,
    oracle_report,
)
from theory.oracle.sampler import Sampler
from theory.oracle.steps import SPACINGS, mandatory_steps, mean_alpha, plan_steps, select_steps

FREE = Sampler(changes="free")
SPECTRUM = Spectrum.power_law(16, 2.2)
SCHEDULE = derive_schedule(
    SPECTRUM, NoiseSchedule.linear(200), levels=(16, 8, 4), tolerance=0.3, criterion="snr"
)


@pytest.mark.parametrize("changes", ["network", "free"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [1, 6, 7, 20, 150, 199, 200])
def test_steps_are_as_many_as_asked_and_visit_what_they_must(num_steps, spacing, changes):
    assert len(SCHEDULE.changes) == 2
    steps = select_steps(SCHEDULE, num_steps, spacing, Sampler(changes=changes), SPECTRUM)
    mandatory = mandatory_steps(SCHEDULE, Sampler(changes=changes))
    assert len(mandatory) == (6 if changes == "network" else 4)
    assert len(steps) == max(num_steps, len(mandatory))
    assert steps == sorted(set(steps), reverse=True)
    assert steps[0] == 199
    assert steps[-1] == 0
    if spacing != "planned" or changes == "network":
        assert mandatory <= set(steps)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [("logsnr", np.log), ("edm", lambda snr: snr ** (-1 / 14)), ("uniform", None)],
)
def test_steps_are_spread_evenly(spacing, axis):
    noise = NoiseSchedule.linear(1000)
    steps = select_steps(ResolutionSchedule.full_resolution(16, noise), 12, spacing)
    place = np.array(steps) if axis is None else axis(noise.snr[steps])
    gaps = np.abs(np.diff(place))
    assert gaps.max() / gaps.min() < 1.12


@pytest.mark.parametrize("criterion", ["snr", "water-filling"])
def test_steps_in_alpha_are_even_in_the_mean_of_all_coefficients(criterion):
    noise = NoiseSchedule.linear(1000)
    schedule = derive_schedule(SPECTRUM, noise, (16, 8), criterion, 0.3)

    def alpha(t):  # coefficient by coefficient, from what the state does to each
        side = schedule.resolutions[t]
        gains = schedule.signal_gains(t)[:side, :side, None] / schedule.sigma[t]
        ratio = gains**2 * SPECTRUM.power[:side, :side]
        return np.arcsinh(np.sqrt(ratio)).sum() / SPECTRUM.power.size

    means = mean_alpha(schedule, SPECTRUM)
    # Groups of similar power stand for their coefficients.
    np.testing.assert_allclose(means[::100], [alpha(t) for t in range(0, 1000, 100)], rtol=0.01)
    steps = select_steps(schedule, 12, "alpha", FREE, SPECTRUM)
    free = [t for t in steps if t + 1 not in schedule.changes]  # of one gap's middle
    gaps = np.diff(means[free])
    assert (gaps > 0).all()
    even = np.diff(means[select_steps(schedule, 12, "logsnr", FREE)])
    assert gaps.max() < 1.6 * gaps.mean() < even.max()


def test_steps_in_alpha_need_the_spectrum():
    with pytest.raises(InputError, match="spectrum"):
        select_steps(SCHEDULE, 12, "alpha")
    with pytest.raises(InputError, match="spectrum: has resolution 32, the schedule has"):
        select_steps(SCHEDULE, 12, "alpha", spectrum=Spectrum.power_law(32, 2.2))


@pytest.mark.parametrize("changes", ["network", "free"])
@pytest.mark.parametrize(("order", "eta"), [(1, 1.0), (1, 0.0), (2, 0.0)])
def test_planned_steps_err_less_than_even_ones(order, eta, changes):
    def error(steps):
        return oracle_report(
            SCHEDULE, SPECTRUM, steps, eta, order=order, changes=changes
        ).relative_w2

    steps, predicted = plan_steps(SCHEDULE, SPECTRUM, 14, Sampler(eta, order, changes))
    even = [
        error(select_steps(SCHEDULE, 14, spacing, Sampler(changes=changes)))
        for spacing in ("uniform", "logsnr")
    ]
    assert error(steps) < 0.9 * min(even)
    assert predicted == pytest.approx(error(steps), rel=0.02)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("tolerance", [0.1, 0.3])
def test_free_changes_of_every_side_are_network_changes(tolerance, order):
    # With both sides visited, ideal bands and Gaussian data, the network's own call at a change
    # predicts nothing new; at first order the chains are the same.
    schedule = derive_schedule(
        SPECTRUM, NoiseSchedule.linear(200), (16, 8, 4), tolerance=tolerance, criterion="snr"
    )
    steps = select_steps(schedule, 20)
    network, free = (
        oracle_report(schedule, SPECTRUM, steps, 0.0, order=order, changes=changes).relative_w2
        for changes in ("network", "free")
    )
    if order == 1:
        assert free == network
    assert free == pytest.approx(network, rel=0.5)


@pytest.mark.parametrize("spacing", [s for s in SPACINGS if s != "planned"])
@pytest.mark.parametrize("calls", [9, None])
def test_a_chain_may_end_before_the_last_step(spacing, calls):
    snr, first = SCHEDULE.base_snr, SCHEDULE.change_sides
    asked = 1.01 * snr[20]
    assert max(t for t in range(200) if SCHEDULE.resolutions[t] == 16) > 19
    steps = select_steps(SCHEDULE, calls, spacing, spectrum=SPECTRUM, last_snr=asked)
    assert steps[0] == 199
    assert steps[-1] == 19
    assert len(steps) == (calls or 181)
    assert first <= set(steps)
    # As many calls are spread over fewer steps, all by the same rule.
    if spacing == "logsnr" and calls:
        whole = select_steps(SCHEDULE, calls, spacing)
        inside = np.log(snr[steps[-2]]) - np.log(snr[steps[-3]])
        assert inside < np.log(snr[whole[-2]]) - np.log(snr[whole[-3]])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: select_steps(SCHEDULE, 9, last_snr=1e9), "last_snr 1e.09: states of full res"),
        (lambda: select_steps(SCHEDULE, 9, last_snr=1e-4), "have signal-to-noise ratios from"),
        (lambda: select_steps(SCHEDULE, 9, last_snr=-1.0), "have signal-to-noise ratios from"),
        (
            lambda: select_steps(SCHEDULE, 9, "planned", spectrum=SPECTRUM, last_snr=30.0),
            "last_snr: planned steps end at step 0",
        ),
        (lambda: select_steps(SCHEDULE, 201), "201 sampling steps"),
        (lambda: select_steps(SCHEDULE, 0), "0 sampling steps"),
        (lambda: select_steps(SCHEDULE, 9, "even"), "spacing 'even': unknown"),
        (lambda: Sampler(changes="none"), "changes 'none'"),
        (lambda: select_steps(SCHEDULE, 9, "planned"), "needs the spectrum"),
        (
            lambda: plan_steps(SCHEDULE, Spectrum.power_law(8, 2.0), 9),
            "spectrum: has resolution 8, the schedule has",
        ),
        (lambda: Sampler(order=2, eta=1.0), "order 2"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_a_snr_that_does_not_fall_is_spaced_by_step_only():
    steady = ResolutionSchedule(  # as in inverse heat dissipation
        np.full(50, 8),
        np.full(50, np.sqrt(0.99)),
        np.full(50, 0.1),
        blur=np.linspace(0, 9, 50),
    )
    assert len(select_steps(steady, 10, "uniform")) == 10
    with pytest.raises(InputError, match="use 'uniform'"):
        select_steps(steady, 10, "logsnr")


def test_attenuated_schedules_have_free_changes():
    fade = derive_schedule(SPECTRUM, NoiseSchedule.linear(200), levels=(16, 8, 4))
    assert fade.attenuation is not None
    assert len(fade.changes) == 2
    assert (Sampler().on(fade).changes, Sampler().on(SCHEDULE).changes) == ("free", "network")
    assert mandatory_steps(fade) == {0, 199} | {t - 1 for t in fade.changes}
    assert mandatory_steps(fade) <= set(select_steps(fade, 12))
    by_calls = Sampler(changes="network")
    for refused in (by_calls.on, lambda schedule: mandatory_steps(schedule, by_calls)):
        with pytest.raises(
            InputError, match="changes 'network': the schedule's states are attenuated"
        ):
            refused(fade)
