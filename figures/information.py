"""What noisy states hold: total bits, resolutions that suffice, signal's share, and schedules.

    python figures/information.py [DATA]

Four curves over the steps of a linear chain, for the built-in photographs at 64 pixels or other
data: information.png, .pdf, .csv.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from style import COLOURS, new_figure, save, save_table

from ssd_models.data.opening import open_images, to_float
from theory.derive import derive_schedule, matched_resolution
from theory.information import (
    gaussian_information,
    schedule_information,
    signal_dominated_fraction,
)
from theory.noise import NoiseSchedule
from theory.schedules import ResolutionSchedule
from theory.spectrum import Spectrum
from theory.thumbnails import FORMATS, matching_thumbnail, thumbnail_bits

SIZE, COUNT, THUMBNAILS = 64, 4096, (1, 2, 4, 8, 16, 32, 64)
CRITERIA = (("snr", 0.1), ("information", 0.1), ("bits", 1e-3), ("signal-fraction", 0.0))


def main(data: str = "photos") -> None:
    """Measure, print and draw."""
    images = open_images(data, SIZE, limit=COUNT).load()
    spectrum = Spectrum.from_images(to_float(images))
    noise = NoiseSchedule.linear(1000)
    t, pixels = np.arange(len(noise)), SIZE**2
    total = np.asarray(gaussian_information(spectrum, noise.snr))
    derived = derive_schedule(spectrum, noise)
    paper = ResolutionSchedule.paper(SIZE, 4, "ConvexDecay_0.5", noise)
    files = {name: thumbnail_bits(images[:256], THUMBNAILS, name).mean(axis=0) for name in FORMATS}
    thumbnails = {
        f"{name} thumbnail": matching_thumbnail(total, THUMBNAILS, bits)
        for name, bits in files.items()
    }
    enough = {
        f"{name} <= {tolerance:g}" if tolerance else name: matched_resolution(
            spectrum, noise.snr, name, tolerance
        )
        for name, tolerance in CRITERIA
    }
    dominated = {
        "pixels": signal_dominated_fraction(to_float(images), noise.snr),
        "coefficients": signal_dominated_fraction(spectrum, noise.snr, "coefficients"),
    }
    information = {
        "full resolution": total,
        "paper": schedule_information(spectrum, paper),
        "derived, matched": schedule_information(spectrum, derived),
    }

    figure = new_figure(width=7.0, height=5.0)
    axes = figure.subplots(2, 2, sharex=True)
    _draw(axes[0, 0], t, thumbnails, "total: the file with as many bits as the bound", "pixels")
    axes[0, 0].set(yscale="log", yticks=THUMBNAILS, yticklabels=THUMBNAILS)
    _draw(axes[0, 1], t, enough, "sufficient: resolution that keeps all but a tolerance", "pixels")
    edges = np.arange(len(noise) + 1)
    axes[0, 1].stairs(
        derived.resolutions, edges, baseline=None, color="black", lw=1, label="derived, snr <= 0.1"
    )
    axes[0, 1].set(yscale="log", yticks=THUMBNAILS, yticklabels=THUMBNAILS)
    _draw(axes[1, 0], t, dominated, "share in which signal outweighs noise", "share")
    area = (paper.resolutions / SIZE) ** 2
    axes[1, 0].plot(t, area, color="black", lw=1, label="area, paper's schedule")
    bits = {name: values / pixels for name, values in information.items()}
    _draw(axes[1, 1], t, bits, "information of the state, upper bound", "bits per pixel")
    axes[1, 1].set(yscale="log")
    for each in axes.ravel():
        each.minorticks_off()
        each.legend()
    for each in axes[1]:
        each.set_xlabel("step t")
    save(figure, "information")

    curves = {**thumbnails, **enough, **dominated, **bits}
    shown = np.append(np.arange(0, len(noise), 50), len(noise) - 1)
    save_table(
        "information",
        ["t", *curves],
        ([step, *(f"{values[step]:.6g}" for values in curves.values())] for step in shown),
    )
    for name, values in files.items():
        sizes = ", ".join(f"{r}: {b:.0f}" for r, b in zip(THUMBNAILS, values, strict=True))
        print(f"mean bits of a {name} thumbnail of r pixels: {sizes}")
    for step, (_, after) in derived.changes.items():
        files_at = ", ".join(f"{name} {values[step]:.1f}" for name, values in thumbnails.items())
        print(f"t = {step}: {after} px suffice; all bits fit into a file of at most {files_at} px")


def _draw(
    axes: Any, t: np.ndarray, curves: Mapping[str, np.ndarray], title: str, label: str
) -> None:
    for colour, (name, values) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(t, values, color=colour, label=name)
    axes.set(title=title, ylabel=label)


if __name__ == "__main__":
    main(*sys.argv[1:])
