"""Noisy states and thumbnails with equally many bits.

    python figures/thumbnails.py [DATA]

Top: states of one image. Bottom: the image at the size whose mean PNG file over the data has as
many bits as the Gaussian bound on the information of the state.
"""

from __future__ import annotations

import sys

import numpy as np
from measured import NOISE, SIZE, images, shown, spectrum
from style import COLOURS, PAGE, new_figure, save, save_curves

from theory import (
    THUMBNAIL_FORMATS,
    gaussian_information,
    matching_thumbnail,
    resized_stack,
    thumbnail_bits,
)

SIZES = (1, 2, 4, 8, 16, 32, 64)
STEPS = (0, 10, 30, 60, 100, 150, 220)


def main(data: str = "photos") -> None:
    """Measure file sizes and draw the figure."""
    pixels = images(data)
    total = np.asarray(gaussian_information(spectrum(data), NOISE.snr))
    files = {
        name: thumbnail_bits(pixels[:256], SIZES, name).mean(axis=0) for name in THUMBNAIL_FORMATS
    }
    matching = {name: matching_thumbnail(total, SIZES, bits) for name, bits in files.items()}

    figure = new_figure(PAGE, 2.1)
    left, right = figure.subfigures(1, 2, width_ratios=(3, 5))
    axes = left.subplots()
    for name, colour in zip(THUMBNAIL_FORMATS, COLOURS, strict=False):
        axes.plot(matching[name], color=colour, label=f"{name.upper()} of as many bits")
    axes.set_yscale("log", base=2)
    axes.set(xlabel="step t", ylabel="pixels to a side", yticks=SIZES, yticklabels=SIZES)
    axes.legend()

    x0 = shown(data)
    noise = np.random.default_rng(0).standard_normal(x0.shape)
    cells = right.subplots(2, len(STEPS))
    for above, below, t in zip(*cells, STEPS, strict=True):
        side = int(np.clip(round(matching["png"][t]), 1, SIZE))
        (small,) = resized_stack(x0, [(side, side)], "box")
        state = NOISE.alpha[t] * x0 + NOISE.sigma[t] * noise
        for cell, picture in ((above, state), (below, small)):
            cell.imshow(np.clip(picture / 2 + 0.5, 0, 1), interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        above.set_title(f"t = {t}", fontsize=7)
        below.set_title(f"{side} px", fontsize=7)
        below.set_xlabel(_rounded(total[t]), fontsize=7)
    cells[0, 0].set_ylabel("state", fontsize=7)
    cells[1, 0].set_ylabel("thumbnail", fontsize=7)
    save(figure, "thumbnails")
    named = {f"{name}_pixels": values for name, values in matching.items()}
    save_curves("thumbnails", {"bits": total, **named}, 10)


def _rounded(bits: float) -> str:
    return f"{bits / 1000:.1f} kbit" if bits < 99_500 else f"{bits / 1000:.0f} kbit"


if __name__ == "__main__":
    main(*sys.argv[1:])
