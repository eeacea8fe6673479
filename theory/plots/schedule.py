"""Report figure of a schedule."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..information.bounds import gaussian_information, schedule_information, state_information
from ..information.divergence import change_divergence, described_divergence
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.bands import band_power, octave_edges
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from ..support.files import atomic_path

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"  # Okabe & Ito, safe for colour blindness


def save_report(
    path: str | os.PathLike[str], schedule: ResolutionSchedule, spectrum: Spectrum
) -> None:
    """Draw the spectrum, snr over step and frequency with the resolutions, and information.

    Parameters
    ----------
    path : path
        File to write: .png, .pdf or .svg.
    schedule : ResolutionSchedule
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.

    Raises
    ------
    InputError
        If ``path`` has another suffix or cannot be written, or the resolutions differ.
    """
    from matplotlib.figure import Figure

    schedule.check_spectrum(spectrum)
    check_picture_name(path)
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_spectrum(left, spectrum)
    draw_snr(figure, middle, schedule, spectrum)
    draw_information(right, schedule, spectrum)
    changes = ", ".join(f"{t}: {a}→{b}" for t, (a, b) in schedule.changes.items()) or "no change"
    cost = schedule.predicted.get("chain_cost_ratio")
    title = f"{schedule.derivation.get('criterion', 'schedule')}, {schedule.noise_mode} noise"
    title += f"  |  {changes}" + (f"  |  chain cost {cost:.3f} of full resolution" if cost else "")
    if schedule.changes and not schedule.mixes_frequencies:
        found = change_divergence(schedule, spectrum)
        sums = sum(c.gaussian for c in found), sum(c.bound for c in found)
        title += f"\n{described_divergence(*sums)}"
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def check_picture_name(path: str | os.PathLike[str], page: bool = False) -> None:
    """Raise `InputError` unless a file name ends in .png, .pdf, .svg or, for a page, .html."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".pdf", ".svg") and not (page and suffix == ".html"):
        more = ", that of a page in .html" if page else ""
        raise InputError(
            f"{os.fspath(path)}: a picture's name must end in .png, .pdf or .svg{more}"
        )


def draw_spectrum(axes: Any, spectrum: Spectrum) -> None:
    """Draw the mean power at each frequency, every other octave shaded."""
    edges = octave_edges(spectrum.resolution)
    for low, high in list(pairwise(edges))[1::2]:
        axes.axvspan(low, high, color=_GREY, alpha=0.12, lw=0)
    index = np.arange(1, spectrum.resolution)
    axes.loglog(index, band_power(spectrum.power)[1:], color=_BLUE)
    axes.set(
        title="spectrum of the data",
        xlabel="frequency max(k1, k2), DCT index",
        ylabel="power per coefficient",
    )


def draw_snr(figure: Any, axes: Any, schedule: ResolutionSchedule, spectrum: Spectrum) -> None:
    """Draw signal over noise by frequency and step, the staircase, and the water level if any."""
    steps, size = schedule.num_steps, spectrum.resolution
    power = np.maximum(band_power(spectrum.power), 1e-12)
    decibel = 10 * np.log10(schedule.base_snr[None, :] * power[:, None])  # (R, T)
    image = axes.pcolormesh(
        np.arange(steps + 1),
        np.arange(size + 1),
        decibel,
        cmap="RdBu_r",
        vmin=-40,
        vmax=40,
        rasterized=True,
    )
    edges = np.arange(steps + 1)
    axes.stairs(schedule.resolutions, edges, color="#000000", lw=1.8, label="resolution")
    if (level := water_level(schedule)) is not None:
        axes.plot(edges[:-1] + 0.5, level, color="#000000", lw=0.8, ls="--", label="water level")
        look = {"frameon": True, "facecolor": "#ffffff", "labelcolor": "#000000"}
        axes.legend(fontsize=8, loc="upper right", **look)
    axes.set(
        title="signal over noise, and the state's resolution",
        xlabel="step t",
        ylabel="frequency, DCT index",
        ylim=(0, size + 0.5),
    )
    figure.colorbar(image, ax=axes, label="snr, dB")


def water_level(schedule: ResolutionSchedule) -> np.ndarray | None:
    """Lowest DCT index along an axis that the state at each step has faded to zero.

    Returns
    -------
    (T,) int, at most R; None of a schedule without attenuation.
    """
    if schedule.attenuation is None:
        return None
    envelope = schedule.attenuation.envelope(np.arange(float(schedule.resolution)) ** 2)
    lost = schedule.attenuation.gain(schedule.base_snr[:, None], envelope) == 0
    return np.where(lost.any(axis=1), lost.argmax(axis=1), schedule.resolution)


def draw_information(axes: Any, schedule: ResolutionSchedule, spectrum: Spectrum) -> None:
    """Draw the most bits that states hold: full resolution, the paper's noise, this schedule."""
    base = schedule.base_snr
    per_pixel = 1 / spectrum.resolution**2
    t = np.arange(schedule.num_steps)
    curves = {
        "full resolution": (np.asarray(gaussian_information(spectrum, base)), _GREY, "-"),
        "same changes, noise kept (paper)": (
            state_information(spectrum, base, schedule.resolutions),
            _ORANGE,
            "--",
        ),
        f"this schedule ({schedule.noise_mode})": (
            schedule_information(schedule, spectrum),
            _BLUE,
            "-",
        ),
    }
    if schedule.noise_mode == "paper":
        del curves["same changes, noise kept (paper)"]
    for label, (bits, colour, style) in curves.items():
        axes.semilogy(t, np.maximum(bits, 1e-12) * per_pixel, color=colour, ls=style, label=label)
    axes.set(
        title="information of the state, upper bound",
        xlabel="step t",
        ylabel="bits per pixel of the full image",
        ylim=(1e-7, None),  # the bits of attenuated states fall to zero
    )
    axes.legend(fontsize=8)
