"""Pictures of `ssd demo`: samples beside real images of their class, and power spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from theory.spectrum.bands import band_power
from theory.spectrum.spectrum import Spectrum
from theory.support.files import atomic_path

from ..sampling.pictures import save_grid

_REAL, _SAMPLES = 2, 10  # images shown per class
_ENLARGED = 4  # factor
_COLOURS = ("#0072B2", "#D55E00")


def save_samples(path: Path, samples: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a grid with one row per class: real images, a gap, samples.

    Parameters
    ----------
    path : Path
    samples : (K M, R, R, C) uint8
        M samples of each of the K classes, sorted by class.
    images, labels : (N, R, R, C) uint8 and (N,) int
        Real images, at least two of each class.
    """
    count = int(labels.max()) + 1
    made = samples.reshape(count, -1, *samples.shape[1:])[:, :_SAMPLES]
    real = np.stack([images[np.flatnonzero(labels == k)[:_REAL]] for k in range(count)])
    rows = np.concatenate([real, np.full_like(real[:, :1], 255), made], axis=1)
    large = rows.repeat(_ENLARGED, axis=2).repeat(_ENLARGED, axis=3)
    save_grid(large.reshape(-1, *large.shape[2:]), path, columns=rows.shape[1])


def save_power(path: Path, data: Spectrum, sampled: dict[str, Spectrum]) -> None:
    """Plot the power spectrum of the data and of each named set of samples."""
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
