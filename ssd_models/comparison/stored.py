"""Access to a stored ``results.json`` of a comparison, for pages, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from theory.support.errors import InputError

from ..metrics.estimates import half_width

Results = dict[str, Any]
"""Content of ``results.json``."""

DISTANCES = {
    "fd_effnet": "FD-EffNet",
    "frechet_scattering": "Fréchet, scattering",
    "sliced_wasserstein": "SWD",
}
"""Names in tables of the distances of samples from real images."""


class Point(NamedTuple):
    """A distance of samples from real images at a milestone of an arm."""

    milestone: int
    petaflops: float  # of training up to there
    value: float
    standard_error: float


def curve(results: Results, arm: str, seed: int, metric: str) -> list[Point]:
    """Distances of an arm and seed by rising milestone, at the first number of calls.

    Empty if the metric, a key of `DISTANCES`, was not evaluated.
    """
    calls, points = first_calls(results), []
    for stage in results["stages"]:
        if (stage["arm"], stage["seed"]) != (arm, seed) or calls not in stage["judged"]:
            continue
        estimate = stage["judged"][calls]["metrics"].get(metric)
        if estimate is None:
            continue
        value, error = estimate["value"], estimate["standard_error"]
        if isinstance(value, dict):
            value, error = value["mean"], error["mean"]
        points.append(Point(milestone(stage), petaflops(results, stage), value, error))
    return sorted(points)


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Mean over seeds of an arm's curves, at the milestones that all of them have.

    The standard error of a mean of n seeds is the larger of two estimates: from the seeds' own
    errors, and from the spread of their values (that of n - 1 degrees of freedom; of two seeds it
    says little when it is small).
    """
    found: dict[int, list[Point]] = {}
    for point in (point for points in curves for point in points):
        found.setdefault(point.milestone, []).append(point)
    means = []
    for points in (points for points in found.values() if len(points) == len(curves)):
        values = np.array([point.value for point in points])
        sampled = np.hypot.reduce([point.standard_error for point in points]) / len(points)
        between = values.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else 0.0
        mean, error = float(values.mean()), float(max(sampled, between))
        means.append(points[0]._replace(value=mean, standard_error=error))
    return sorted(means)


def last_stages(results: Results) -> list[dict[str, Any]]:
    """Stages of the last milestone that every arm has reached.

    Raises
    ------
    InputError
        If there is none.
    """
    arms = {stage["arm"] for stage in results["stages"]}
    milestones: dict[int, set[str]] = {}
    for stage in results["stages"]:
        milestones.setdefault(milestone(stage), set()).add(stage["arm"])
    complete = [milestone for milestone, reached in milestones.items() if reached == arms]
    if not complete:
        raise InputError(
            "the results have no milestone that every arm has reached; go on with `ssd compare`"
        )
    last = max(complete)
    return [stage for stage in results["stages"] if milestone(stage) == last]


def first_calls(results: Results) -> str:
    """Number of calls at which every milestone is evaluated."""
    return str(next(iter(results["config"]["calls"])))


def images_seen(results: Results, step: int, arm: str | None = None) -> int:
    """Training images of a number of steps of an arm, by default the first."""
    arms = results["arms"]
    entry = arms[next(iter(arms)) if arm is None else arm]
    batch = results["config"]["train"].get("batch_size", 32)  # of files without the number
    return round(step * entry.get("training_images_per_step", batch))


def petaflops(results: Results, stage: dict[str, Any]) -> float:
    """Training cost up to a stage in PFLOP."""
    each = results["arms"][stage["arm"]]["training_flops_per_image"]
    return float(each * images_seen(results, stage["step"], stage["arm"]) / 1e15)


def seeds(results: Results) -> list[int]:
    """Seeds of the evaluated stages."""
    return sorted({stage["seed"] for stage in results["stages"]})


def milestone(stage: dict[str, Any]) -> int:
    """Milestone of a stage; its own steps in files without milestones."""
    return stage.get("milestone", stage["step"])


def label(results: Results, stage: dict[str, Any]) -> str:
    """Label of a stage's arm, with the seed if there are several."""
    several = len({other["seed"] for other in results["stages"]}) > 1
    name = str(results["arms"][stage["arm"]]["label"])
    return f"{name}, seed {stage['seed']}" if several else name


def spread(estimate: dict[str, Any], digits: int, key: str | None = None) -> str:
    """Text ``1.0 ± 0.2`` of an estimate and half its 95 % interval; a dash if not finite.

    With ``key`` of that entry of an estimate of several numbers.
    """
    value, error = estimate["value"], estimate["standard_error"]
    if key is not None:
        value, error = value[key], error[key]
    if value is None or error is None:
        return "–"
    return f"{value:.{digits}f} ± {half_width(error):.{digits}f}"
