"""Schedules side by side on spectra, and what chains cost."""

import pytest

from ssd_models.bench.oracle_schedules import compare_schedules, transfer_errors
from ssd_models.bench.schedules import path_calls
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum

NOISE = NoiseSchedule.linear(1000)


@pytest.mark.parametrize("exponent", [2.0, 2.6])
def test_budgets_beat_the_papers_chain(exponent):
    """At the paper's cost a twentieth of its error; at 25 calls no more than its 1000 steps."""
    rows = {
        row["schedule"]: row for row in compare_schedules(Spectrum.power_law(64, exponent), NOISE)
    }
    paper = rows["paper, ConvexDecay_0.5, dct"]
    budget = rows["budget: the paper's cost"]
    assert budget["cost"] <= paper["cost"] * (1 + 1e-9)
    assert budget["error"] < paper["error"] / 20
    plan = rows["budget: 25 calls, order 2"]
    assert plan["calls"] == 25
    assert plan["error"] < paper["error"]


def test_schedules_transfer_at_a_price():
    smooth, rough = Spectrum.power_law(32, 3.0), Spectrum.power_law(32, 1.5)
    costs, errors = transfer_errors({"a": smooth, "b": rough}, NOISE, (32, 16, 8))
    assert costs[0] < costs[1]
    assert errors[0, 1] > 10 * errors[1, 1]  # too small too soon for rough images
    assert errors[1, 0] == pytest.approx(errors[0, 0], rel=0.1)
    with pytest.raises(InputError, match="different resolutions"):
        transfer_errors({"a": smooth, "b": Spectrum.power_law(16, 2)}, NOISE, (32, 16))


def test_calls_are_counted_on_the_path_that_makes_them():
    schedule = ResolutionSchedule.from_noise([16] * 40 + [8] * 60, NoiseSchedule.linear(100))
    steps = [99, 70, 40, 39, 0]
    assert path_calls(schedule, steps) == {(8, 8): 2, (8, 16): 1, (16, 16): 2}
    assert path_calls(schedule, steps, "free") == {(8, 8): 3, (16, 16): 2}
