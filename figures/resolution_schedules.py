"""Resolution at each step: the paper's named schedules, and criteria on a spectrum.

python figures/resolution_schedules.py [DATA]
"""

from __future__ import annotations

import sys

import numpy as np
from measured import LEVELS, NAMED_SCHEDULES, NOISE, SIZE, spectrum
from style import COLOURS, PAGE, new_figure, save, save_curves

from theory import PAPER, ResolutionSchedule, derive_schedule, matched_resolution

CRITERIA = (("snr", 0.1), ("snr", 1.0), ("bits", 1e-3), ("information", 0.1))


def main(data: str = "photos") -> None:
    """Compute the schedules and draw the figure."""
    power = spectrum(data)
    named = {
        name: ResolutionSchedule.paper(SIZE, len(LEVELS), name, NOISE).resolutions
        for name in NAMED_SCHEDULES
    }
    enough = {
        f"{name} ≤ {tolerance:g}": matched_resolution(power, NOISE.snr, name, tolerance)
        for name, tolerance in CRITERIA
    }
    derived = derive_schedule(power, NOISE, criterion="snr").resolutions

    figure = new_figure(PAGE, 2.7)
    left, right = figure.subplots(1, 2, sharey=True)
    edges = np.arange(len(NOISE) + 1)
    for place, (name, values) in enumerate(named.items()):
        shifted = values * 1.02 ** (place - len(named) / 2)  # so that lines do not overlap
        own = name == PAPER
        left.stairs(
            shifted, edges, baseline=None, color=COLOURS[place], lw=2 if own else 1.1, label=name
        )
    for colour, (name, values) in zip(COLOURS, enough.items(), strict=False):
        right.plot(values, color=colour, label=f"suffices, {name}")
    right.stairs(derived, edges, baseline=None, color="black", label="derived, snr ≤ 0.1")
    for axes, title in ((left, "the paper's, set by hand"), (right, "derived from a spectrum")):
        axes.set_yscale("log", base=2)
        axes.set(title=title, xlabel="step t", xlim=(0, len(NOISE)), ylim=(0.9, 80))
        axes.set(yticks=(1, 2, 4, *LEVELS[::-1]), yticklabels=(1, 2, 4, *LEVELS[::-1]))
        axes.legend(loc="lower left")
    left.set_ylabel("resolution, pixels")
    save(figure, "resolution_schedules")
    save_curves("resolution_schedules", {**named, **enough, "derived": derived})


if __name__ == "__main__":
    main(*sys.argv[1:])
