"""`ssd spectrum` and `ssd spectrum merge`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from theory.support.errors import InputError

from ..distributed import part_ways, process_index
from .options import (
    Data,
    Limit,
    Output,
    Resolution,
    Seed,
    SkipBad,
    SpectrumFiles,
    chosen_resolution,
    report_skipped,
)


@dataclass(frozen=True)
class SpectrumCommand:
    """Measure the power spectrum of a dataset, or of a shard of it, in one pass.

    Example: ssd spectrum photos/ -o spectrum.npz

    For a large dataset, measure shards on any machines and merge them (exact up to rounding):
    ssd spectrum DATA -o part3.npz --shard 3/16; ssd spectrum merge part*.npz -o spectrum.npz
    """

    data: Positional[Data]
    output: Output = "spectrum.npz"
    """File to write."""
    resolution: Resolution = None
    limit: Limit = None
    seed: Seed = 0
    shard: Annotated[str | None, arg(metavar="I/N")] = None
    """Measure only shard i of n, given as i/n."""
    workers: int = 1
    """Number of processes; one process already uses all cores."""
    skip_bad: SkipBad = False

    def run(self) -> None:
        """Run the command."""
        from theory.spectrum.shards import parse_shard
        from theory.support.files import check_writable

        shard = None if self.shard is None else parse_shard(self.shard)
        _check_npz(self.output)
        check_writable(self.output)
        from ..data.measuring import measure_spectrum

        skipped: list | None = [] if self.skip_bad else None
        resolution = chosen_resolution(
            self.resolution, self.data, self.limit, self.seed, self.skip_bad
        )
        spectrum = measure_spectrum(
            *(self.data, resolution, self.limit, self.seed, shard, self.workers),
            progress=process_index() == 0,
            skipped=skipped,
        )
        part_ways()
        if process_index():
            return
        report_skipped(skipped, spectrum.count)
        spectrum.save(self.output)
        _describe_spectrum(self.output, spectrum)


@dataclass(frozen=True)
class MergeCommand:
    """Merge spectra: shards of one dataset, or several datasets.

    Example: ssd spectrum merge part1.npz part2.npz -o spectrum.npz
    """

    spectra: Positional[SpectrumFiles]
    """Files written by `ssd spectrum`."""
    output: Output = "spectrum.npz"
    """File to write."""

    def run(self) -> None:
        """Run the command."""
        from theory.spectrum.shards import merge_spectra
        from theory.spectrum.spectrum import Spectrum
        from theory.support.files import check_writable

        _check_npz(self.output)
        check_writable(self.output)
        for path in self.spectra:
            if self.spectra.count(path) > 1:
                raise InputError(f"{path}: is given twice")
        given = {path: Spectrum.load(path) for path in self.spectra}
        for (path, one), (other, two) in combinations(given.items(), 2):  # files may be copies
            if _same_images(one, two):
                raise InputError(f"{other}: holds the same images as {path}; give one of them")
        spectrum, missing = merge_spectra(given)
        spectrum.save(self.output)
        _describe_spectrum(self.output, spectrum)
        if missing:
            print(f"warning: shards are missing: {', '.join(missing)}")


def _same_images(one: Any, other: Any) -> bool:
    """Whether two spectra were measured on the same images, up to rounding."""
    return (
        one.count == other.count
        and one.meta.get("shard") == other.meta.get("shard")
        and one.power.shape == other.power.shape
        and np.allclose(one.power, other.power, rtol=1e-9, atol=0)
        and np.allclose(one.mean, other.mean, rtol=0, atol=1e-9)
    )


def _check_npz(path: str) -> None:
    if Path(path).suffix != ".npz":
        raise InputError(f"{path}: a spectrum's file name must end in .npz")


def _describe_spectrum(path: str, spectrum: Any) -> None:
    from theory.spectrum.bands import octave_power
    from theory.spectrum.diagnostics import spectrum_warnings
    from theory.spectrum.exponents import spectral_exponents

    print(f"{path}: {spectrum.count} images of {spectrum.resolution} px")
    total = spectrum.power.sum()
    if total == spectrum.power[0, 0].sum():
        what = "each image is of one colour" if total else "the images are all the same"
        print(f"warning: {what}")
        return
    share = octave_power(spectrum.power) / total
    print("share of power per octave, lowest first: " + " ".join(f"{v:.4f}" for v in share))
    if spectrum.resolution >= 4:
        print(f"exponent, with 95 % intervals: {spectral_exponents(spectrum)}")
    for warning in spectrum_warnings(spectrum):
        print(f"warning: {warning}")
