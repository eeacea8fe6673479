"""Log of a run: ``metrics.jsonl``, grids of samples, and trackers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError, reason
from theory.support.files import atomic_path
from theory.support.reading import check_fields, parse_json

from ..network.model_files import SCHEDULE_FILE
from ..sampling.pictures import image_grid, save_grid
from ..sampling.pipeline import ScaleSpacePipeline
from .config import CONFIG_FILE, read_config
from .trackers import Trackers

METRICS_FILE = "metrics.jsonl"
_SAMPLES, _CALLS = 16, 30  # images of a grid, network calls for each


class RunLog:
    """Writer of ``metrics.jsonl`` and grids of samples, which also go to the run's trackers.

    Parameters
    ----------
    run : Path
        The run directory; its ``config.yaml`` names the trackers.
    step : int
        Present step. Later entries, of a run that was stopped after its last checkpoint, are
        deleted, as is an incomplete last line.

    Raises
    ------
    InputError
        If a tracker does not start, or ``metrics.jsonl`` is damaged.
    """

    def __init__(self, run: Path, step: int):
        self._run = run
        self._path = run / METRICS_FILE
        entries = read_metrics(self._path)
        sent = max([step, *(entry["step"] for entry in entries)])
        config = read_config(run / CONFIG_FILE)
        names = config.pop("log_with")
        settings = {**config, **_facts(ResolutionSchedule.load(run / SCHEDULE_FILE))}
        self._trackers = Trackers(run, names, step, sent, settings)
        if self._path.exists():
            kept = [entry for entry in entries if entry["step"] <= step]
            with atomic_path(self._path) as temporary:
                temporary.write_text(
                    "".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8"
                )

    def write(self, entry: dict[str, Any]) -> None:
        """Append an entry of ``step``, numbers, and dictionaries of numbers.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror or error}); fix that and go on "
                "with --resume"
            ) from error
        values = {name: value for name, value in _flat(entry) if name != "step"}
        self._trackers.log(values, entry["step"])

    def samples(self, pipeline: ScaleSpacePipeline, step: int, seed: int, bf16: bool) -> None:
        """Save a grid of 16 samples of a model, from the same noise each time."""
        labels = None
        if pipeline.class_names is not None:
            labels = list(range(len(pipeline.class_names)))[:_SAMPLES]
        images = pipeline(
            _SAMPLES,
            _CALLS,
            generator=torch.Generator().manual_seed(seed),
            class_labels=labels,
            output_type="np",
            bf16=bf16,
        ).images
        path = self._run / "samples" / f"step_{step:07d}.png"
        save_grid(images, path)
        self._trackers.log_images("samples", image_grid(images), path, step)

    def close(self) -> None:
        """Close the trackers."""
        self._trackers.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a ``metrics.jsonl``, except an incomplete last line; none without a file.

    Raises
    ------
    InputError
        If a line is not the JSON of an entry.
    """
    if not path.exists():
        return []
    entries = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # a complete line ends in a line break
        try:
            entries.append(parse_json(line))
            check_fields(entries[-1], {"step": int})
        except ValueError as error:
            raise InputError(
                f"{path}: line {number} is damaged ({reason(error)}); remove that line"
            ) from None
    return entries


def _flat(entry: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Names and values of a nested entry, with names joined by ``/``."""
    found: list[tuple[str, float]] = []
    for name, value in entry.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}/")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _facts(schedule: ResolutionSchedule) -> dict[str, Any]:
    """Properties of a schedule for trackers: numbers and strings by name."""
    derived = {
        f"schedule/{name}": value
        for name, value in schedule.derivation.items()
        if isinstance(value, (str, int, float))
    }
    levels = " ".join(map(str, schedule.levels))
    return {"schedule/levels": levels, "schedule/operator": schedule.operator, **derived}
