"""Tables and figures of comparisons of networks trained on different schedules.

    python figures/comparison.py [RESULTS.json ...]

For each results.json of `ssd compare` (by default results/faces*.json) it writes tables to NAME.md
in the same folder and comparison_NAME.png, .pdf and .csv to the folder of this script. If that
folder also has NAME_samples.png (the comparison's samples.png), it draws comparison_NAME_samples.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import cycle
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

from ssd_models.comparison import Results, cost_to_reach, label, milestone, spread
from theory.support.tables import markdown_table

RESULTS = FOLDER.parent / "results"
_DISTANCES = {
    "fd_effnet": "FD-EffNet",
    "frechet_scattering": "Fréchet, scattering",
    "sliced_wasserstein": "SWD",
}


def main(*paths: str) -> None:
    """Write tables and figures of every file."""
    for path in map(Path, paths or sorted(map(str, RESULTS.glob("faces*.json")))):
        results = json.loads(path.read_text(encoding="utf-8"))
        path.with_suffix(".md").write_text(tables(results), encoding="utf-8")
        draw(results, f"comparison_{path.stem}")
        if (strips := path.with_name(f"{path.stem}_samples.png")).is_file():
            draw_samples(results, strips, f"comparison_{path.stem}_samples")


def tables(results: Results) -> str:
    """All tables of a comparison as Markdown."""
    last, config, batch = _last(results), results["config"], _batch(results)
    seen = list(dict.fromkeys(f"{stage['step'] * batch:,}" for stage in last))
    all_calls = dict.fromkeys(calls for stage in last for calls in stage["judged"])
    seeds = ", ".join(str(seed) for seed in sorted({stage["seed"] for stage in last}))
    parts = [
        f"{results['data']}, {results['images']:,} images at {config['resolution']} px; "
        f"{config['train'].get('network', 'small')} network "
        f"({results['arms'][last[0]['arm']]['parameters'] / 1e6:.2f} M parameters), "
        f"{_and(seen)} images seen by {'each arm' if len(seen) == 1 else 'the arms'}, "
        f"seed {seeds}. Intervals: 95 %, over samples. SWD: mean over "
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
    stages = [stage for stage in _last(results) if calls in stage["judged"]]
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
        interval = f" (± {1.96 * max(metrics['octave_decibels']['standard_error']):.1f})"
        # The oracle is None for the whitened sampler, which is exact on Gaussian data.
        known = _signed((judged["oracle"] or {}).get("octave_decibels", []))
        add(label(results, stage), metrics, nearest, interval, known)
    if base := one.get("baseline"):
        add("*real against real*", base, "1", "", "")
    count = one["counts"]["sampled"]
    return f"**{calls} calls**, {one['sampler']}, {count} samples.\n\n" + markdown_table(rows)


def _growth(results: Results) -> str:
    """Fréchet distance and training FLOP of each arm at each milestone."""
    calls, batch = _first_calls(results), _batch(results)
    steps = sorted({milestone(stage) for stage in results["stages"]})
    if len(steps) < 2:
        return ""
    of = " of the first arm" if results["config"].get("equal") == "cost" else ""
    rows = [["arm", *(f"{step * batch:,} images{of}" for step in steps)]]
    stages = {(s["arm"], s["seed"], milestone(s)): s for s in results["stages"]}

    def cell(arm: str, seed: int, step: int) -> str:
        if (stage := stages.get((arm, seed, step))) is None:
            return ""
        distance = stage["judged"][calls]["metrics"]["frechet_scattering"]
        return f"{spread(distance, 1)} ({_petaflops(results, stage):.3g})"

    for seed in sorted({stage["seed"] for stage in results["stages"]}):
        for arm, entry in results["arms"].items():
            rows.append([entry["label"], *(cell(arm, seed, step) for step in steps)])
    return (
        f"**Fréchet distance as training goes on**, {calls} calls; in brackets the PFLOP of "
        "training up to there.\n\n" + markdown_table(rows)
    )


def _reached(results: Results) -> str:
    """Training cost at which arms reach the first arm's distances, over the first arm's cost."""
    first, *others = results["arms"]
    steps = sorted({milestone(stage) for stage in results["stages"]})
    if len(steps) < 2 or not others:
        return ""
    batch = _batch(results)
    rows = [["arm", "distance", *(f"of {step * batch:,} images" for step in steps)]]
    for seed in sorted({stage["seed"] for stage in results["stages"]}):
        for arm in others:
            for metric, name in _DISTANCES.items():
                cells = _costs_over(results, arm, first, seed, metric, steps)
                if any(cells):
                    rows.append([label(results, {"arm": arm, "seed": seed}), name, *cells])
    return (
        f"**Training FLOP at which an arm reaches what {results['arms'][first]['label']} has "
        f"reached**, over the FLOP of the latter, {_first_calls(results)} calls; "
        "interpolated between milestones. In brackets: for distances that differ by 1.96 standard "
        "errors of their difference.\n\n" + markdown_table(rows)
    )


def _costs_over(
    results: Results, arm: str, first: str, seed: int, metric: str, steps: Iterable[int]
) -> list[str]:
    """Ratios and intervals of a row of `_reached`; empty where there is no curve or target."""
    calls = _first_calls(results)

    def curve(name: str) -> list[tuple[int, float, float, float]]:
        found = []
        for stage in results["stages"]:
            if (stage["arm"], stage["seed"]) == (name, seed) and calls in stage["judged"]:
                estimate = stage["judged"][calls]["metrics"].get(metric)
                if estimate is None:
                    continue
                value, error = estimate["value"], estimate["standard_error"]
                if isinstance(value, dict):
                    value, error = value["mean"], error["mean"]
                found.append((milestone(stage), _petaflops(results, stage), value, error))
        return sorted(found)

    own, targets = curve(arm), {row[0]: row[1:] for row in curve(first)}
    if len(own) < 2:
        return []
    _, costs, values, errors = zip(*own, strict=True)

    def cell(paid: float, target: float, error: float) -> str:
        half = 1.96 * float(np.hypot(error, np.mean(errors)))

        def ratio(distance: float) -> str:
            cost, relation = cost_to_reach(costs, values, distance)
            return f"{relation}{cost / paid:.2f}"

        low = ratio(target + half)
        high = ratio(target - half) if target > half else f">{costs[-1] / paid:.2f}"
        return f"{ratio(target)} ({low} to {high})"

    return [cell(*targets[at]) if at in targets else "" for at in steps]


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
    full = [s for s in _last(results) if "information" in s and not s["changes"]]
    lost = full[0]["information"]["losses"] if full else {}
    rows = [["arm", "change", "error over linear", "in the new octave"]]
    if lost:
        rows[0] += ["bits lost, Gaussian", "bits lost, found"]
    for stage in _last(results):
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
    stages = [stage for stage in _last(results) if stage.get("full_resolution")]
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
    stages = [stage for stage in _last(results) if "levels" in stage]
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


def draw(results: Results, name: str) -> None:
    """Draw distance over training cost, power per octave, and measured information."""
    told = any("information" in stage for stage in _last(results))
    figure = new_figure(7.0, 2.9)
    left, middle, *more = figure.subplots(1, 3 if told else 2)
    calls = _first_calls(results)
    rows: list[list[Any]] = []
    colours = _colours(results)
    for arm, entry in results["arms"].items():
        colour = colours[arm]
        stages = [s for s in results["stages"] if s["arm"] == arm and calls in s["judged"]]
        if not stages:
            continue
        for seed in sorted({s["seed"] for s in stages}):
            own = [s for s in stages if s["seed"] == seed]
            cost = [_petaflops(results, s) for s in own]
            found = [s["judged"][calls]["metrics"]["frechet_scattering"] for s in own]
            values, errors = zip(*((f["value"], f["standard_error"]) for f in found), strict=True)
            shown = entry["label"] if seed == stages[0]["seed"] else None
            _errorbars(left, cost, values, errors, colour, shown)
            rows += [
                ["frechet", arm, seed, s["step"], f"{c:.6g}", f"{f['value']:.6g}",
                 f"{f['standard_error']:.6g}"]
                for s, c, f in zip(own, cost, found, strict=True)
            ]  # fmt: skip
        judged = max(stages, key=lambda s: s["step"])["judged"][calls]
        octaves = judged["metrics"]["octave_decibels"]
        at = range(1, len(octaves["value"]) + 1)
        _errorbars(middle, at, octaves["value"], octaves["standard_error"], colour)
        if judged["oracle"]:
            middle.plot(at, judged["oracle"]["octave_decibels"], ":", color=colour, lw=1)
        rows += [
            ["decibel", arm, "", i, "", f"{v:.6g}", f"{e:.6g}"]
            for i, v, e in zip(at, octaves["value"], octaves["standard_error"], strict=True)
        ]
    left.set(xlabel="training, PFLOP", ylabel="Fréchet distance, scattering", xlim=(0, None))
    figure.legend(loc="outside lower center", ncols=3)
    middle.axhline(0, color="#666666", lw=0.6)
    middle.set(xlabel="octave of frequency, lowest first", ylabel="samples over data, dB")
    told_by_oracle = any(stage["judged"].get(calls, {}).get("oracle") for stage in _last(results))
    if told_by_oracle:
        middle.set_title("network (solid), oracle (dotted)")
    for right in more:
        _draw_information(right, results, colours, rows)
    save(figure, name)
    save_table(name, ["what", "arm", "seed", "at", "pflop", "value", "standard_error"], rows)


def _errorbars(
    axes: Any,
    x: Sequence[float],
    values: Sequence[float],
    errors: Iterable[float],
    colour: str,
    name: str | None = None,
) -> None:
    """Draw values with 95 % intervals from their standard errors."""
    half = [1.96 * error for error in errors]
    axes.errorbar(x, values, half, color=colour, marker="o", ms=2.5, lw=1, label=name)


def _draw_information(
    axes: Any, results: Results, colours: dict[str, str], rows: list[list[Any]]
) -> None:
    for stage in _last(results):
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


def _last(results: Results) -> list[dict[str, Any]]:
    """Stages of the last milestone that every arm has reached."""
    arms = {stage["arm"] for stage in results["stages"]}
    milestones: dict[int, set[str]] = {}
    for stage in results["stages"]:
        milestones.setdefault(milestone(stage), set()).add(stage["arm"])
    last = max(milestone for milestone, reached in milestones.items() if reached == arms)
    return [stage for stage in results["stages"] if milestone(stage) == last]


def _first_calls(results: Results) -> str:
    """Number of calls at which every milestone is evaluated."""
    return str(next(iter(results["config"]["calls"])))


def _batch(results: Results) -> int:
    return results["config"]["train"].get("batch_size", 32)


def _petaflops(results: Results, stage: dict[str, Any]) -> float:
    """Training cost up to a stage in PFLOP."""
    each = results["arms"][stage["arm"]]["training_flops_per_image"]
    return each * stage["step"] * _batch(results) / 1e15


def _signed(values: Iterable[float]) -> str:
    return " ".join(f"{value:+.1f}" for value in values)


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
