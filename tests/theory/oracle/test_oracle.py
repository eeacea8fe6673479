"""The oracle: the pinned table, and dense simulation of the sampler that it describes."""

import numpy as np
import pytest

from theory import (
    InputError,
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    derive_schedule,
    oracle_report as report,
)
from theory.oracle.predictions import with_predictions
from theory.oracle.report import SOURCES, dense_oracle_report, oracle_errors
from theory.oracle.sampler import Sampler

NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(64, 2.2)
BILINEAR = ResolutionSchedule.paper(64, 4, "ConvexDecay_0.5", NOISE)
PAPER = BILINEAR.with_operator("dct")
COSTS = {64: 56.7, 32: 34.4, 16: 16.3, 8: 5.05}  # GFLOP a step, the paper's network

TABLE = {
    "full": (ResolutionSchedule.full_resolution(64, NOISE), 1.00, 0.00006),
    "paper": (PAPER, 1.46, 0.00264),
    "matched": (ResolutionSchedule.from_noise(PAPER.resolutions, NOISE), 1.46, 0.00006),
    "0.1": (derive_schedule(SPECTRUM, NOISE, tolerance=0.1, criterion="snr"), 2.61, 0.00007),
    "0.3": (derive_schedule(SPECTRUM, NOISE, tolerance=0.3, criterion="snr"), 3.38, 0.00013),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_pinned_table(row):
    schedule, saving, error = TABLE[row]
    assert round(56.7 / np.mean([COSTS[r] for r in schedule.resolutions]), 2) == saving
    assert round(report(schedule, SPECTRUM).relative_w2, 5) == error


def test_predictions_are_written_down():
    predicted = with_predictions(TABLE["0.3"][0], SPECTRUM).predicted
    assert predicted["oracle_error"] == pytest.approx(0.00013, abs=5e-6)
    assert predicted["oracle_error_full_resolution"] == pytest.approx(0.00006, abs=5e-6)
    assert predicted["chain_cost_ratio"] == pytest.approx(1 / 3.38, rel=0.005)


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_the_recursion_is_the_samplers(noise_mode, eta):
    """Propagate dense covariances through the torch sampler's own linear maps."""
    import torch

    from ssd_models.diffusion.process import ScaleSpaceProcess

    spectrum = Spectrum.power_law(8, 2.0)
    noise = NoiseSchedule.linear(50)
    schedule = ResolutionSchedule.from_noise(
        np.repeat([8, 4, 2], [20, 15, 15]), noise, noise_mode, "dct"
    )
    steps = [49, 40, 35, 34, 26, 20, 19, 8, 0]
    process = ScaleSpaceProcess(schedule)

    def dense(function, n_in):
        basis = torch.eye(n_in**2, dtype=torch.float64).reshape(-1, 1, n_in, n_in)
        images = function(basis).reshape(n_in**2, -1)
        return images.T.numpy()

    from scipy.fft import dctn

    dct = dense(lambda x: torch.from_numpy(dctn(x.numpy(), axes=(2, 3), norm="ortho")), 8)
    data = dct.T @ np.diag(spectrum.power.ravel()) @ dct

    def clean(t):  # M_{1:t}
        return dense(lambda x: process.degrade(x, t), 8)

    def wiener(t, target):
        a, sigma = schedule.alpha[t], schedule.sigma[t]
        m = clean(t)
        cov = a**2 * m @ data @ m.T + sigma**2 * np.eye(len(m))
        return a * target @ data @ m.T @ np.linalg.inv(cov)

    t = steps[0]
    m = clean(t)
    cov = schedule.alpha[t] ** 2 * m @ data @ m.T + schedule.sigma[t] ** 2 * np.eye(len(m))
    for s in steps[1:]:
        r_t, r_s = process.resolution(t), process.resolution(s)
        w = torch.from_numpy(wiener(t, clean(s)))
        zeros = torch.zeros(1, 1, r_s, r_s, dtype=torch.float64)

        def mean(x, w=w, t=t, s=s, r_s=r_s):
            x0 = (x.reshape(len(x), -1) @ w.T).reshape(-1, 1, r_s, r_s)
            return process.posterior_mean(x0, x, t, s, eta)

        def added(x, t=t, s=s, r_t=r_t, zeros=zeros):
            x_t = torch.zeros(len(x), 1, r_t, r_t, dtype=torch.float64)
            return process.posterior_sample(
                zeros.expand(len(x), -1, -1, -1), x_t, t, s, eta, None, x
            )

        if eta == 0 and r_t == r_s:
            noise_cov = np.zeros((r_s**2, r_s**2))
        else:
            b = dense(added, r_s)
            noise_cov = b @ b.T
        a = dense(mean, r_t)
        cov = a @ cov @ a.T + noise_cov
        t = s
    w = wiener(t, np.eye(64))
    expected = np.diag(dct @ (w @ cov @ w.T) @ dct.T).reshape(8, 8, 1)
    result = report(schedule, spectrum, steps, eta)
    np.testing.assert_allclose(result.power, expected, rtol=1e-9, atol=1e-14)
    assert result.num_calls == len(steps)


def test_a_perfect_result_has_no_error():
    # As steps become many and t = 0 has little noise, the generated spectrum becomes the data's.
    fine = ResolutionSchedule.full_resolution(8, NoiseSchedule.linear(1000))
    result = report(fine, Spectrum.power_law(8, 1.0))
    assert result.relative_w2 < 1e-4
    assert np.abs(result.octave_db).max() < 0.1
    assert 0 < result.kl < 0.1


def test_the_papers_change_loses_power_and_the_matched_one_does_not():
    # Where the truth is σ²(1 + snr) the paper's sampler puts σ²: what is lost is low-frequency.
    lost = report(PAPER, SPECTRUM).octave_db - report(TABLE["matched"][0], SPECTRUM).octave_db
    assert lost[0] < -0.2
    assert (lost < 1e-3).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": [1000]}, "between 0 and 999"),
        ({"steps": []}, "at least one"),
        ({"steps": [3, 3]}, "repeated"),
        ({"eta": 1.5}, "eta 1.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        report(PAPER, SPECTRUM, **arguments)
    with pytest.raises(InputError, match="resolution 32, the schedule has 64"):
        report(PAPER, Spectrum.power_law(32, 2))


MIXED = ResolutionSchedule.from_noise(
    np.repeat([16, 8, 4], [30, 30, 40]), NoiseSchedule.linear(100), operator="dct"
)
SMALL = Spectrum.power_law(16, 2.2)


@pytest.mark.parametrize("steps", [None, [99, 60, 59, 30, 29, 4, 0]])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("spectral_variance", [False, True])
def test_dense_and_scalar_oracles_agree_for_dct(steps, eta, spectral_variance):
    scalar = report(MIXED, SMALL, steps, eta, spectral_variance=spectral_variance)
    dense = dense_oracle_report(
        MIXED, SMALL, steps, Sampler(eta, spectral_variance=spectral_variance)
    )
    assert dense.relative_w2 == pytest.approx(scalar.relative_w2, rel=1e-9, abs=1e-12)
    assert dense.kl == pytest.approx(scalar.kl, rel=1e-9, abs=1e-8)
    np.testing.assert_allclose(dense.power, scalar.power, rtol=1e-9)


def test_no_error_is_reported_that_no_chain_has():
    """Operators that mix coefficients are followed exactly, or refused."""
    with pytest.raises(InputError, match=r"operator 'bilinear'; use its twin schedule.with_op"):
        report(BILINEAR, SPECTRUM)
    with pytest.raises(InputError, match="operator 'bilinear' mixes coefficients"):
        oracle_errors([BILINEAR], SPECTRUM)
    predicted = with_predictions(BILINEAR, SPECTRUM).predicted
    assert "oracle_error" not in predicted
    assert predicted["oracle_error_full_resolution"] == pytest.approx(0.00006, abs=5e-6)
    noise = NoiseSchedule.linear(100)
    box = ResolutionSchedule.from_noise(np.repeat([16, 8], 50), noise, operator="box")
    steps = [99, 60, 50, 49, 20, 0]
    exact = report(box, SMALL, steps)
    assert exact.relative_w2 == dense_oracle_report(box, SMALL, steps).relative_w2
    assert exact.sources == {}
    options = {"eta": 0.0, "order": 2, "changes": "free"}
    ideal = report(box.with_operator("dct"), SMALL, **options).relative_w2
    assert report(box, SMALL, **options).relative_w2 > 1.1 * ideal
    assert with_predictions(box, SMALL).predicted["oracle_error"] == report(box, SMALL).relative_w2


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
def test_an_operators_twin_has_the_same_base_noise(noise_mode):
    noise = NoiseSchedule.linear(100)
    steps = np.repeat([16, 8], 50)
    bilinear, dct = (
        ResolutionSchedule.from_noise(steps, noise, noise_mode, operator)
        for operator in ("bilinear", "dct")
    )
    twin = bilinear.with_operator("dct")
    np.testing.assert_allclose(twin.alpha, dct.alpha, rtol=1e-12)
    np.testing.assert_allclose(twin.base_snr, noise.snr, rtol=1e-12)
    assert twin.operator == "dct"
    assert twin.with_operator("dct") is twin


def test_a_spectrum_may_lack_power_in_some_directions():
    """Grey images stored in colour, say: what is not there is not generated, and costs nothing."""
    power = np.concatenate([SMALL.power, np.zeros_like(SMALL.power)], axis=2)
    power[12:, :, 0] = 0
    grey = Spectrum(power, np.zeros_like(power), np.eye(2), 0, np.zeros_like(power))
    noise = NoiseSchedule.linear(100)
    box = ResolutionSchedule.from_noise(np.repeat([16, 8], 50), noise, operator="box")
    found = report(box, grey, [99, 50, 49, 0])
    assert 0 < found.relative_w2 < 1
    assert 0 < found.kl < np.inf


@pytest.mark.parametrize("operator", ["dct", "box", "bilinear", "lanczos"])
def test_spectral_variance_makes_any_number_of_ancestral_steps_exact(operator):
    schedule = ResolutionSchedule.from_noise(
        np.repeat([8, 4, 2], [30, 30, 40]), NoiseSchedule.linear(100), "paper", operator
    )
    spectrum = Spectrum.power_law(8, 2.2)
    steps = [99, 60, 59, 30, 29, 0]
    assert (
        dense_oracle_report(
            schedule, spectrum, steps, Sampler(eta=1.0, spectral_variance=True)
        ).relative_w2
        < 1e-9
    )
    assert report(schedule, spectrum, steps, 1.0, spectral_variance=True).relative_w2 < 1e-12
    assert report(schedule, spectrum, steps, 1.0).relative_w2 > 0.01


def test_the_dense_oracle_refuses_what_it_cannot_hold():
    with pytest.raises(InputError, match="resolution 64 is above 32"):
        dense_oracle_report(PAPER, SPECTRUM)
    with pytest.raises(InputError, match="takes no attenuation"):
        dense_oracle_report(derive_schedule(SMALL, NOISE, (16, 8, 4)), SMALL)
    with pytest.raises(InputError, match="has resolution 8, the schedule has 16"):
        dense_oracle_report(MIXED, Spectrum.power_law(8, 2))


def test_second_order_is_the_multistep_solver_written_out():
    """One coefficient at a time, in the usual variables of DPM-Solver++(2M)."""
    steps = [99, 80, 60, 59, 40, 30, 29, 12, 0]
    spectrum = Spectrum.power_law(16, 2.0)
    expected = np.empty((16, 16))
    log = np.log(MIXED.base_snr) / 2
    for k1 in range(16):
        for k2 in range(16):
            s = spectrum.power[k1, k2, 0]
            x = previous = None
            for t, after in zip(steps, [*steps[1:], None], strict=True):
                r, a, sigma = MIXED.resolutions[t], MIXED.alpha[t], MIXED.sigma[t]
                if max(k1, k2) >= r:
                    continue
                m = a * r / 16
                x = np.sqrt(m**2 * s + sigma**2) if x is None and t == 99 else x
                x = sigma if x is None else x
                clean = m * s / (m**2 * s + sigma**2) * x  # E[x0 | x]
                if after is None:
                    expected[k1, k2] = clean**2
                    break
                r_s, a_s, sigma_s = MIXED.resolutions[after], MIXED.alpha[after], MIXED.sigma[after]
                data = clean
                if previous is not None:
                    half = (log[after] - log[t]) / (log[t] - log[previous[1]]) / 2
                    data = (1 + half) * clean - half * previous[0]
                if r_s == r:
                    h = log[after] - log[t]
                    x = sigma_s / sigma * x - a_s * r / 16 * np.expm1(-h) * data
                    previous = (clean, t)
                else:  # the same with the state's own amplitudes; this side is not kept
                    x = sigma_s / sigma * (x - m * data) + a_s * r_s / 16 * data
    result = report(MIXED, spectrum, steps, 0.0, order=2)
    np.testing.assert_allclose(result.power[:, :, 0], expected, rtol=1e-10)


def test_second_order_needs_a_fraction_of_the_calls():
    schedule = TABLE["0.1"][0]
    from ssd_models.sampling.scheduler import select_steps

    steps = select_steps(schedule, 28)
    first, second = (
        report(schedule, SPECTRUM, steps, 0.0, order=order).relative_w2 for order in (1, 2)
    )
    assert second < first / 20


def test_many_schedules_at_once_equal_one_by_one():
    noise = NoiseSchedule.linear(200)
    spectrum = Spectrum.power_law(32, 2.0, channels=3)
    schedules = [
        derive_schedule(spectrum, noise, (32, 16, 8), tolerance=x, criterion="snr")
        for x in (0.01, 0.1, 0.5)
    ]
    schedules += [ResolutionSchedule.paper(32, 3, "equal", noise, operator="dct")]
    schedules += [derive_schedule(spectrum, noise, (32, 16, 8), tolerance=0.3)]
    for steps, eta, order in ((None, 1.0, 1), (None, 0.0, 1), ("some", 0.0, 2)):
        chosen = None
        if steps:
            chosen = [sorted({0, 5 + i, 70, 199} | s.change_sides) for i, s in enumerate(schedules)]
        many = oracle_errors(schedules, spectrum, chosen, Sampler(eta, order))
        single = [
            report(s, spectrum, chosen and chosen[i], eta, order=order).relative_w2
            for i, s in enumerate(schedules)
        ]
        np.testing.assert_allclose(many, single, rtol=1e-3)


def test_error_is_split_by_what_causes_it():
    paper, matched = report(PAPER, SPECTRUM), report(TABLE["matched"][0], SPECTRUM)
    assert set(paper.sources) == set(SOURCES)
    # The paper loses nearly everything at changes; matched noise next to nothing.
    assert paper.sources["changes"] > 0.9 * paper.relative_w2
    assert matched.sources["changes"] < 0.01 * matched.relative_w2
    # Of a chain without changes the end is the error of the last prediction alone.
    full = TABLE["full"][0]
    a, sigma = full.alpha[0], full.sigma[0]
    s = SPECTRUM.power
    kept = a**2 * s / (a**2 * s + sigma**2)
    expected = (s * (np.sqrt(kept) - 1) ** 2).sum() / s.sum()
    assert report(full, SPECTRUM).sources["end"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": 3, "eta": 0.0}, "order 3"),
        ({"order": 2}, "deterministic"),
        ({"order": 2, "eta": 0.0, "spectral_variance": True}, "deterministic"),
    ],
)
def test_impossible_samplers_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        report(PAPER, SPECTRUM, **options)
