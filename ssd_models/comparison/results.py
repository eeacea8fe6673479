"""``results.json`` of a comparison: configuration, schedules, costs and evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from theory.information.measured import losses_at_changes
from theory.plots.html import save_page
from theory.support.files import atomic_path, write_json

from ..sampling.pictures import image_grid
from ..training.building import build_unet
from .arms import Comparison, Stage
from .costs import seconds, training_shares
from .judging import (
    errors_at_changes,
    errors_at_full_resolution,
    evaluated,
    information,
    judge,
    read_stored,
    samples_path,
)
from .page import comparison_page

FORMAT = "scale-space-comparison/1"
_SECONDS = "seconds.json"


def run_comparison(
    comparison: Comparison, max_minutes: float | None = None, say: Callable[[str], None] = print
) -> bool:
    """Train and evaluate every missing stage; return whether all are done.

    | when | evaluated |
    |---|---|
    | every milestone | samples at the first number of calls; errors at changes, full resolution |
    | last milestone | also samples at the other numbers of calls, and information |
    | all arms done | seconds an image of training and sampling, in a call for all arms |

    ``results.json`` is rewritten after each stage, ``samples.png`` (one row of samples per arm,
    first seed) and ``report.html`` after each milestone.

    Parameters
    ----------
    comparison : Comparison
    max_minutes : float, optional
        Time limit; a stage that has begun to be evaluated is finished.
    say : callable
        Prints a line of progress.
    """
    config = comparison.config
    done, started = 0, time.monotonic()
    for stage in comparison.train_all(max_minutes):
        if max_minutes is not None and time.monotonic() - started > 60 * max_minutes:
            return False
        for number, (calls, count) in enumerate(config.calls.items()):
            if count and (number == 0 or stage.milestone == config.milestones[-1]):
                judge(comparison, stage, calls, count)
        if config.errors and config.arms[stage.arm].network is None:
            if stage.milestone == config.milestones[-1]:
                information(comparison, stage)
            errors_at_changes(comparison, stage)
            errors_at_full_resolution(comparison, stage)
        done += 1
        say(f"{stage.name}: judged")
        save_results(comparison)
        if (stage.arm, stage.seed) == (comparison.only[-1], config.seeds[0]):
            save_samples(comparison, stage)
            save_report(comparison)
    if done < len(list(comparison.stages())):
        return False
    if set(comparison.only) == set(config.arms):  # else other processes may be at work
        _seconds(comparison)
    save_results(comparison)
    save_report(comparison)
    return True


def save_results(comparison: Comparison) -> None:
    """Write ``results.json`` with the results so far."""
    write_json(comparison.folder / "results.json", collect(comparison))


def save_report(comparison: Comparison) -> None:
    """Write ``report.html`` with the results so far."""
    results = collect(comparison)
    page = comparison_page(results, _grids(comparison, results))
    save_page(comparison.folder / "report.html", page)


def _grids(comparison: Comparison, results: dict[str, Any]) -> dict[str, np.ndarray]:
    """Two rows of samples of each arm at its last evaluated stage, and of real images."""
    calls, grids = next(iter(comparison.config.calls)), {}
    size = comparison.images.shape[1]
    for entry in results["stages"]:  # by rising step
        stage = Stage(*(entry[name] for name in ("arm", "seed", "step", "milestone")))
        path = samples_path(comparison, stage, calls)
        if stage.seed == comparison.config.seeds[0] and path.is_file():
            label = f"{comparison.config.arms[stage.arm].label}, {calls} calls"
            grids[label] = np.asarray(Image.open(path))[: 2 * size + 2]  # with white lines
    if grids:
        places = np.linspace(0, len(comparison.images) - 1, 32).astype(int)
        grids["real images"] = image_grid(comparison.images[places], 16)
    return grids


def save_samples(comparison: Comparison, last: Stage) -> None:
    """Write ``samples.png``: the first row of each arm's grid at the milestone of ``last``."""
    config, strips = comparison.config, []
    for arm in config.arms:
        stage = comparison.stage(arm, last.seed, last.milestone)
        path = samples_path(comparison, stage, next(iter(config.calls)))
        if path.is_file():  # missing if no images were evaluated
            grid = np.asarray(Image.open(path))
            strips.append(grid[: comparison.images.shape[1] + 1])  # with a white line
    if strips:
        with atomic_path(comparison.folder / "samples.png") as temporary:
            Image.fromarray(np.concatenate(strips)).save(temporary, format="PNG")


def collect(comparison: Comparison) -> dict[str, Any]:
    """Content of ``results.json``, without stages that are not yet evaluated."""
    config, folder = comparison.config, comparison.folder / "judged"
    stages = []
    for milestone, seed, arm in product(config.milestones, config.seeds, config.arms):
        stage = comparison.stage(arm, seed, milestone)
        found = {n: evaluated(comparison, stage, n, count) for n, count in config.calls.items()}
        judged = {str(calls): result for calls, result in found.items() if result is not None}
        if judged:
            entry = {**asdict(stage), "judged": judged}
            if config.errors and config.arms[arm].network is None:
                entry["changes"] = errors_at_changes(comparison, stage)
                entry["full_resolution"] = errors_at_full_resolution(comparison, stage)
            if (folder / f"{stage.name}-information.json").is_file():
                entry["information"] = _information(comparison, stage)
            stages.append(entry)
    timed = {"seconds": read_stored(path)} if (path := folder / _SECONDS).is_file() else {}
    return {
        "format": FORMAT,
        "data": Path(comparison.data).name,
        "images": len(comparison.images),
        "config": asdict(config),
        "arms": {arm: _arm(comparison, arm) for arm in config.arms},
        "stages": stages,
        **timed,
    }


def _seconds(comparison: Comparison) -> None:
    """Time training and sampling of all arms, unless the file has the times of the same paths."""
    config, path = comparison.config, comparison.folder / "judged" / _SECONDS
    named = ("training_shares", "sampling_calls")
    paths = {arm: {n: comparison.costs(arm)[n] for n in named} for arm in config.arms}
    if path.is_file() and read_stored(path).get("paths") == paths:
        return
    configs = {arm: comparison.training(arm) for arm in config.arms}
    schedules, channels = comparison.schedules, comparison.images.shape[-1]
    unets = {
        arm: build_unet(training, schedules[arm], channels) for arm, training in configs.items()
    }
    chains = {arm: comparison.chains(arm) for arm in config.arms}
    shares = {
        arm: training_shares(schedules[arm], training, comparison.spectrum)
        for arm, training in configs.items()
    }
    timed = seconds(unets, schedules, configs, shares, chains)
    write_json(path, {**timed, "paths": paths})


def _arm(comparison: Comparison, arm: str) -> dict[str, Any]:
    """Label, changes, predictions and costs of an arm."""
    schedule = comparison.schedules[arm]
    return {
        "label": comparison.config.arms[arm].label,
        "changes": {str(t): list(sides) for t, sides in schedule.changes.items()},
        "predicted": dict(schedule.predicted),
        **comparison.costs(arm),
    }


def _information(comparison: Comparison, stage: Stage) -> dict[str, Any]:
    measured = information(comparison, stage)
    found, bound = measured.octaves()
    return {
        "images": measured.count,
        "steps": measured.steps.tolist(),
        "resolutions": measured.resolutions.tolist(),
        "snr": measured.snr.tolist(),
        "bits": found.tolist(),
        "bound": bound.tolist(),
        "standard_error": measured.standard_error.tolist(),
        "losses": {
            arm: [asdict(loss) for loss in losses_at_changes(schedule, measured)]
            for arm, schedule in comparison.schedules.items()
            if schedule.changes
            and (arm == stage.arm or not comparison.schedules[stage.arm].changes)
        },
    }
