"""Information of states about the clean image at changes of resolution.

    python figures/information_cliff.py [DATA]

Averaging blocks of a state also averages its noise. A schedule that raises the noise back to the
full-resolution level loses information at every change (the cliff); with matched noise only the
discarded band is lost.
"""

from __future__ import annotations

import sys

import numpy as np
from measured import NOISE, PAPER_CHAIN, SAME_CHANGES, spectrum
from style import DERIVED, FULL, MATCHED, PAPER, new_figure, save, save_curves

from theory import derive_schedule, gaussian_information, schedule_information


def main(data: str = "photos") -> None:
    """Compute the curves and draw the figure."""
    power = spectrum(data)
    curves = {
        "full resolution": np.asarray(gaussian_information(power, NOISE.snr)),
        "paper": schedule_information(PAPER_CHAIN, power),
        "paper's changes, matched noise": schedule_information(SAME_CHANGES, power),
        "derived, matched noise": schedule_information(
            derive_schedule(power, NOISE, criterion="snr"), power
        ),
    }
    styles = ((FULL, "-"), (PAPER, "-"), (MATCHED, "--"), (DERIVED, "-"))
    figure = new_figure()
    axes = figure.subplots()
    for (name, values), (colour, style) in zip(curves.items(), styles, strict=True):
        axes.semilogy(values, style, color=colour, label=name)
    axes.set(xlabel="step t", ylabel="information, bits per image, at most", xlim=(0, len(NOISE)))
    axes.legend(loc="lower left")
    save(figure, "information_cliff")
    save_curves("information_cliff", curves)


if __name__ == "__main__":
    main(*sys.argv[1:])
