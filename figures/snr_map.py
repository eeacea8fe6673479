"""Signal-to-noise ratio of each frequency at each step, the water level, and schedules.

python figures/snr_map.py [DATA]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from measured import NOISE, PAPER_CHAIN, SIZE, spectrum
from style import DERIVED, PAPER, new_figure, save, save_curves

from theory import Spectrum, band_power, derive_schedule, water_level


def main(data: str = "photos") -> None:
    """Draw the figure and write its curves."""
    figure = new_figure(height=3.0)
    axes = figure.subplots()
    curves, drawn = draw(axes, spectrum(data))
    axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.colorbar(drawn, ax=axes, label="signal over noise, dB")
    save(figure, "snr_map")
    save_curves("snr_map", curves)


def draw(axes: Any, power: Spectrum) -> tuple[dict[str, np.ndarray], Any]:
    """Draw the map; return its curves and the mesh for a colour bar."""
    shells = band_power(power.power)
    decibels = 10 * np.log10(np.maximum(shells[:, None] * NOISE.snr, 1e-12))  # (R, T)
    lossless = derive_schedule(power, NOISE)
    jumping = derive_schedule(power, NOISE, criterion="snr")
    edges = np.arange(len(NOISE) + 1)
    drawn = axes.pcolormesh(
        edges, np.arange(SIZE + 1), decibels, cmap="RdBu_r", vmin=-40, vmax=40, rasterized=True
    )
    level = water_level(lossless)
    assert level is not None
    axes.plot(np.arange(len(NOISE)) + 0.5, level, color="black", lw=0.8, label="water level")
    axes.stairs(lossless.resolutions, edges, color="black", lw=1.8, label="lossless")
    axes.stairs(jumping.resolutions, edges, color=DERIVED, lw=1.3, label="jumps, snr ≤ 0.1")
    axes.stairs(PAPER_CHAIN.resolutions, edges, color=PAPER, lw=1.5, ls="--", label="the paper's")
    axes.set(xlabel="step t", ylabel="frequency, DCT index", ylim=(0, SIZE + 0.5))
    curves = {f"db_at_{k}": decibels[k] for k in (0, 1, 2, 4, 8, 16, 32, 63)}
    resolutions = {
        "water_level": level,
        "lossless_pixels": lossless.resolutions,
        "jumps_pixels": jumping.resolutions,
        "paper_pixels": PAPER_CHAIN.resolutions,
    }
    return {**curves, **resolutions}, drawn


if __name__ == "__main__":
    main(*sys.argv[1:])
