"""Budgets and plans, against exhaustive search."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.oracle.plans import pareto_front, plan_sampling
from theory.oracle.report import oracle_errors, oracle_report
from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps
from theory.schedule.budget import opening_errors
from theory.schedule.costs import chain_costs

NOISE = NoiseSchedule.linear(1000)


def test_the_dynamic_program_finds_what_exhaustive_search_finds():
    noise, spectrum, levels = NoiseSchedule.linear(30), Spectrum.power_law(16, 2.2), (16, 8, 4)
    table = chain_costs(levels)[1]
    schedules = []
    for first in range(1, 31):
        for second in range(first, 31):
            resolutions = np.full(30, 16)
            resolutions[first:] = 8
            resolutions[second:] = 4
            schedules.append(ResolutionSchedule.from_noise(resolutions, noise, levels=levels))
    costs = np.array([schedule.chain_cost(table) for schedule in schedules])
    errors = oracle_errors(schedules, spectrum)
    for budget in (0.95, 0.8, 0.6, 0.5, 0.4, 0.36):
        found = derive_schedule(spectrum, noise, levels, "budget", budget)
        assert found.chain_cost(table) <= budget
        best = errors[costs <= budget].min()
        assert oracle_report(found, spectrum).relative_w2 == pytest.approx(best, rel=1e-3)
    with pytest.raises(InputError, match=r"budget 0\.3: a chain over \[16, 8, 4\] costs at least"):
        derive_schedule(spectrum, noise, levels, "budget", 0.3)
    with pytest.raises(InputError, match="matched noise"):
        derive_schedule(spectrum, noise, levels, "budget", 0.5, noise_mode="paper")


def test_a_budget_of_everything_never_leaves_full_resolution():
    schedule = derive_schedule(Spectrum.power_law(64, 2.2), NOISE, criterion="budget", tolerance=1)
    assert not schedule.changes


@settings(max_examples=10, deadline=None)
@given(st.floats(1, 3), st.floats(0.4, 1), st.floats(0.4, 1))
def test_a_larger_budget_never_errs_more(exponent, one, two):
    spectrum, noise, levels = (
        Spectrum.power_law(16, exponent),
        NoiseSchedule.linear(100),
        (16, 8, 4),
    )
    poor, rich = (
        oracle_report(derive_schedule(spectrum, noise, levels, "budget", b), spectrum).relative_w2
        for b in sorted([one, two])
    )
    assert rich <= poor * (1 + 1e-3)  # the program groups coefficients by power


@pytest.mark.parametrize("steps", [6, 10])
def test_budgets_that_some_chain_meets_are_met_with_few_steps_too(steps):
    spectrum, noise = Spectrum.power_law(64, 1.0), NoiseSchedule.cosine(steps)
    table = chain_costs((64, 32, 16, 8))[1]
    for budget in np.linspace(0.4, 0.99, 25):
        schedule = derive_schedule(spectrum, noise, 4, "budget", float(budget))
        assert schedule.chain_cost(table) <= budget


def test_opening_errors_add_up_to_the_oracles():
    spectrum = Spectrum.power_law(64, 2.0)
    levels = (64, 32, 16, 8)
    schedule = derive_schedule(spectrum, NOISE, levels, tolerance=0.3, criterion="snr")
    opened = opening_errors(spectrum, NOISE, levels)
    added = sum(opened[i, t] - opened[i, -1] for i, t in enumerate(sorted(schedule.changes)))
    full = ResolutionSchedule.full_resolution(64, NOISE)
    difference = (
        oracle_report(schedule, spectrum).relative_w2 - oracle_report(full, spectrum).relative_w2
    )
    assert added == pytest.approx(difference, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(1, 3),
    st.sampled_from(["snr", "information", "bits"]),
    st.floats(1e-4, 0.5),
    st.floats(1e-4, 0.5),
)
def test_a_looser_tolerance_never_needs_more_pixels(exponent, criterion, one, two):
    spectrum, noise = Spectrum.power_law(16, exponent), NoiseSchedule.linear(100)
    strict, loose = sorted([one, two])
    fine, coarse = (
        derive_schedule(spectrum, noise, (16, 8, 4), criterion, x).resolutions
        for x in (strict, loose)
    )
    assert (coarse <= fine).all()


def test_signal_fraction_compares_shares():
    spectrum = Spectrum.power_law(64, 2.2)
    schedule = derive_schedule(spectrum, NOISE, criterion="signal-fraction")
    for t, (before, after) in schedule.changes.items():
        share = [(NOISE.snr[s] * spectrum.power > 1).mean() for s in (t - 1, t)]
        assert share[1] <= (after / 64) ** 2 < share[0]
        assert before == 2 * after
    assert schedule.derivation["tolerance"] is None


@pytest.mark.parametrize("changes", ["network", "free"])
@pytest.mark.parametrize("order", [1, 2])
def test_plans_keep_their_promises(order, changes):
    spectrum, levels = Spectrum.power_law(64, 2.2), (64, 32, 16, 8)
    plan = plan_sampling(spectrum, NOISE, levels, 20, 0.5, order, changes=changes)
    assert plan.num_calls == 20 == len(set(plan.steps))
    assert plan.steps[0] == 999
    assert plan.steps[-1] == 0
    assert len(plan.schedule.changes) > 0
    if changes == "network":
        assert plan.schedule.change_sides <= set(plan.steps)
    assert plan.cost <= 0.5 * 20
    assert plan.cost == pytest.approx(cost_of(plan, levels, changes))
    report = oracle_report(plan.schedule, spectrum, plan.steps, 0.0, order=order, changes=changes)
    assert plan.error == pytest.approx(report.relative_w2)
    assert plan.schedule.derivation["plan"]["steps"] == list(plan.steps)
    # Better than steps of the usual kind on the same schedule.
    usual = select_steps(plan.schedule, 20, sampler=Sampler(changes=changes))
    even = oracle_report(plan.schedule, spectrum, usual, 0.0, order=order, changes=changes)
    assert plan.error < even.relative_w2
    # The schedule carries its plan.
    assert select_steps(
        plan.schedule, None, "planned", Sampler(order=order, changes=changes)
    ) == list(plan.steps)
    assert select_steps(
        plan.schedule, 20, "planned", Sampler(order=order, changes=changes)
    ) == list(plan.steps)
    other = {"network": "free", "free": "network"}[changes]
    with pytest.raises(InputError, match="needs the spectrum"):
        select_steps(plan.schedule, 20, "planned", Sampler(order=order, changes=other))


def test_free_changes_leave_calls_for_more():
    spectrum, levels = Spectrum.power_law(64, 2.2), (64, 32, 16, 8)
    network, free = (
        plan_sampling(spectrum, NOISE, levels, 14, 0.5, changes=changes).error
        for changes in ("network", "free")
    )
    assert free < 0.8 * network


def cost_of(plan, levels, changes):
    table = chain_costs(levels)[1]
    resolutions = plan.schedule.resolutions[list(plan.steps)].tolist()
    if changes == "free":
        return sum(table[r, r] for r in resolutions)
    return sum(table[a, b] for a, b in itertools.pairwise([*resolutions, levels[0]]))


def test_impossible_plans_are_refused():
    spectrum, levels = Spectrum.power_law(16, 2.2), (16, 8)
    for calls, cost, said in (
        (0, None, "calls 0"),
        (2000, None, "calls 2000"),
        (1, None, "calls 1: cannot lead"),
        (10, 0.01, "cost at least"),
    ):
        with pytest.raises(InputError, match=said):
            plan_sampling(spectrum, NOISE, levels, calls, cost)
    with pytest.raises(InputError, match="must begin with the spectrum's resolution"):
        plan_sampling(spectrum, NOISE, (32, 16), 10)


def test_the_front_only_gets_better():
    spectrum = Spectrum.power_law(32, 2.2)
    front = pareto_front(spectrum, NOISE, (32, 16, 8), [8, 14, 20], [0.01, 0.4, 0.6, 1.0])
    assert len(front) >= 3
    assert (np.diff([plan.cost for plan in front]) > 0).all()
    assert (np.diff([plan.error for plan in front]) < 0).all()
    with pytest.raises(InputError, match="calls 5000: must lie between 1 and the chain's 1000"):
        pareto_front(spectrum, NOISE, (32, 16, 8), [8, 5000], [0.5])


def test_plans_of_operators_without_an_exact_error_are_refused():
    noise = NoiseSchedule.linear(200)
    with pytest.raises(InputError, match="operator 'box': has no exact error above 32 pixels"):
        plan_sampling(Spectrum.power_law(64, 2.2), noise, (64, 32), 8, 0.6, operator="box")
    small = Spectrum.power_law(16, 2.2)
    plan = plan_sampling(small, noise, (16, 8), 8, 0.8, operator="box", changes="free")
    again = oracle_report(plan.schedule, small, plan.steps, 0.0, order=2, changes="free")
    assert plan.error == again.relative_w2
