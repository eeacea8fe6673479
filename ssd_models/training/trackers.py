"""Where curves and samples of a run go: TensorBoard's events, and other trackers of accelerate.

For a tracker a run is one run, however often it is stopped and resumed: it goes on under the
identity that it had (``trackers.json``), and points that were sent before a stop are not sent
again. TensorBoard takes back what was written after the checkpoint instead.
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
PROJECT = "scale-space-diffusion"  # that runs are grouped under
_STATE_FILE = "trackers.json"  # ``sent``, and by tracker the identity of the run there


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown, or whose package is missing, with `InputError`."""
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
    """The trackers of a run, opened; the main process alone has them.

    Events of TensorBoard are written in any case, into the run directory.

    Parameters
    ----------
    run : Path
        The run directory, which gives the run its name.
    names : sequence of str
        Of `TRACKERS`.
    step : int
        At which the run begins or goes on.
    sent : int
        The last step that was logged before; trackers other than TensorBoard get what comes later.
    settings : mapping
        Configuration of the run: numbers and texts by name.

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
        # Points of steps from ``purge_step`` on, of event files before, are not shown any more.
        purge = {"purge_step": step + 1 if step else 0}
        board = LOGGER_TYPE_TO_CLASS["tensorboard"](run.name, run.parent, **purge)
        self._open: list[GeneralTracker] = []
        try:
            self._start(board)
            if not step:  # as text; `store_init_configuration` would add a folder each time
                lines = "\n".join(f"    {name}: {value}" for name, value in settings.items())
                board.log({"config": lines}, step=0)
            for name in dict.fromkeys(names):
                if name == "tensorboard":
                    continue
                old = state.get(name)
                options = _options(name, run, old)
                if name == "trackio":  # whose configuration cannot come later
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
        """Add a point to each curve: numbers by name."""

        def send(tracker: GeneralTracker) -> None:
            if tracker.name == "mlflow":  # whose names have no such arrow
                tracker.log({n.replace("->", " to "): v for n, v in values.items()}, step=step)
            else:
                tracker.log(dict(values), step=step)

        self._each(send, step)

    def log_images(self, name: str, picture: np.ndarray, path: Path, step: int) -> None:
        """Show a picture, uint8 (H, W, 3), which is at ``path`` as well."""

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
        """Send what has not been sent, and end."""
        self._each(lambda tracker: tracker.finish(), self._sent + 1)
        self._open.clear()

    def _start(self, tracker: GeneralTracker) -> None:
        try:
            tracker.start()
        except Exception as error:  # as many kinds as there are trackers
            raise InputError(
                f"log_with {tracker.name}: does not start ({reason(error)}); mend that, or leave "
                "it out, and go on with --resume"
            ) from error
        self._open.append(tracker)

    def _each(self, act: Callable[[GeneralTracker], None], step: int) -> None:
        """Let each tracker act that has not seen this step; one that fails ends no training."""
        for tracker in list(self._open):
            if tracker.name != "tensorboard" and step <= self._sent:
                continue
            try:
                act(tracker)
            except Exception as error:  # as many kinds as there are trackers
                self._open.remove(tracker)
                print(
                    f"ssd: warning: {tracker.name}: gets no more of this run ({reason(error)})",
                    file=sys.stderr,
                )


def _options(name: str, run: Path, identity: str | None) -> dict[str, Any]:
    """Arguments with which a tracker begins a run, or goes on with the one of that identity."""
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
            f"{path}: cannot be read ({reason(error)}); remove it to begin new runs there"
        ) from error
