"""Report figure of measured information: in total, by octave, and lost at changes of resolution."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..information.bounds import gaussian_information
from ..information.measured import ChangeLoss, MeasuredInformation
from ..spectrum.bands import octave_edges
from ..support.files import atomic_path
from .html import COLOURS
from .schedule import check_picture_name


def save_information_report(
    path: str | os.PathLike[str],
    curves: Mapping[str, MeasuredInformation],
    losses: Mapping[str, list[ChangeLoss]],
) -> None:
    """Draw measured information over snr, and what changes of resolution lose.

    Parameters
    ----------
    path : path
        File to write: .png, .pdf or .svg.
    curves : mapping of str to MeasuredInformation
        By name, all of the same spectrum; the first is shown by octave.
    losses : mapping of str to list of ChangeLoss
        By name of a curve, all at the same changes.

    Raises
    ------
    InputError
        If ``path`` has another suffix or cannot be written.
    """
    from matplotlib.figure import Figure

    check_picture_name(path)
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_curves(left, curves)
    name, first = next(iter(curves.items()))
    _draw_octaves(middle, name, first)
    _draw_losses(right, losses)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_curves(axes: Any, curves: Mapping[str, MeasuredInformation]) -> None:
    first = next(iter(curves.values()))
    pixels = first.spectrum.resolution**2
    snr = np.geomspace(first.snr[0], first.snr[-1], 200)
    bound = np.asarray(gaussian_information(first.spectrum, snr)) / pixels
    axes.loglog(snr, bound, color="#666666", label="Gaussian bound, full resolution")
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        bits = curve.bits.sum(axis=1) / pixels
        spread = 1.96 * curve.standard_error / pixels
        axes.loglog(curve.snr, bits, color=colour, label=name)
        axes.fill_between(curve.snr, bits - spread, bits + spread, color=colour, alpha=0.25, lw=0)
    axes.set(
        title="information found in the state",
        xlabel="snr of the full resolution",
        ylabel="bits per pixel of the full image",
    )
    axes.legend(fontsize=8)


def _draw_octaves(axes: Any, name: str, curve: MeasuredInformation) -> None:
    edges = octave_edges(curve.spectrum.resolution)
    found, bound = curve.octaves()
    for i, colour in zip(range(found.shape[1]), COLOURS, strict=False):
        there = bound[:, i] > 1e-3  # below, both are negligible
        share = found[there, i] / bound[there, i]
        label = f"{edges[i]} to {edges[i + 1] - 1}"
        axes.semilogx(curve.snr[there], share, color=colour, label=label)
    axes.axhline(1, color="#666666", lw=0.8)
    axes.set(
        title=f"found over Gaussian, by octave: {name}",
        xlabel="snr of the full resolution",
        ylabel="share of the Gaussian's bits",
        ylim=(0.5, 1.5),
    )
    axes.legend(fontsize=8, title="frequency, DCT index", title_fontsize=8)


def _draw_losses(axes: Any, losses: Mapping[str, list[ChangeLoss]]) -> None:
    rows = next(iter(losses.values()))
    if not rows:
        axes.text(0.5, 0.5, "no change of resolution", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    bars = {"Gaussian": [loss.gaussian for loss in rows]}
    bars |= {f"found: {name}": [loss.found for loss in found] for name, found in losses.items()}
    width = 0.8 / len(bars)
    for i, ((name, bits), colour) in enumerate(
        zip(bars.items(), ("#666666", *COLOURS), strict=False)
    ):
        places = np.arange(len(rows)) + (i - (len(bars) - 1) / 2) * width
        axes.bar(places, bits, width * 0.95, color=colour, label=name)
    names = [f"{loss.before}→{loss.after}\nt = {loss.step}" for loss in rows]
    axes.set_xticks(range(len(rows)), names)
    axes.set(title="lost at a change of resolution", ylabel="bits per image")
    axes.legend(fontsize=8)
