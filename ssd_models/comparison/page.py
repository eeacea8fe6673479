"""HTML page of a comparison: samples, metrics and cost of each arm.

It needs only ``results.json``, so that it can be rebuilt from a stored one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from theory.plots import html

from ..metrics.estimates import half_width
from ..metrics.evaluation_page import floats, octaves_chart
from .stored import DISTANCES, Results, curve, first_calls, label, milestone, seeds, spread


def comparison_page(results: Results, pictures: Mapping[str, np.ndarray]) -> str:
    """Self-contained HTML page of a comparison.

    Parameters
    ----------
    results : dict
        Content of ``results.json``.
    pictures : mapping
        Image grids, (H, W, 3) uint8, by caption; may be empty.
    """
    config = results["config"]
    sections = {"arms": ("Arms", _arms(results))}
    if pictures:
        sections["images"] = ("Samples beside real images", _images(pictures))
    stages = _last(results)
    for calls in dict.fromkeys(calls for stage in stages for calls in stage["judged"]):
        there = [stage for stage in stages if calls in stage["judged"]]
        judged = {label(results, stage): stage["judged"][calls] for stage in there}
        chart = octaves_chart(judged, config["resolution"])
        sections[f"calls-{calls}"] = (
            f"{calls} network calls",
            _quality(results, there, calls) + chart,
        )
    if len(set(map(milestone, results["stages"]))) > 1:
        charts = (_growth(results, name) for name in ("fd_effnet", "frechet_scattering"))
        sections["growth"] = ("Progress during training", "".join(charts))
    sections["cost"] = ("Cost", _cost(results))
    return html.page(
        f"Schedules compared on {results['data']}",
        f"One network trained on {len(results['arms'])} schedules {_shared(config)}, "
        f"{results['images']:,} images at {config['resolution']} px.",
        sections,
        "Made by scale-space-diffusion from results.json of the comparison's folder.",
    )


def _shared(config: dict[str, Any]) -> str:
    """What is equal for all arms, for the page's introduction."""
    if config.get("equal") == "cost":
        return "until all had cost the same FLOP"
    return "with the same images, steps and noise"


def _last(results: Results) -> list[dict[str, Any]]:
    """Evaluated stages of the last milestone that any arm has reached."""
    last = max(map(milestone, results["stages"]), default=0)
    return [stage for stage in results["stages"] if milestone(stage) == last]


def _arms(results: Results) -> str:
    rows = []
    for entry in results["arms"].values():
        changes = "; ".join(f"{a} → {b} at {t}" for t, (a, b) in entry["changes"].items())
        predicted = entry["predicted"]
        cost, error = predicted.get("chain_cost_ratio"), predicted.get("oracle_error")
        rows.append(
            [
                entry["label"],
                changes or "none",
                "–" if cost is None else f"{cost:.3f}",
                "–" if error is None else f"{error:.3g}",
            ]
        )
    return html.table(
        ["arm", "changes, px at step", "cost of a mean call", "relative W2², oracle"], rows
    ) + html.paragraph(
        "Predicted before training: the cost of all steps relative to full resolution, and the "
        "error of an ideal denoiser on Gaussian data.",
        "note",
    )


def _images(pictures: Mapping[str, np.ndarray]) -> str:
    return "".join(
        html.gallery(f"grid-{i}", name, "", [html.data_uri(grid)], 1)
        for i, (name, grid) in enumerate(pictures.items())
    )


def _quality(results: Results, stages: list[dict[str, Any]], calls: str) -> str:
    one = stages[0]["judged"][calls]
    rows = []
    for stage in stages:
        metrics = stage["judged"][calls]["metrics"]
        rows.append([label(results, stage), *_cells(metrics)])
    if base := one.get("baseline"):
        rows.append(["real against real", *_cells(base)])
    return html.paragraph(
        f"{one['counts']['sampled']:,} samples of each arm, {one['sampler']}; 95 % intervals. The "
        "last row is the floor: two disjoint sets of real images."
    ) + html.table(["arm", *_measured(one["metrics"]).values(), "nearest training image"], rows)


def _measured(metrics: dict[str, Any]) -> dict[str, str]:
    """Names of the distances that were evaluated."""
    return {metric: name for metric, name in DISTANCES.items() if metric in metrics}


def _cells(metrics: dict[str, Any]) -> list[str]:
    nearest = metrics.get("memorization")
    found = [metrics[metric] for metric in _measured(metrics)]
    return [
        *(spread(each, 1, "mean" if isinstance(each["value"], dict) else None) for each in found),
        "–" if nearest is None else spread(nearest, 2, "ratio"),
    ]


def _growth(results: Results, metric: str) -> str:
    """Chart of a distance over the cost of training; empty if it was not evaluated."""
    pairs = product(results["arms"], seeds(results))
    curves = {(arm, seed): curve(results, arm, seed, metric) for arm, seed in pairs}
    if not any(curves.values()):
        return ""

    def draw(figure: Any, axes: Any) -> None:
        named: set[str] = set()
        for i, (arm, entry) in enumerate(results["arms"].items()):
            for seed in seeds(results):
                if not (points := curves[arm, seed]):
                    continue
                axes.errorbar(
                    [point.petaflops for point in points],
                    floats([point.value for point in points]),
                    half_width(floats([point.standard_error for point in points])),
                    fmt="o-",
                    ms=3.5,
                    lw=1,
                    color=f"C{i}",
                    label=None if arm in named else entry["label"],
                )
                named.add(arm)
        axes.set(xlabel="training so far, PFLOP", ylabel=DISTANCES[metric])
        html.legend_above(axes)

    calls = first_calls(results)
    return html.chart(
        draw, f"{DISTANCES[metric]} over the cost of training, {calls} calls, 95 % intervals."
    )


def _cost(results: Results) -> str:
    calls = list(results["config"]["calls"])
    full = next(iter(results["arms"].values()))
    rows = []
    for entry in results["arms"].values():
        pairs = [(entry["training_flops_per_image"], full["training_flops_per_image"])]
        pairs += [
            (entry["sampling_flops_per_image"][str(n)], full["sampling_flops_per_image"][str(n)])
            for n in calls
        ]
        rows.append([entry["label"], *(f"{a / 1e9:.4g} ({a / b:.2f})" for a, b in pairs)])
    return html.paragraph("GFLOP per image, in brackets relative to the first arm.") + html.table(
        ["arm", "training", *(f"{n} calls" for n in calls)], rows
    )
