"""Trackers of a run's curves and samples: TensorBoard, and the others that accelerate supports.

A run that is stopped and resumed stays one run in each tracker. Its identity there is stored in
``trackers.json``, and points sent before the stop are not sent again. TensorBoard instead discards
points after the checkpoint.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from theory.support.errors import InputError, reason
from theory.support.files import atomic_path
from theory.support.reading import parse_json

if TYPE_CHECKING:
    import numpy as np
    from accelerate.tracking import GeneralTracker

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]
TRACKERS: tuple[str, ...] = get_args(TrackerName)
PROJECT = "scale-space-diffusion"  # project name in the trackers
_STATE_FILE = "trackers.json"  # last step ``sent``, and the run's identity in each tracker


def check_trackers(names: Sequence[str]) -> None:
    """Raise `InputError` if a tracker is unknown or its package is not installed."""
    if unknown := [name for name in names if name not in TRACKERS]:
        raise InputError(f"log_with {unknown[0]!r}: choose from {', '.join(TRACKERS)}")
    if not names:
        return
    from accelerate.tracking import get_available_trackers

    found = [tracker.value for tracker in get_available_trackers()]
    if missing := [name for name in names if name not in found]:
        raise InputError(
            f"log_with {missing[0]}: its package is not installed; pip install {' '.join(missing)}"
        )


class Trackers:
    """Open trackers of a run; used on the main process only.

    TensorBoard's event files are always written, into the run directory.

    Parameters
    ----------
    run : Path
        The run directory, whose name is the run's name.
    names : sequence of str
        Names from `TRACKERS`.
    step : int
        Step at which the run starts or resumes.
    sent : int
        Last step logged before; trackers other than TensorBoard get later steps only.
    settings : mapping
        Configuration of the run: numbers and strings by name.

    Raises
    ------
    InputError
        If a tracker does not start.
    """

    def __init__(
        self,
        run: Path,
        names: Sequence[str],
        step: int,
        sent: int = 0,
        settings: Mapping[str, Any] | None = None,
    ):
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        run = run.absolute()
        settings = {} if settings is None else dict(settings)
        state = _read_state(run)
        self._sent = state["sent"] = max(sent, state.get("sent", 0))
        # TensorBoard hides points of earlier event files from ``purge_step`` on.
        purge = {"purge_step": step + 1 if step else 0}
        board = LOGGER_TYPE_TO_CLASS["tensorboard"](run.name, run.parent, **purge)
        self._open: list[GeneralTracker] = []
        try:
            self._start(board)
            if not step:  # as text: `store_init_configuration` would add a folder each time
                lines = "\n".join(f"    {name}: {value}" for name, value in settings.items())
                board.log({"config": lines}, step=0)
            for name in dict.fromkeys(names):
                if name == "tensorboard":
                    continue
                old = state.get(name)
                options = _options(name, run, old)
                if name == "trackio":  # takes its configuration only here
                    options["config"] = settings
                tracker = LOGGER_TYPE_TO_CLASS[name](PROJECT, **options)
                self._start(tracker)
                if old is None:
                    tracker.store_init_configuration(settings)
                    state[name] = _identity(tracker)
                with atomic_path(run / _STATE_FILE) as temporary:
                    temporary.write_text(json.dumps(state), encoding="utf-8")
        except BaseException:
            self.close()
            raise

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve, from numbers by name."""

        def send(tracker: GeneralTracker) -> None:
            if tracker.name == "mlflow":  # which does not allow ``>`` in names
                tracker.log({n.replace("->", " to "): v for n, v in values.items()}, step=step)
            else:
                tracker.log(dict(values), step=step)

        self._each(send, step)

    def log_images(self, name: str, picture: np.ndarray, path: Path, step: int) -> None:
        """Log a picture, uint8 (H, W, 3), which is also stored at ``path``."""

        def send(tracker: GeneralTracker) -> None:
            if tracker.name == "tensorboard":
                tracker.log_images({name: picture[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "mlflow":
                tracker.log_artifact(str(path), name)
            elif tracker.name == "trackio":
                from trackio import Image

                tracker.log({name: Image(str(path))}, step=step)
            else:
                tracker.log_images({name: [picture]}, step=step)

        self._each(send, step)

    def close(self) -> None:
        """Send all pending data and close the trackers."""
        self._each(lambda tracker: tracker.finish(), self._sent + 1)
        self._open.clear()

    def _start(self, tracker: GeneralTracker) -> None:
        try:
            tracker.start()
        except Exception as error:  # each tracker raises its own types
            raise InputError(
                f"log_with {tracker.name}: does not start ({reason(error)}); mend that, or leave "
                "it out, and go on with --resume"
            ) from error
        self._open.append(tracker)

    def _each(self, act: Callable[[GeneralTracker], None], step: int) -> None:
        """Call ``act`` on each tracker that lacks this step; drop those that fail, and warn."""
        for tracker in list(self._open):
            if tracker.name != "tensorboard" and step <= self._sent:
                continue
            try:
                act(tracker)
            except Exception as error:  # each tracker raises its own types
                self._open.remove(tracker)
                print(
                    f"ssd: warning: {tracker.name}: gets no more of this run ({reason(error)})",
                    file=sys.stderr,
                )


def _options(name: str, run: Path, identity: str | None) -> dict[str, Any]:
    """Arguments of a tracker to start a run, or to continue the one with that identity."""
    if name == "wandb":
        identity = identity or uuid.uuid4().hex
        return {"name": run.name, "id": identity, "resume": "allow", "dir": str(run)}
    if name == "mlflow":
        return {"run_name": run.name, "run_id": identity}
    return {"name": identity or run.name, "resume": "allow" if identity else "never"}


def _identity(tracker: GeneralTracker) -> str:
    if tracker.name == "mlflow":
        return tracker.tracker.info.run_id
    return tracker.tracker.id if tracker.name == "wandb" else tracker.tracker.name


def _read_state(run: Path) -> dict[str, Any]:
    path = run / _STATE_FILE
    if not path.exists():
        return {}
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read ({reason(error)}); remove it to start new runs in the trackers"
        ) from error
