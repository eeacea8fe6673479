"""The picture that goes with a derived schedule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..information.bounds import gaussian_information, schedule_information, state_information
from ..information.divergence import change_divergence, described_divergence
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.bands import band_power
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from ..support.files import atomic_path

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"  # Okabe & Ito, safe for colour blindness


def save_report(
    path: str | os.PathLike[str], schedule: ResolutionSchedule, spectrum: Spectrum
) -> None:
    """Draw spectrum, snr over step and frequency with the staircase, and information over steps.

    Raises
    ------
    InputError
        If ``path`` is no picture's name or cannot be written, or the resolutions differ.
    """
    from matplotlib.figure import Figure

    if schedule.resolution != spectrum.resolution:
        raise InputError(
            f"report: the schedule has resolution {schedule.resolution}, the spectrum "
            f"{spectrum.resolution}"
        )
    check_picture_name(path)
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_spectrum(left, spectrum)
    _draw_snr(figure, middle, schedule, spectrum)
    _draw_information(right, schedule, spectrum)
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


def check_picture_name(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a file that is neither .png, .pdf nor .svg."""
    if Path(path).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"{os.fspath(path)}: a picture's name must end in .png, .pdf or .svg")


def _draw_spectrum(axes: Any, spectrum: Spectrum) -> None:
    index = np.arange(1, spectrum.resolution)
    axes.loglog(index, band_power(spectrum.power)[1:], color=_BLUE)
    axes.set(
        title="spectrum of the data",
        xlabel="frequency max(k1, k2), DCT index",
        ylabel="power per coefficient",
    )


def _draw_snr(figure: Any, axes: Any, schedule: ResolutionSchedule, spectrum: Spectrum) -> None:
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
    axes.stairs(schedule.resolutions, np.arange(steps + 1), color="black", lw=1.8)
    axes.set(
        title="signal over noise, and the state's resolution",
        xlabel="step t",
        ylabel="frequency, DCT index",
        ylim=(0, size + 0.5),
    )
    figure.colorbar(image, ax=axes, label="snr, dB")


def _draw_information(axes: Any, schedule: ResolutionSchedule, spectrum: Spectrum) -> None:
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
        ylim=(1e-7, None),  # attenuated states end at no bits at all
    )
    axes.legend(fontsize=8)
