"""The idea in one picture: a state at three sizes, when each is enough, and what that saves.

python figures/overview.py [DATA]
"""

from __future__ import annotations

import sys

import numpy as np
from measured import SIZE, shown, spectrum
from noise_and_resolution import averaged
from pareto import draw_chains
from snr_map import draw
from style import new_figure, save, save_table

STEPS, SIZES = (0, 200, 365), (64, 32, 16)


def main(data: str = "photos") -> None:
    """Draw the three panels."""
    x0, power = shown(data), spectrum(data)
    noise = np.random.default_rng(0).standard_normal((SIZE, SIZE, 3))
    figure = new_figure(9.6, 3.1)
    left, middle, right = figure.subfigures(1, 3, width_ratios=(0.95, 1.15, 1.1))
    cells = left.subplots(len(STEPS), len(SIZES), gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for line, t in zip(cells, STEPS, strict=True):
        for cell, resolution in zip(line, SIZES, strict=True):
            picture = np.clip(averaged(x0, noise, t, resolution) / 2 + 0.5, 0, 1)
            cell.imshow(picture, interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(f"t = {t}")
    for cell, resolution in zip(cells[0], SIZES, strict=True):
        cell.set_title(f"{resolution} px")
    left.suptitle("averaging a noisy state", fontsize=8)

    axes = middle.subplots()
    _, drawn = draw(axes, power)
    axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    middle.colorbar(drawn, ax=axes, label="signal over noise, dB")

    axes = right.subplots()
    rows, _ = draw_chains(axes, power)
    axes.legend(loc="center right", bbox_to_anchor=(1.04, 0.36), handlelength=1.2)
    axes.set(title="what a perfect denoiser makes of 1000 steps")
    save(figure, "overview")
    save_table("overview", ["chain", "kind", "cost_full_resolution_calls", "relative_w2"], rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
