"""One image at rising noise, at full resolution and box averaged to fewer pixels.

    python figures/noise_and_resolution.py [DATA]

Each row is one noisy state, each column its box average at a resolution with the remaining noise.
A frame marks the resolution of the derived schedule at that step. The number below each image is a
lower bound on the share of the state's information that it keeps.
"""

from __future__ import annotations

import sys

import numpy as np
from measured import LEVELS, NOISE, SIZE, shown, spectrum
from style import COLUMN, DERIVED, decibel_label, new_figure, save, save_table

from theory import derive_schedule, discarded_information, gaussian_information, resized_stack

STEPS = (0, 100, 250, 365, 520, 640)


def main(data: str = "photos") -> None:
    """Draw the grid and write the numbers of each cell."""
    power, schedule = spectrum(data), derive_schedule(spectrum(data), NOISE, criterion="snr")
    x0 = shown(data)
    noise = np.random.default_rng(0).standard_normal(x0.shape)
    figure = new_figure(COLUMN, 5.5)
    axes = figure.subplots(len(STEPS), len(LEVELS))
    rows = []
    for line, t in zip(axes, STEPS, strict=True):
        snr = float(NOISE.snr[t])
        total = float(gaussian_information(power, snr))
        for cell, resolution in zip(line, LEVELS, strict=True):
            state = averaged(x0, noise, t, resolution)
            lost = float(discarded_information(power, snr, resolution, "box"))
            kept = 1 - min(lost / total, 1.0)
            used = bool(schedule.resolutions[t] == resolution)
            after = snr * (SIZE / resolution) ** 2
            rows.append([t, resolution, snr, after, total, lost, int(used)])
            cell.imshow(np.clip(state / 2 + 0.5, 0, 1), interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.set_xlabel(f"{100 * kept:.0f} %", fontsize=6, labelpad=1)
            for spine in cell.spines.values():
                spine.set(visible=used, color=DERIVED, linewidth=2.5)
        line[0].set_ylabel(f"t = {t}\n{decibel_label(10 * np.log10(snr), '+')}", fontsize=7)
    for cell, resolution in zip(axes[0], LEVELS, strict=True):
        cell.set_title(f"{resolution} px")
    figure.get_layout_engine().set(h_pad=0.03, w_pad=0.01, hspace=0.02, wspace=0.02)
    save(figure, "noise_and_resolution")
    header = ["t", "pixels", "snr", "snr_after", "bits", "bits_discarded_at_most", "schedule_uses"]
    save_table("noise_and_resolution", header, rows)


def averaged(x0: np.ndarray, noise: np.ndarray, t: int, resolution: int) -> np.ndarray:
    """State at step ``t``, box averaged to ``resolution`` pixels and scaled to ``a² + σ² = 1``.

    ``x0`` and ``noise`` are ``(64, 64, 3)``.
    """
    sizes = [(resolution, resolution)]
    signal, drawn = (resized_stack(x, sizes, "box")[0] for x in (x0, noise))
    left = NOISE.sigma[t] * resolution / SIZE  # noise that averaging leaves
    state = NOISE.alpha[t] * signal + NOISE.sigma[t] * drawn
    return state / np.hypot(NOISE.alpha[t], left)


if __name__ == "__main__":
    main(*sys.argv[1:])
