"""Cost of a change of resolution in nats, against the signal-to-noise ratio at which it happens.

    python figures/change_cost.py [DATA]

Left: for Gaussian data of the data's spectrum, and the bound for any data of that spectrum. Right:
faces at 32 px, with values measured by trained networks (`results/change_divergence.json`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measured import SIZE, spectrum
from style import COLOURS, PAGE, new_figure, save, save_table

from theory import NoiseSchedule, ResolutionSchedule, Spectrum, change_divergence

RATIOS = np.logspace(-2, 0.5, 26)  # largest snr_t S_k of the band that opens
_COLUMNS = ("before", "after", "ratio", "gaussian", "bound", "measured")
STORED = Path(__file__).parents[1] / "results" / "change_divergence.json"


def main(data: str = "photos") -> None:
    """Compute the costs and draw the figure."""
    figure = new_figure(PAGE, 2.8)
    left, right = figure.subplots(1, 2)
    rows: list[list[Any]] = []
    power = spectrum(data)
    for (before, after), colour in zip(((64, 32), (32, 16), (16, 8)), COLOURS, strict=False):
        gaussian, bound = jump_costs(power, before, after)
        left.loglog(RATIOS, gaussian, color=colour, label=f"{after} to {before} px, Gaussian")
        left.loglog(RATIOS, bound, "--", color=colour, label="at most, any data")
        rows += [
            ["spectrum", before, after, *values, ""]  # not measured
            for values in zip(RATIOS, gaussian, bound, strict=True)
        ]
    name = "photographs" if data == "photos" else Path(data).name
    left.set(title=f"{name}, {SIZE} px", ylabel="nats an image", ylim=(1e-4, 1e3))
    left.legend()
    changes = json.loads(STORED.read_text(encoding="utf-8"))["changes"]
    for name, style, label in (
        ("gaussian", {"marker": "_", "ms": 14}, "Gaussian"),
        ("bound", {"marker": "1", "ms": 9}, "at most, any data"),
    ):
        values = [row[name] for row in changes]
        right.plot(values, ls="", color="black", label=label, **style)
    measured = [row["measured"] for row in changes]
    spread = [1.96 * row["standard_error"] for row in changes]
    right.errorbar(
        range(len(changes)), measured, spread, fmt="s", color=COLOURS[1], label="measured"
    )
    names = [f"{row['after']} to {row['before']} px\nat {row['ratio']:.2g}" for row in changes]
    right.set_yscale("symlog", linthresh=0.1)
    right.set(title="faces, 32 px, trained networks", xlim=(-0.6, len(changes) + 0.9))
    right.set_xticks(range(len(changes)), names)
    right.legend(loc="center right")
    left.set_xlabel("largest signal over noise of the band that opens")
    rows += [["networks", *(row[name] for name in _COLUMNS)] for row in changes]
    save(figure, "change_cost")
    save_table("change_cost", ["source", *_COLUMNS], rows)


def jump_costs(power: Spectrum, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian cost and bound of a change at each of `RATIOS`, in nats per image."""
    index = np.arange(power.resolution)
    shell = np.maximum(index[:, None], index)[:, :, None]
    largest = float((power.power * (shell >= after)).max())
    found = []
    for ratio in RATIOS:
        snr = ratio / largest
        noise = NoiseSchedule(snr / (1 + snr) * (1 - 1e-9 * np.arange(3)))  # nearly constant
        sizes = np.array([power.resolution, before, after])
        schedule = ResolutionSchedule.from_noise(sizes, noise, levels=tuple(np.unique(sizes)[::-1]))
        cost = change_divergence(schedule, power)[-1]
        found.append((cost.gaussian, cost.bound))
    gaussian, bound = np.array(found).T
    return gaussian, bound


if __name__ == "__main__":
    main(*sys.argv[1:])
