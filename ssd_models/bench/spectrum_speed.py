"""`ssd bench spectrum`: throughput of measuring a spectrum and of the DCT alone."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .machine import describe, machine
from .report import Report, Table
from .timing import Job, median_seconds

_IMAGES = 1024  # per batch


def measure_spectrum(resolution: int, batches: int, repeats: int) -> Report:
    """Images per second of `Spectrum.from_images` and of `scipy.fft.dctn` on the same images."""
    if min(resolution, batches, repeats) < 1:
        raise InputError("bench spectrum: resolution, batches and repeats must be at least 1")
    rng = np.random.default_rng(0)
    shape = (_IMAGES, resolution, resolution, 3)
    rows = []
    for dtype in (np.float32, np.float64):
        images = [rng.uniform(-1, 1, shape).astype(dtype) for _ in range(batches)]
        seconds = median_seconds(_jobs(images), repeats)
        rows += [
            {
                "input": np.dtype(dtype).name,
                "measured": name,
                "images_per_second": _IMAGES * batches / elapsed,
                "over_dctn": seconds["scipy.fft.dctn"] / elapsed,
            }
            for name, elapsed in seconds.items()
        ]
    found = machine()
    return Report(
        benchmark="spectrum",
        heading=(
            f"Measuring a spectrum: {batches} batches of {_IMAGES} images, {resolution} px, 3 "
            f"channels; {describe(found)}; median of {repeats} turns"
        ),
        setting={
            "resolution": resolution,
            "batches": batches,
            "batch": _IMAGES,
            "repeats": repeats,
            "machine": found,
        },
        tables=[Table("throughput", rows)],
    )


def _jobs(images: list[np.ndarray]) -> dict[str, Job]:
    return {
        "scipy.fft.dctn": lambda: [dctn(x, axes=(1, 2), norm="ortho") for x in images],
        "scipy.fft.dctn, all cores": lambda: [
            dctn(x, axes=(1, 2), norm="ortho", workers=-1) for x in images
        ],
        "spectrum, one thread": lambda: Spectrum.from_images(images, threads=1),
        "spectrum": lambda: Spectrum.from_images(images),
    }
