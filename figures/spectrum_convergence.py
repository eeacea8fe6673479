"""Error of the power in each octave against the number of images.

    python figures/spectrum_convergence.py [DATA]

Writes spectrum_convergence.png, .pdf and .csv to the folder of this script.
"""

from __future__ import annotations

import sys

import numpy as np
from style import COLOURS, new_figure, save, save_table

from ssd_models.data import open_images, to_float
from theory import convergence

RESOLUTION = 64


def main(data: str = "photos") -> None:
    """Measure the convergence and draw the figure."""
    images = to_float(open_images(data, RESOLUTION).load())
    images = images[np.random.default_rng(0).permutation(len(images))]
    result = convergence(images)
    off = np.abs(result.power / result.power[-1] - 1)
    figure = new_figure()
    axes = figure.subplots()
    octaves = result.power.shape[1]
    for octave in range(octaves):
        label = f"octave {octave + 1}"
        axes.loglog(
            result.counts[:-1], off[:-1, octave], "o-", ms=2.5, color=COLOURS[octave], label=label
        )
        axes.loglog(result.counts, result.standard_error[:, octave], ":", color=COLOURS[octave])
    axes.set(
        xlabel="images",
        ylabel="relative error of power",
        title="off the total (solid), jackknife (dotted)",
    )
    axes.set_ylim(1e-4, 0.4)
    axes.legend(ncols=2, loc="lower left")
    save(figure, "spectrum_convergence")
    save_table(
        "spectrum_convergence",
        ["images", *(f"{what}_octave_{o + 1}" for what in ("off", "se") for o in range(octaves))],
        (
            [n, *(f"{v:.6g}" for v in (*a, *b))]
            for n, a, b in zip(result.counts, off, result.standard_error, strict=True)
        ),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
