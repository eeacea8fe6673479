"""Checkpoints of a run, written atomically; the latest and the best are kept.

A checkpoint is a folder ``checkpoints/step_NNNNNNN/``:

| file | content |
| --- | --- |
| ``model/`` | averaged weights as a model directory for `ScaleSpacePipeline` |
| ``weights.safetensors`` | weights without averaging |
| ``optimizer.pt`` | state of the optimizer (tensors and numbers only) |
| ``state.json`` | step, images seen, validation loss, and the run's configuration |

States of random generators are not needed (see `batches`), and the learning rate is a function of
the step.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from theory.support.errors import InputError, reason
from theory.support.files import replaced_folder
from theory.support.reading import parse_json

from ..network.model_files import MODEL_FOLDER as MODEL_FOLDER

STATE_FILE = "state.json"


class CheckpointState(TypedDict):
    """Contents of ``state.json``."""

    step: int
    images_seen: int
    processes: int
    validation: float | None  # mean loss on held-out images, if it was measured at this step
    identity: dict[str, Any]  # what defines the run: configuration, data, schedule


class Checkpoints:
    """The checkpoints of a run directory.

    Parameters
    ----------
    run : Path
        The run directory.
    keep : int
        Number of latest checkpoints to keep, besides the best.
    """

    def __init__(self, run: Path, keep: int = 2):
        self.folder = run / "checkpoints"
        self.keep = keep

    def __iter__(self) -> Any:
        """Complete checkpoints, oldest first; folders of other names, such as copies, are none."""
        found = [
            (int(name[1]), path)
            for path in self.folder.glob("step_*")
            if (name := re.fullmatch("step_([0-9]+)", path.name))
        ]
        return iter([path for _, path in sorted(found)])

    @property
    def last(self) -> Path | None:
        """Latest checkpoint; None if there is none."""
        return next(reversed(list(self)), None)

    @property
    def best(self) -> Path | None:
        """Checkpoint with the lowest validation loss; None if none was validated."""
        found = [(value, path) for path in self if (value := self._validation(path)) is not None]
        return min(found)[1] if found else None

    def write(self, step: int, write: Callable[[Path], None], state: CheckpointState) -> Path:
        """Write a checkpoint into a temporary folder, flush and rename it; delete old ones.

        Parameters
        ----------
        step : int
        write : callable
            Writes everything except the state into a folder.
        state : CheckpointState

        Returns
        -------
        Path
            Folder of the checkpoint.

        Raises
        ------
        InputError
            If the checkpoint cannot be written; existing ones are unchanged.
        """
        final = self.folder / f"step_{step:07d}"
        try:
            with replaced_folder(final) as aside:
                write(aside)
                (aside / STATE_FILE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        except Exception as error:  # writers raise different types if a disk is full
            raise InputError(
                f"{final}: the checkpoint cannot be written ({reason(error)}); "
                f"{self.advice('free disk space and go on')}"
            ) from error
        self._prune()
        return final

    def read_state(self, checkpoint: Path) -> CheckpointState:
        """Read the state of a checkpoint.

        Raises
        ------
        InputError
            If it is missing or damaged.
        """
        try:
            state = parse_json((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
            for name, kind in (("step", int), ("images_seen", int), ("processes", int)):
                if not isinstance(state[name], kind) or state[name] < 0:
                    raise ValueError(f"{STATE_FILE}: {name} is {state[name]!r}")
            if not isinstance(state["identity"]["images_per_step"], int):
                raise ValueError(f"{STATE_FILE}: images_per_step is not a number")
            return state
        except KeyError as error:
            raise self.damaged(checkpoint, ValueError(f"{STATE_FILE} lacks {error}")) from error
        except (OSError, ValueError, TypeError) as error:
            raise self.damaged(checkpoint, error) from error

    def damaged(self, checkpoint: Path, error: BaseException) -> InputError:
        """Return the `InputError` for a checkpoint that cannot be loaded."""
        others = [path.name for path in self if path != checkpoint]
        before = f"to go on from {others[-1]}" if others else "to begin again"
        return InputError(
            f"{checkpoint}: cannot be resumed ({reason(error)}); remove this folder {before}"
        )

    def advice(self, what: str) -> str:
        """Advice for a failed run: ``what`` to do, and the latest checkpoint."""
        if self.last is None:
            return f"{what}; there is no checkpoint yet"
        return f"{what} with --resume from {self.last}"

    def _validation(self, checkpoint: Path) -> float | None:
        with suppress(OSError, ValueError, AttributeError):
            return parse_json((checkpoint / STATE_FILE).read_text(encoding="utf-8")).get(
                "validation"
            )
        return None

    def _prune(self) -> None:
        kept = {*list(self)[-self.keep :], self.best}
        for path in self:
            if path not in kept:  # renamed first, so that no checkpoint is incomplete
                removed = path.with_name(f".{path.name}.removed")
                os.replace(path, removed)
                shutil.rmtree(removed, ignore_errors=True)
        for left in self.folder.glob(".step_*.removed"):
            shutil.rmtree(left, ignore_errors=True)


# Values of options in checkpoints that were written before the options existed.
_BEFORE_THEY_EXISTED = {"loss_weight": "min-snr", "preconditioning": "none"}


def check_identity(
    what: Path,
    stored: Mapping[str, Any],
    present: Mapping[str, Any],
    remedy: str = "give the same ones, or --allow-drift to resume with these",
) -> None:
    """Raise `InputError` with the differences unless a run has the identity of what is stored."""
    stored = {**_BEFORE_THEY_EXISTED, **stored}
    fields = [
        f"{name}: {stored.get(name)} -> {present.get(name)}"
        for name in sorted({*stored, *present})
        if stored.get(name) != present.get(name)
    ]
    if fields:
        raise InputError(f"{what}: was written with other settings: {'; '.join(fields)}; {remedy}")
