"""The oracle: the pinned table, and dense simulation of the sampler that it describes."""

import numpy as np
import pytest

from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory import oracle_report as report
from theory.oracle import with_predictions

NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(64, 2.2)
PAPER = ResolutionSchedule.paper(64, 4, "ConvexDecay_0.5", NOISE)
COSTS = {64: 56.7, 32: 34.4, 16: 16.3, 8: 5.05}  # GFLOP a step, the paper's network

TABLE = {
    "full": (ResolutionSchedule.full_resolution(64, NOISE), 1.00, 0.00006),
    "paper": (PAPER, 1.46, 0.00264),
    "matched": (ResolutionSchedule.from_noise(PAPER.resolutions, NOISE), 1.46, 0.00006),
    "0.1": (derive_schedule(SPECTRUM, NOISE, tolerance=0.1), 2.61, 0.00007),
    "0.3": (derive_schedule(SPECTRUM, NOISE, tolerance=0.3), 3.38, 0.00013),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_pinned_table(row):
    schedule, saving, error = TABLE[row]
    assert round(56.7 / schedule.chain_cost(COSTS), 2) == saving
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

    from ssd_models.process import ScaleSpaceProcess

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
        ({"start": "x"}, "start 'x'"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        report(PAPER, SPECTRUM, **arguments)
    with pytest.raises(InputError, match="resolution 32, the schedule has 64"):
        report(PAPER, Spectrum.power_law(32, 2))
