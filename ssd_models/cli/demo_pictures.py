"""What `ssd demo` draws: samples below a real image of their class, and power over frequency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from theory.files import atomic_path
from theory.spectrum import Spectrum, band_power

from ..pictures import save_grid

_ROWS = 4  # samples of a class that are shown
_BANDS = 2  # of columns, one below the other
_ENLARGED = 4  # times
_COLOURS = ("#0072B2", "#D55E00")


def save_samples(path: Path, samples: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a grid of one column a class: a real image in a frame of white, samples below it.

    Parameters
    ----------
    path : Path
    samples : (K M, R, R, C) uint8
        M samples of each of the K classes in turn.
    images, labels : (N, R, R, C) uint8 and (N,) int
        Real ones.
    """
    count = int(labels.max()) + 1
    by_class = samples.reshape(count, -1, *samples.shape[1:])[:, :_ROWS]
    real = np.stack([images[np.flatnonzero(labels == k)[0]] for k in range(count)])
    columns = np.concatenate([real[:, None], by_class], axis=1)  # (K, 1 + rows, R, R, C)
    bands = np.array_split(columns, _BANDS)
    grid = np.concatenate([band.swapaxes(0, 1).reshape(-1, *images.shape[1:]) for band in bands])
    large = grid.repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2)
    save_grid(large, path, columns=len(bands[0]))


def save_power(path: Path, data: Spectrum, sampled: dict[str, Spectrum]) -> None:
    """Draw the power of samples, by name, over that of the data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    index = np.arange(1, data.resolution)
    axes.loglog(index, band_power(data.power)[1:], color="#666666", lw=3, label="real images")
    for (name, spectrum), colour in zip(sampled.items(), _COLOURS, strict=False):
        axes.loglog(index, band_power(spectrum.power)[1:], color=colour, label=f"samples {name}")
    axes.set(xlabel="frequency max(k1, k2), DCT index", ylabel="power per coefficient")
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
