"""Cost at which a curve of distances reaches a target."""

import pytest

from ssd_models.comparison import cost_to_reach


def test_a_power_law_is_interpolated_exactly():
    costs = [1.0, 2.0, 4.0]
    distances = [100 * cost**-0.5 for cost in costs]
    cost, relation = cost_to_reach(costs, distances, 100 * 3**-0.5)
    assert relation == ""
    assert cost == pytest.approx(3)


def test_targets_outside_what_was_measured_are_bounds():
    assert cost_to_reach([1, 2], [50, 40], 60) == (1, "≤")
    assert cost_to_reach([1, 2], [50, 40], 30) == (2, ">")


def test_the_first_crossing_counts():
    cost, relation = cost_to_reach([1, 2, 4, 8], [80, 40, 60, 20], 40)
    assert (cost, relation) == (2, "")
