"""Cost at which a curve of distances reaches a target, and the mean of curves."""

import pytest

from ssd_models.comparison import Point, cost_to_reach, mean_curve


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


def test_mean_of_seeds_has_the_larger_of_two_errors():
    close = [Point(1, 2.0, 10.0, 3.0), Point(2, 4.0, 9.0, 3.0), Point(4, 8.0, 7.0, 3.0)]
    apart = [Point(1, 2.0, 10.0, 4.0), Point(2, 4.0, 29.0, 4.0)]
    first, second = mean_curve([close, apart])  # no third: one seed has not reached it
    assert first == Point(1, 2.0, 10.0, 2.5)  # √(3² + 4²) / 2, as both seeds agree
    assert second == Point(2, 4.0, 19.0, pytest.approx(10.0))  # standard deviation 14.1 / √2
