"""Effect of aliasing, JPEG and enlarging on the spectrum of photographs reduced in several ways.

    python figures/dataset_faults.py [SPECTRUM.npz ...]

Prints the statistics of `theory.spectrum.diagnostics.spectrum_warnings` for 64-pixel versions of
the built-in photographs and for the given spectra, and writes dataset_faults.csv, .png and .pdf.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from style import COLOURS, new_figure, save, save_table

from ssd_models.data import open_images, to_float
from theory import (
    Spectrum,
    band_power,
    chroma_ratio,
    high_frequency_share,
    spectral_exponents,
    spectrum_warnings,
)
from theory.support.tables import text_table

SIZE, REDUCED, COUNT = 256, 64, 1024


def variants(images: np.ndarray) -> dict[str, np.ndarray]:
    """64-pixel versions of 256-pixel uint8 images (N, 256, 256, 3)."""
    pairs = images.astype(float)
    pairs = (pairs[:, 1::4] + pairs[:, 2::4]) / 2
    pairs = (pairs[:, :, 1::4] + pairs[:, :, 2::4]) / 2
    lanczos = _each(images, lambda image: image.resize((REDUCED, REDUCED), Image.LANCZOS))
    return {
        "Lanczos": lanczos,
        "bicubic": _each(images, lambda image: image.resize((REDUCED, REDUCED), Image.BICUBIC)),
        "box": _each(images, lambda image: image.resize((REDUCED, REDUCED), Image.BOX)),
        "two-pixel averages": np.rint(pairs).astype(np.uint8),
        "no filter": images[:, 1::4, 1::4],
        "JPEG 75, 4:4:4": _each(lanczos, lambda image: _jpeg(image, 75, 0)),
        "JPEG 75, 4:2:0": _each(lanczos, lambda image: _jpeg(image, 75, 2)),
        "enlarged twofold": _each(
            lanczos,
            lambda image: image.resize((32, 32), Image.LANCZOS).resize((64, 64), Image.BICUBIC),
        ),
    }


def _each(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _jpeg(image: Image.Image, quality: int, subsampling: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return Image.open(buffer).convert("RGB")


def statistics(spectrum: Spectrum) -> list[str]:
    """Change of the last exponent, last exponent, change of chroma, high share, warnings."""
    exponent = spectral_exponents(spectrum).exponent
    chroma = chroma_ratio(spectrum)
    return [
        f"{exponent[-1] - exponent[-2]:.2f}",
        f"{exponent[-1]:.2f}",
        f"{chroma[-1] / chroma[-3]:.3f}" if chroma[-3] > 1e-6 else "-",
        f"{high_frequency_share(spectrum):.4f}",
        "; ".join(w.split(":")[0] for w in spectrum_warnings(spectrum)),
    ]


def main(*paths: str) -> None:
    """Measure, print and draw the figure."""
    images = open_images("photos", SIZE, limit=COUNT).load()
    spectra = {
        f"photos, {name}": Spectrum.from_images(to_float(np.ascontiguousarray(version)))
        for name, version in variants(images).items()
    }
    spectra |= {Path(path).stem: Spectrum.load(path) for path in paths}
    header = ["dataset", "exponent_step", "last_exponent", "chroma_step", "high_share", "warnings"]
    rows = [[name, *statistics(spectrum)] for name, spectrum in spectra.items()]
    print(text_table([header, *rows]))
    save_table("dataset_faults", header, rows[: len(rows) - len(paths)])
    figure = new_figure(height=2.8)
    axes = figure.subplots()
    index = np.arange(1, REDUCED)
    shown = ("Lanczos", "box", "no filter", "JPEG 75, 4:2:0", "enlarged twofold")
    for colour, name in zip(COLOURS, shown, strict=False):
        power = band_power(spectra[f"photos, {name}"].power)[1:]
        axes.loglog(index, power * index**2, color=colour, label=name)
    axes.set(
        xlabel="frequency max(k1, k2), DCT index",
        ylabel="power per coefficient × frequency²",
        title="photographs reduced to 64 pixels",
    )
    axes.legend()
    save(figure, "dataset_faults")


if __name__ == "__main__":
    main(*sys.argv[1:])
