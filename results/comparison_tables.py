"""Tables of comparisons of networks trained on different schedules.

    python results/comparison_tables.py [RESULTS.json ...]

For each results.json of `ssd compare` (by default results/faces*.json) it writes NAME.md beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ssd_models.comparison import (
    DISTANCES,
    Point,
    Results,
    cost_to_reach,
    curve,
    first_calls,
    images_seen,
    label,
    last_stages,
    mean_curve,
    milestone,
    seeds,
    spread,
)
from ssd_models.metrics.estimates import half_width
from theory.support.errors import InputError
from theory.support.tables import markdown_table

RESULTS = Path(__file__).parent


def main(*paths: str) -> None:
    """Write the tables of every file."""
    for path in map(Path, paths or sorted(map(str, RESULTS.glob("faces*.json")))):
        results = json.loads(path.read_text(encoding="utf-8"))
        try:
            page = tables(results)
        except InputError as error:
            sys.exit(f"comparison_tables: {path}: {error}")
        path.with_suffix(".md").write_text(page, encoding="utf-8")


def tables(results: Results) -> str:
    """All tables of a comparison as Markdown."""
    last, config = last_stages(results), results["config"]
    counts = (images_seen(results, stage["step"], stage["arm"]) for stage in last)
    seen = list(dict.fromkeys(f"{count:,}" for count in counts))
    all_calls = dict.fromkeys(calls for stage in last for calls in stage["judged"])
    trained = ", ".join(str(seed) for seed in sorted({stage["seed"] for stage in last}))
    parts = [
        f"{results['data']}, {results['images']:,} images at {config['resolution']} px; "
        f"{config['train'].get('network', 'small')} network "
        f"({results['arms'][last[0]['arm']]['parameters'] / 1e6:.2f} M parameters), "
        f"{_and(seen)} images seen by {'each arm' if len(seen) == 1 else 'the arms'}, "
        f"seed {trained}. Intervals: 95 %, over samples. SWD: mean over "
        "levels, times 1000; nearest: median distance to the nearest training image over that of "
        "held-out images.",
        *(_quality(results, calls) for calls in all_calls),
        _growth(results),
        _reached(results),
        _costs(results),
        _changes(results),
        _full_resolution(results),
        _levels(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _quality(results: Results, calls: str) -> str:
    """Metrics of the samples of each arm at a number of calls."""
    stages = [stage for stage in last_stages(results) if calls in stage["judged"]]
    one = stages[0]["judged"][calls]
    learned = "fd_effnet" in one["metrics"]
    head = ["Fréchet", "SWD", "nearest", "dB per octave, lowest first", "by the oracle"]
    rows = [["arm", *(["FD-EffNet"] if learned else []), *head]]

    def add(name: str, metrics: dict[str, Any], nearest: str, interval: str, known: str) -> None:
        distances = [spread(metrics["fd_effnet"], 2)] if learned else []
        distances.append(spread(metrics["frechet_scattering"], 1))
        distances.append(spread(metrics["sliced_wasserstein"], 1, "mean"))
        octaves = _signed(metrics["octave_decibels"]["value"]) + interval
        rows.append([name, *distances, nearest, octaves, known])

    for stage in stages:
        judged = stage["judged"][calls]
        metrics = judged["metrics"]
        nearest = spread(metrics["memorization"], 2, "ratio")
        largest = max(metrics["octave_decibels"]["standard_error"])
        interval = f" (± {half_width(largest):.1f})"
        # The oracle is None for the whitened sampler, which is exact on Gaussian data.
        known = _signed((judged["oracle"] or {}).get("octave_decibels", []))
        add(label(results, stage), metrics, nearest, interval, known)
    if base := one.get("baseline"):
        add("*real against real*", base, "1", "", "")
    count = one["counts"]["sampled"]
    return f"**{calls} calls**, {one['sampler']}, {count} samples.\n\n" + markdown_table(rows)


def _growth(results: Results) -> str:
    """Distances and training FLOP of each arm at each milestone."""
    steps = _milestones(results)
    if len(steps) < 2:
        return ""
    of = " of the first arm" if results["config"].get("equal") == "cost" else ""
    rows = [["arm", "distance", *(f"{images_seen(results, step):,} images{of}" for step in steps)]]
    for arm, (metric, name) in product(results["arms"], DISTANCES.items()):
        for trained, found in _curves(results, arm, metric).items():
            points = {point.milestone: point for point in found}
            cells = [
                f"{spread(point._asdict(), 1)} ({point.petaflops:.3g})"
                if (point := points.get(step))
                else ""
                for step in steps
            ]
            rows.append([results["arms"][arm]["label"] + trained, name, *cells])
    return (
        f"**Distances as training goes on**, {first_calls(results)} calls; in brackets the PFLOP "
        "of training up to there.\n\n" + markdown_table(rows)
    )


def _reached(results: Results) -> str:
    """Training cost at which arms reach the first arm's distances, over the first arm's cost."""
    first, *others = results["arms"]
    steps = _milestones(results)
    if len(steps) < 2 or not others:
        return ""
    rows = [["arm", "distance", *(f"of {images_seen(results, n):,} images" for n in steps)]]
    for arm, (metric, name) in product(others, DISTANCES.items()):
        targets = _curves(results, first, metric)
        for trained, own in _curves(results, arm, metric).items():
            if len(own) > 1 and trained in targets:
                ratios = {point.milestone: _cost_over(own, point) for point in targets[trained]}
                cells = [ratios.get(step, "") for step in steps]
                rows.append([results["arms"][arm]["label"] + trained, name, *cells])
    return (
        f"**Training FLOP at which an arm reaches what {results['arms'][first]['label']} has "
        f"reached**, over the FLOP of the latter, {first_calls(results)} calls; "
        "interpolated between milestones. In brackets: at the ends of the 95 % interval of the "
        "difference of the distances.\n\n" + markdown_table(rows)
    )


def _curves(results: Results, arm: str, metric: str) -> dict[str, list[Point]]:
    """Curves of an arm that are not empty, each seed's and their mean, by what to add to its label.

    That is nothing if the results have one seed.
    """
    every = seeds(results)
    names = [f", seed {seed}" for seed in every] if len(every) > 1 else [""]
    curves = [curve(results, arm, seed, metric) for seed in every]
    found = {name: points for name, points in zip(names, curves, strict=True) if points}
    if len(found) > 1:
        found[f", mean of {len(found)} seeds"] = mean_curve(list(found.values()))
    return found


def _cost_over(own: Sequence[Point], target: Point) -> str:
    """Cost at which a curve reaches a point of another, over the cost there, with its interval."""
    costs, values = [p.petaflops for p in own], [p.value for p in own]
    error = np.mean([p.standard_error for p in own])
    half = half_width(float(np.hypot(target.standard_error, error)))

    def ratio(distance: float) -> str:
        cost, relation = cost_to_reach(costs, values, distance)
        return f"{relation}{cost / target.petaflops:.2f}"

    low = ratio(target.value + half)
    positive = target.value > half
    high = ratio(target.value - half) if positive else f">{costs[-1] / target.petaflops:.2f}"
    return f"{ratio(target.value)} ({low} to {high})"


def _milestones(results: Results) -> list[int]:
    return sorted({milestone(stage) for stage in results["stages"]})


def _costs(results: Results) -> str:
    """FLOP, and seconds if measured, of training and sampling of each arm."""
    calls = list(results["config"]["calls"])
    seconds = results.get("seconds", {})
    rows = [["arm", "training, GFLOP an image", *(f"{n} calls, GFLOP an image" for n in calls)]]
    if seconds:
        rows[0] += ["training, s per 1000 images", *(f"{n} calls, s an image" for n in calls)]
    full = next(iter(results["arms"].values()))
    for arm, entry in results["arms"].items():
        pairs = [(entry["training_flops_per_image"], full["training_flops_per_image"])]
        pairs += [
            (entry["sampling_flops_per_image"][n], full["sampling_flops_per_image"][n])
            for n in calls
        ]
        row = [entry["label"], *(f"{a / 1e9:.4g} ({a / b:.2f})" for a, b in pairs)]
        if seconds and arm not in seconds["arms"]:  # an arm added after the timing
            row += [""] * (1 + len(calls))
        elif seconds:
            own, first = seconds["arms"][arm], seconds["arms"][next(iter(results["arms"]))]
            pairs = [(1000 * own["training"], 1000 * first["training"])]
            pairs += [(own["sampling"][n], first["sampling"][n]) for n in calls]
            row += [f"{a:.3g} ({a / b:.2f})" for a, b in pairs]
        rows.append(row)
    text = "**Cost**, in brackets over the first arm's."
    if seconds:
        text += f" Seconds: {seconds['setting']}."
    return text + "\n\n" + markdown_table(rows)


def _changes(results: Results) -> str:
    """Errors at changes of resolution, and the bits that changes lose if measured."""
    full = [s for s in last_stages(results) if "information" in s and not s["changes"]]
    lost = full[0]["information"]["losses"] if full else {}
    rows = [["arm", "change", "error over linear", "in the new octave"]]
    if lost:
        rows[0] += ["bits lost, Gaussian", "bits lost, found"]
    for stage in last_stages(results):
        for i, change in enumerate(stage.get("changes", [])):
            rows.append(
                [
                    label(results, stage),
                    f"{change['from']}→{change['to']} at {change['step']}",
                    *(
                        f"{change[band]['over_linear']:.2f} ± "
                        f"{1.96 * change[band]['standard_error']:.2f}"
                        for band in ("all", "new_octave")
                    ),
                ]
            )
            if lost:
                loss = lost[stage["arm"]][i] if stage["arm"] in lost else None
                rows[-1] += [f"{loss[kind]:.1f}" if loss else "" for kind in ("gaussian", "found")]
    if len(rows) == 1:
        return ""
    bits = (
        "; bits per image that the change discards, for Gaussian data and as the network of full "
        "resolution finds them"
    )
    return (
        "**At changes of resolution**: squared error of the network on held-out images over the "
        f"best linear denoiser's{bits if lost else ''}.\n\n" + markdown_table(rows)
    )


def _full_resolution(results: Results) -> str:
    """Errors of full-resolution states by signal-to-noise ratio."""
    stages = [stage for stage in last_stages(results) if stage.get("full_resolution")]
    if not stages:
        return ""
    ratios = sorted({row["snr"] for s in stages for row in s["full_resolution"]}, reverse=True)
    rows = [["arm", *(f"snr {snr:g}" for snr in ratios)]]
    for stage in stages:
        found = {row["snr"]: row["error"] / row["linear"] for row in stage["full_resolution"]}
        cells = [f"{found[snr]:.3f}" if snr in found else "" for snr in ratios]
        rows.append([label(results, stage), *cells])
    return (
        "**At full resolution**: squared error of the network on held-out images over the best "
        "linear denoiser's, by the signal-to-noise ratio of the state.\n\n" + markdown_table(rows)
    )


def _levels(results: Results) -> str:
    """Training errors by level, in files that have them."""
    stages = [stage for stage in last_stages(results) if "levels" in stage]
    if not stages:
        return ""
    sides = list(stages[0]["levels"] | max((s["levels"] for s in stages), key=len))
    rows = [["arm", *(f"{side} px" for side in sides)]]
    for stage in stages:
        found = {
            side: f"{level['over_linear']:.2f} (of {level['steps']:,} steps)"
            for side, level in stage["levels"].items()
        }
        rows.append([label(results, stage), *(found.get(side, "") for side in sides)])
    return (
        "**By level**: squared error on training batches, mean of the last 400 steps, over the "
        "best linear denoiser's on the same data and steps of the chain; in brackets how many "
        "optimizer steps had that level.\n\n" + markdown_table(rows)
    )


def _signed(values: Iterable[float]) -> str:
    return " ".join(f"{value:+.1f}" for value in values)


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
