"""Power of samples in each octave with an ideal denoiser, on each schedule.

    python figures/oracle_octaves.py [DATA]

Exact for Gaussian data, so that losses are due to the schedule and the sampler, not the network.
"""

from __future__ import annotations

import sys

import numpy as np
from measured import NOISE, PAPER_CHAIN, SAME_CHANGES, SIZE, spectrum
from style import COLOURS, DERIVED, FULL, MATCHED, PAGE, PAPER, new_figure, save, save_table

from theory import ResolutionSchedule, derive_schedule, oracle_report, select_steps

CALLS = 25


def main(data: str = "photos") -> None:
    """Compute the power and draw the figure."""
    power = spectrum(data)
    schedules = {
        "full resolution": (ResolutionSchedule.full_resolution(SIZE, NOISE), FULL, "s-"),
        "paper, dct": (PAPER_CHAIN, PAPER, "o-"),
        "paper's changes, matched noise": (
            SAME_CHANGES,
            MATCHED,
            "d--",
        ),
        "derived, snr ≤ 0.1": (derive_schedule(power, NOISE, criterion="snr"), DERIVED, "o-"),
        "derived, snr ≤ 1": (
            derive_schedule(power, NOISE, tolerance=1.0, criterion="snr"),
            COLOURS[5],
            "^-",
        ),
    }
    samplers = {
        f"{len(NOISE)} ancestral steps": (None, 1.0, 1),
        f"{CALLS} second-order steps": (CALLS, 0.0, 2),
    }
    figure = new_figure(PAGE, 3.6)
    rows = []
    for axes, (title, (calls, eta, order)) in zip(
        figure.subplots(1, 2, sharey=True), samplers.items(), strict=True
    ):
        for name, (schedule, colour, style) in schedules.items():
            steps = None if calls is None else select_steps(schedule, calls)
            report = oracle_report(schedule, power, steps, eta, order=order)
            octaves = np.arange(1, len(report.octave_db) + 1)
            label = f"{name}: {report.relative_w2:.1e}"
            axes.plot(octaves, report.octave_db, style, color=colour, ms=3.5, label=label)
            rows.append([title, name, report.relative_w2, *map(float, report.octave_db)])
        axes.axhline(0, color="black", lw=0.5)
        axes.set(title=title, xlabel="octave, lowest frequencies first", xticks=octaves)
        axes.legend(
            title="relative W2²",
            title_fontsize=7,
            alignment="left",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
        )
    figure.axes[0].set_ylabel("power over the data's, dB")
    save(figure, "oracle_octaves")
    header = ["sampler", "schedule", "relative_w2", *(f"octave_{o}_db" for o in octaves)]
    save_table("oracle_octaves", header, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
