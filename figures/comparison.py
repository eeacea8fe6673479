"""Figures of comparisons of networks trained on different schedules.

    python figures/comparison.py [RESULTS.json ...]

For each results.json of `ssd compare` (by default results/faces*.json) it writes
comparison_NAME.png, .pdf and .csv to the folder of this script. If NAME_samples.png (the
comparison's samples.png) lies beside the results, it draws comparison_NAME_samples too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from style import (
    COLOURS,
    DERIVED,
    FOLDER,
    FULL,
    MATCHED,
    PAPER,
    new_figure,
    save,
    save_table,
)

from ssd_models.comparison import (
    DISTANCES,
    Point,
    Results,
    curve,
    first_calls,
    last_stages,
    seeds,
)
from ssd_models.metrics.estimates import half_width

RESULTS = FOLDER.parent / "results"


def main(*paths: str) -> None:
    """Draw the figures of every file."""
    for path in map(Path, paths or sorted(map(str, RESULTS.glob("faces*.json")))):
        results = json.loads(path.read_text(encoding="utf-8"))
        draw(results, f"comparison_{path.stem}")
        if (strips := path.with_name(f"{path.stem}_samples.png")).is_file():
            draw_samples(results, strips, f"comparison_{path.stem}_samples")


def draw(results: Results, name: str) -> None:
    """Draw distances over training cost, power per octave, and measured information."""
    last, calls = last_stages(results), first_calls(results)
    shown = [m for m in ("fd_effnet", "frechet_scattering") if _curves(results, m)]
    told = any("information" in stage for stage in last)
    figure = new_figure(7.0, 2.9)
    panels = list(figure.subplots(1, len(shown) + 1 + told))
    colours = _colours(results)
    rows: list[list[Any]] = []
    for axes, metric in zip(panels, shown, strict=False):
        rows += _draw_curves(axes, results, metric, colours, labelled=metric == shown[0])
    figure.legend(loc="outside lower center", ncols=3)
    octaves = panels[len(shown)]
    for stage in last:
        if calls in stage["judged"]:
            rows += _draw_octaves(octaves, stage, calls, colours[stage["arm"]])
    octaves.axhline(0, color="#666666", lw=0.6)
    octaves.set(xlabel="octave of frequency, lowest first", ylabel="samples over data, dB")
    if any(stage["judged"].get(calls, {}).get("oracle") for stage in last):
        octaves.set_title("network (solid), oracle (dotted)")
    if told:
        _draw_information(panels[-1], results, colours, rows)
    save(figure, name)
    save_table(name, ["what", "arm", "seed", "at", "pflop", "value", "standard_error"], rows)


def _draw_curves(
    axes: Any, results: Results, metric: str, colours: dict[str, str], labelled: bool
) -> list[list[Any]]:
    """Draw a distance over the cost of training (by arm if that is equal); return the rows."""
    curves, rows = _curves(results, metric), []
    paid = [point.petaflops for points in curves.values() for point in points]
    by_arm = max(paid) < 1.01 * min(paid)
    named: set[str] = set()
    for place, ((arm, seed), points) in enumerate(curves.items(), 1):
        _, cost, values, errors = zip(*points, strict=True)
        text = results["arms"][arm]["label"] if labelled and arm not in named else None
        named.add(arm)
        _errorbars(axes, [place] if by_arm else cost, values, errors, colours[arm], text)
        rows += [
            [metric, arm, seed, p.milestone, f"{p.petaflops:.6g}", f"{p.value:.6g}",
             f"{p.standard_error:.6g}"]
            for p in points
        ]  # fmt: skip
    axes.set(ylabel=DISTANCES[metric])
    if by_arm:
        axes.set(xticks=[], xlabel="arms, equal training")
    else:
        axes.set(xlim=(0, 1.05 * max(paid)), xlabel="training, PFLOP")
    return rows


def _curves(results: Results, metric: str) -> dict[tuple[str, int], list[Point]]:
    """Curves that are not empty, by arm and seed."""
    pairs = product(results["arms"], seeds(results))
    found = {(arm, seed): curve(results, arm, seed, metric) for arm, seed in pairs}
    return {pair: points for pair, points in found.items() if points}


def _draw_octaves(axes: Any, stage: dict[str, Any], calls: str, colour: str) -> list[list[Any]]:
    """Draw the power of an arm's samples per octave; return the rows of the table."""
    judged = stage["judged"][calls]
    octaves = judged["metrics"]["octave_decibels"]
    at = range(1, len(octaves["value"]) + 1)
    _errorbars(axes, at, octaves["value"], octaves["standard_error"], colour)
    if judged["oracle"]:
        axes.plot(at, judged["oracle"]["octave_decibels"], ":", color=colour, lw=1)
    return [
        ["decibel", stage["arm"], stage["seed"], i, "", f"{v:.6g}", f"{e:.6g}"]
        for i, v, e in zip(at, octaves["value"], octaves["standard_error"], strict=True)
    ]


def _errorbars(
    axes: Any,
    x: Sequence[float],
    values: Sequence[float],
    errors: Iterable[float],
    colour: str,
    name: str | None = None,
) -> None:
    """Draw values with 95 % intervals from their standard errors."""
    half = [half_width(error) for error in errors]
    axes.errorbar(x, values, half, color=colour, marker="o", ms=2.5, lw=1, label=name)


def _draw_information(
    axes: Any, results: Results, colours: dict[str, str], rows: list[list[Any]]
) -> None:
    for stage in last_stages(results):
        if "information" not in stage:
            continue
        found = stage["information"]
        share = [sum(a) / sum(b) for a, b in zip(found["bits"], found["bound"], strict=True)]
        axes.semilogx(found["snr"], share, color=colours[stage["arm"]], lw=1)
        rows += [
            ["information", stage["arm"], stage["seed"], f"{snr:.6g}", "", f"{s:.6g}", ""]
            for snr, s in zip(found["snr"], share, strict=True)
        ]
    axes.axhline(1, color="#666666", lw=0.6)
    axes.set(xlabel="snr of the full resolution", ylabel="bits found over Gaussian bound")
    axes.set_ylim(0.5, 1.5)


def draw_samples(results: Results, strips: Path, name: str) -> None:
    """Draw the picture ``strips``, which has one row of samples per arm, with the arms' labels."""
    pixels, arms = np.asarray(Image.open(strips)), list(results["arms"].values())
    height, width = pixels.shape[:2]
    figure = new_figure(7.0, 5.8 * height / width + 0.1)  # labels take the rest of the width
    axes = figure.subplots()
    axes.imshow(pixels, interpolation="nearest")
    axes.set_anchor("E")
    labels = [entry["label"].replace(", ", ",\n") for entry in arms]
    size = 6.5 if max(name.count("\n") for name in labels) > 1 else 8  # three lines fit a row
    axes.set_yticks((np.arange(len(arms)) + 0.5) * height / len(arms), labels, fontsize=size)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    save(figure, name)


def _colours(results: Results) -> dict[str, str]:
    """Colour of each arm: that of its kind of schedule, spare ones for further arms of a kind."""
    kinds = {"full": FULL, "paper": PAPER, "matched": MATCHED, "derived": DERIVED}
    rest = [COLOURS[3], COLOURS[5], COLOURS[2], "k", "#882255", "#999933", "#44AA99", "#AA4499"]
    spare, found = cycle(rest), {}
    for arm, spec in results["config"]["arms"].items():
        kind = spec["schedule"]
        if kind == "paper" and spec["noise"] == "matched":
            kind = "matched"
        found[arm] = kinds.pop(kind, None) or next(spare)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
