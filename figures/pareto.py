"""Cost and exact Gaussian error of schedules and of planned steps, with the paper's schedule.

python figures/pareto.py [DATA]
"""

from __future__ import annotations

import sys
from typing import Any

from measured import LEVELS, NAMED_SCHEDULES, NOISE, SIZE, spectrum
from style import (
    COLOURS,
    DERIVED,
    FULL,
    MATCHED,
    PAGE,
    PAPER as ORANGE,
    new_figure,
    save,
    save_table,
)

from theory import (
    PAPER,
    ResolutionSchedule,
    Spectrum,
    chain_costs,
    derive_schedule,
    oracle_errors,
    pareto_front,
)

TOLERANCES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
TAUS = (0.01, 0.03, 0.1, 0.3, 1.0)
BUDGETS = (0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
CALLS, CALL_COSTS = (8, 10, 13, 18, 25, 50), (0.35, 0.5, 0.7, 1.0)


def main(data: str = "photos") -> None:
    """Compute cost and error and draw the figure."""
    power = spectrum(data)
    figure = new_figure(PAGE, 3.0)
    left, right = figure.subplots(1, 2)
    rows, chosen = draw_chains(left, power)
    left.legend(loc="center right", bbox_to_anchor=(1.02, 0.36), handlelength=1.2)

    planned = {
        "order 1": (1, "network", COLOURS[3], "v-"),
        "order 2": (2, "network", DERIVED, "o-"),
        "order 2, free changes": (2, "free", COLOURS[2], "^-"),
    }
    for name, (order, changes, colour, mark) in planned.items():
        front = pareto_front(power, NOISE, LEVELS, CALLS, CALL_COSTS, order, changes=changes)
        costs, errors = [plan.cost for plan in front], [plan.error for plan in front]
        right.loglog(costs, errors, mark, color=colour, ms=3.5, label=name)
        rows += [["planned", name, p.cost, p.error] for p in front]
    right.plot(*chosen, "o", color=ORANGE, ms=5, label="paper, 1000 steps")
    right.set(title="planned steps", xlabel="whole chain, in full-resolution calls")
    right.legend()
    save(figure, "pareto")
    save_table("pareto", ["chain", "kind", "cost_full_resolution_calls", "relative_w2"], rows)


def draw_chains(axes: Any, power: Spectrum) -> tuple[list[list[Any]], tuple[float, float]]:
    """Draw cost and error of chains of all steps.

    Returns
    -------
    rows : list
        Rows of the table.
    chosen : (float, float)
        Cost and error of the paper's schedule.
    """
    table = chain_costs(LEVELS)[1]
    paper = [
        ResolutionSchedule.paper(SIZE, len(LEVELS), name, NOISE, operator="dct")
        for name in NAMED_SCHEDULES
    ]
    kinds = {
        "full resolution": [ResolutionSchedule.full_resolution(SIZE, NOISE)],
        "paper's schedules, by dct": paper,
        "the same changes, matched noise": [
            ResolutionSchedule.from_noise(one.resolutions, NOISE, levels=LEVELS) for one in paper
        ],
        "derived by snr": [derive_schedule(power, NOISE, LEVELS, "snr", x) for x in TOLERANCES],
        "derived for a budget": [
            derive_schedule(power, NOISE, LEVELS, "budget", x) for x in BUDGETS
        ],
        "lossless, τ from 0.01 to 1": [
            derive_schedule(power, NOISE, LEVELS, "water-filling", x) for x in TAUS
        ],
    }
    marks = (
        (FULL, "s"),
        (ORANGE, "o"),
        (MATCHED, "d"),
        (DERIVED, "o-"),
        (COLOURS[2], "^-"),
        ("black", "*-"),
    )
    rows: list[list[Any]] = []
    for (kind, schedules), (colour, mark) in zip(kinds.items(), marks, strict=True):
        costs = [schedule.chain_cost(table) for schedule in schedules]
        errors = oracle_errors(schedules, power).tolist()
        axes.semilogy(costs, errors, mark, color=colour, ms=4, label=kind)
        rows += [["1000 steps", kind, *pair] for pair in zip(costs, errors, strict=True)]
        if kind == "paper's schedules, by dct":
            own = NAMED_SCHEDULES.index(PAPER)
            axes.annotate(
                f"the paper's choice,\n{PAPER}",
                (costs[own], errors[own]),
                (0.62, 0.93),
                textcoords="axes fraction",
                fontsize=7,
                va="center",
                arrowprops={"arrowstyle": "-", "lw": 0.6},
            )
            chosen = len(NOISE) * costs[own], errors[own]
    axes.set(title="1000 ancestral steps", xlabel="mean call, in full-resolution calls")
    axes.set_ylabel("error, relative W2²")
    return rows, chosen


if __name__ == "__main__":
    main(*sys.argv[1:])
