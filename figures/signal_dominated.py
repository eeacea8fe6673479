"""Share of the state in which signal exceeds noise, and share of the pixels that schedules keep.

    python figures/signal_dominated.py [DATA]

The paper motivates small states by the share of pixels in which signal exceeds noise. Its schedule
keeps a far larger share of pixels, and the count ignores what averaging recovers.
"""

from __future__ import annotations

import sys

import numpy as np
from measured import NOISE, PAPER_CHAIN, SIZE, images, spectrum
from style import COLOURS, DERIVED, FULL, PAPER, new_figure, save, save_curves

from ssd_models.data import to_float
from theory import derive_schedule, signal_dominated_fraction


def main(data: str = "photos") -> None:
    """Compute the shares and draw the figure."""
    power = spectrum(data)
    derived = derive_schedule(power, NOISE, criterion="snr")
    curves = {
        "pixels": signal_dominated_fraction(to_float(images(data)), NOISE.snr),
        "DCT coefficients": signal_dominated_fraction(power, NOISE.snr, "coefficients"),
        "area, paper's schedule": (PAPER_CHAIN.resolutions / SIZE) ** 2,
        "area, derived": (derived.resolutions / SIZE) ** 2,
    }
    figure = new_figure()
    axes = figure.subplots()
    t = np.arange(len(NOISE))
    for (name, values), colour in zip(
        curves.items(), (FULL, COLOURS[2], PAPER, DERIVED), strict=True
    ):
        style = "--" if name.startswith("area") else "-"
        axes.plot(t, values, style, color=colour, label=name, drawstyle="steps-post")
    axes.set(xlabel="step t", ylabel="share", ylim=(0, 1.03), xlim=(0, len(NOISE)))
    axes.legend()
    save(figure, "signal_dominated")
    save_curves("signal_dominated", curves)


if __name__ == "__main__":
    main(*sys.argv[1:])
