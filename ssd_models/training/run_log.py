"""What a run reports: ``metrics.jsonl``, TensorBoard and grids of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from theory.support.errors import InputError
from theory.support.files import atomic_path

from ..sampling.pictures import save_grid
from ..sampling.pipeline import ScaleSpacePipeline

METRICS_FILE = "metrics.jsonl"
_SAMPLES, _CALLS = 16, 30


class RunLog:
    """Appends entries to ``metrics.jsonl`` and to TensorBoard.

    Parameters
    ----------
    run : Path
        The run directory.
    step : int
        The present one; what was logged after it, by a run that was stopped later than its last
        checkpoint, is forgotten, as is half a line.
    """

    def __init__(self, run: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        self._path = run / METRICS_FILE
        if self._path.exists():
            kept = [entry for entry in read_metrics(self._path) if entry["step"] <= step]
            with atomic_path(self._path) as temporary:
                temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._board = SummaryWriter(str(run), purge_step=step + 1)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry; it holds ``step``, numbers, and dictionaries of such.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        try:
            with open(self._path, "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror or error}); mend that and go on "
                "with --resume"
            ) from error
        for name, value in _flat(entry):
            if name != "step":
                self._board.add_scalar(name, value, entry["step"])
        self._board.flush()

    def samples(self, pipeline: ScaleSpacePipeline, step: int, seed: int, bf16: bool) -> None:
        """Save 16 samples of a model, of the same noise each time."""
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

    def close(self) -> None:
        """Close the files of TensorBoard."""
        self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Entries of a ``metrics.jsonl``, without the half line that a killed run may leave."""
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]  # a whole line ends in a line break


def _flat(entry: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in entry.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}/")
        else:
            found.append((f"{prefix}{name}", value))
    return found
