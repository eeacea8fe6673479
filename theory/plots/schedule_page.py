"""The page that goes with a derived schedule: what it rests on, what it costs, and its states."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..information.bounds import schedule_information
from ..information.divergence import change_divergence
from ..schedule.costs import chain_costs
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.bands import octave_edges, octave_power
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from . import html
from .schedule import draw_information, draw_snr, draw_spectrum
from .states_section import SCRIPT, STYLE, states_section

_WORDS = {"dct": "dct (ideal downsampling)"}


def is_page(path: str | os.PathLike[str]) -> bool:
    """Whether a report of this name is a page."""
    return Path(path).suffix.lower() == ".html"


def save_schedule_page(
    path: str | os.PathLike[str],
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    images: np.ndarray | None = None,
    source: str = "",
) -> None:
    """Write a page about a schedule; it needs no network and, to 256 px, less than 3 MB.

    Parameters
    ----------
    path
        An .html file.
    schedule : ResolutionSchedule
        With its predictions (`theory.oracle.with_predictions`); those it lacks are left out.
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.
    images : (N, R, R, C) float array in [-1, 1], optional
        To show as noisy states, the first of them, as many as fit. By default draws of the
        Gaussian field of the spectrum, which the page says.
    source : str
        Where the images come from.

    Raises
    ------
    InputError
        If resolutions or channels differ, or the file cannot be written.
    """
    if schedule.resolution != spectrum.resolution:
        raise InputError(
            f"report: the schedule has resolution {schedule.resolution}, the spectrum "
            f"{spectrum.resolution}"
        )
    size = spectrum.power.shape
    if images is not None and (images.ndim != 4 or images.shape[1:] != size or not len(images)):
        raise InputError(
            f"report: images have shape {images.shape}, the spectrum needs "
            f"(N, {', '.join(map(str, size))}), at least one"
        )
    html.save_page(path, schedule_page(schedule, spectrum, images, source))


def schedule_page(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    images: np.ndarray | None = None,
    source: str = "",
) -> str:
    """Text of the page that `save_schedule_page` writes."""
    R, data = schedule.resolution, str(spectrum.meta.get("source", "unknown data"))
    bits = schedule_information(schedule, spectrum)
    counted = f"the spectrum of {spectrum.count:,} images" if spectrum.count else "a spectrum"
    sections = {
        "summary": ("In short", _summary(schedule)),
        "states": ("States of the chain", states_section(schedule, spectrum, bits, images, source)),
        "snr": ("Signal over noise", _snr(schedule, spectrum)),
        "resolutions": ("Resolutions and their cost", _resolutions(schedule)),
        "changes": ("What changes cost", _changes(schedule, spectrum)),
        "information": ("Information over steps", _information(schedule, spectrum)),
        "spectrum": ("Spectrum of the data", _spectrum(spectrum)),
        "derivation": ("Derivation", _derivation(schedule)),
    }
    return html.page(
        f"Resolution schedule for {data}, {R} px",
        f"At which resolution each of {len(schedule):,} diffusion steps may run, derived from "
        f"{counted} of {R} × {R} pixels and {spectrum.channels} channels.",
        sections,
        f"Spectrum {spectrum.sha256}. Schedule {schedule.digest}. Made by scale-space-diffusion.",
        STYLE,
        SCRIPT,
    )


def _summary(schedule: ResolutionSchedule) -> str:
    found, values = schedule.predicted, {}
    if (cost := found.get("chain_cost_ratio")) is not None:
        values["cost of a mean call over one at full resolution"] = f"{cost:.3f}"
    if (error := found.get("oracle_error")) is not None:
        values["relative W2² of all steps, perfect denoiser, Gaussian data"] = f"{error:.3g}"
    if (full := found.get("oracle_error_full_resolution")) is not None:
        values["the same at full resolution"] = f"{full:.3g}"
    match found.get("change_divergence_nats"):
        case [int() | float() as gaussian, int() | float() as most]:
            values["nats an image that changes cost Gaussian data"] = f"{gaussian:.3g}"
            values["nats that they may cost any data, at most"] = f"{most:.3g}"
    steps = "; ".join(f"{a} → {b} px at step {t}" for t, (a, b) in schedule.changes.items())
    return html.tiles(values) + html.paragraph(
        f"Changes of resolution: {steps or 'none'}. {_loss(schedule)}"
    )


def _loss(schedule: ResolutionSchedule) -> str:
    if not schedule.changes:
        return "The whole chain runs at full resolution."
    if schedule.is_lossless:
        return (
            "They lose nothing, whatever the data: each frequency has faded to exactly zero before "
            "a change leaves it out."
        )
    return "Each leaves out signal that lies below the noise."


def _snr(schedule: ResolutionSchedule, spectrum: Spectrum) -> str:
    level = (
        " Dashed: the water level, above which every frequency has faded to zero."
        if schedule.attenuation is not None
        else ""
    )
    return html.chart(
        lambda figure, axes: draw_snr(figure, axes, schedule, spectrum),
        "Signal over noise of each frequency at each step, in decibel; white is equal power. "
        f"Black: the resolution of the state.{level}",
    )


def _resolutions(schedule: ResolutionSchedule) -> str:
    model, costs = chain_costs(schedule.levels)
    rows = []
    for start, end in pairwise([0, *schedule.changes, len(schedule)]):
        side = int(schedule.resolutions[start])
        rows.append(
            [
                f"{side} px",
                f"{start} … {end - 1}",
                f"{100 * (end - start) / len(schedule):.1f} %",
                f"{costs[side, side]:.3f}",
                _range(schedule.base_snr[start:end]),
                _range(schedule.snr[start:end]),
            ]
        )
    head = ["resolution", "steps", "share of steps", "cost of a call"]
    note = (
        f"Cost in calls at full resolution, counted as {model}. The signal-to-noise ratio is that "
        "of the full resolution, and that of a pixel of the state."
    )
    return html.table([*head, "snr, full resolution", "snr, state"], rows) + html.paragraph(
        note, "note"
    )


def _changes(schedule: ResolutionSchedule, spectrum: Spectrum) -> str:
    if not schedule.changes:
        return html.paragraph("There is no change of resolution.")
    if schedule.mixes_frequencies:
        return html.paragraph(
            f"The operator {schedule.operator} mixes frequencies: the divergence at a change is "
            "known for dct only."
        )
    found = change_divergence(schedule, spectrum)
    rows = [
        [f"{c.after} → {c.before} px", str(c.step), f"{c.gaussian:.3g}", f"{c.bound:.3g}"]
        for c in found
    ]
    sums = sum(c.gaussian for c in found), sum(c.bound for c in found)
    rows.append(["all", "", *(f"{value:.3g}" for value in sums)])
    return html.paragraph(
        "Divergence D of the state that a sampler makes at a change from the true one, in nats "
        "an image: for Gaussian data of this spectrum, and the most that it can be for any "
        f"data. {_loss(schedule)}"
    ) + html.table(["change, as sampled", "step", "D, Gaussian data", "D, any data, at most"], rows)


def _information(schedule: ResolutionSchedule, spectrum: Spectrum) -> str:
    return html.chart(
        lambda figure, axes: draw_information(axes, schedule, spectrum),
        "The most bits that a state can hold of its image, for any data with this spectrum.",
    )


def _spectrum(spectrum: Spectrum) -> str:
    edges = octave_edges(spectrum.resolution)
    power = octave_power(spectrum.power)
    rows = [
        [f"{low} … {high - 1}", f"{100 * value / power.sum():.3g} %"]
        for (low, high), value in zip(pairwise(edges), power, strict=True)
    ]
    return html.chart(
        lambda figure, axes: draw_spectrum(axes, spectrum),
        "Mean power of a DCT coefficient at each frequency, colours summed. Shaded: every other "
        "octave; halving the resolution removes the last.",
    ) + html.table(["octave, DCT index", "share of the power"], rows)


def _derivation(schedule: ResolutionSchedule) -> str:
    rows = [
        ["noise", schedule.noise_mode],
        ["operator", _WORDS.get(schedule.operator, schedule.operator)],
        ["levels", ", ".join(map(str, schedule.levels))],
    ]
    for name, value in schedule.derivation.items():
        if isinstance(value, str | int | float) and name != "spectrum_sha256":
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            rows.append([name.replace("_", " "), shown])
    return html.table(["setting", "value"], rows)


def _range(values: np.ndarray) -> str:
    return f"{html.number(values[0])} … {html.number(values[-1])}"
