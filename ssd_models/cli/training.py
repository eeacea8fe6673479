"""`ssd train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from theory.errors import InputError

from ..config import TrainConfig, read_config
from .options import Output

_stored: dict[str, Any] = {}  # what --config, or the configuration of a resumed run, says


def _stored_options() -> TrainConfig:
    return TrainConfig(**{name: value for name, value in _stored.items() if name != "data"})


@dataclass(frozen=True)
class TrainCommand:
    """Train a Flexi-UNet on images and a schedule.

    Example: ssd train --data photos/ --schedule schedule.json -o run --steps 20000
    """

    data: str | None = field(default_factory=lambda: _stored.get("data"))
    """Images as in `ssd spectrum`; by default those that the schedule was derived from."""
    schedule: str = "schedule.json"
    """Schedule to train on."""
    output: Output = "run"
    """Run directory to write; must be new unless --resume."""
    config: str | None = None
    """YAML file of the options below; the command line goes before it."""
    resume: bool = False
    """Go on from the last checkpoint, with the run's own schedule and options."""
    resize: bool = False
    """Reduce images that are squares of another size than the schedule's resolution."""
    options: TrainConfig = field(default_factory=_stored_options)

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_new_folder
        from theory.schedules import ResolutionSchedule

        run = Path(self.output)
        schedule = ResolutionSchedule.load(run / "schedule.json" if self.resume else self.schedule)
        data = self.data or schedule.derivation.get("source")
        if not data:
            raise InputError(f"{self.schedule}: does not name its data; give them with --data")
        if not self.resume:
            check_new_folder(run)
        from ..class_labels import require_classes
        from ..data import open_images

        if not (self.resume or self.resize or data == schedule.derivation.get("source")):
            _refuse_other_size(str(data), schedule.resolution, self.schedule)
        source = open_images(
            str(data), schedule.resolution, limit=self.options.limit, seed=self.options.seed
        )
        classes = None
        if self.options.class_conditional:
            classes = require_classes(source.classes(), len(source), str(data))
            counts = classes.counts
            shown = ", ".join(f"{name} ({n})" for name, n in list(counts.items())[:10])
            print(f"{len(counts)} classes: {shown}{', …' if len(counts) > 10 else ''}")
        images = source.load(progress=True)
        from ..training import Trainer

        Trainer(images, schedule, run, self.options, str(data), self.resume, classes).train()
        print(f"{run}: trained to step {self.options.steps}; try `ssd sample {run}`")


def overlay(arguments: list[str]) -> None:
    """Make the options of --config, or of the run to resume, the defaults of the command line."""
    _stored.clear()
    if not arguments or arguments[0] != "train":
        return
    given = dict(pairwise(arguments))
    given.update((a.split("=", 1)[0], a.split("=", 1)[1]) for a in arguments if "=" in a)
    path: str | Path | None = given.get("--config")
    if "--resume" in arguments:
        path = Path(given.get("-o") or given.get("--output") or "run") / "config.yaml"
    if path is not None:
        _stored.update(read_config(path))


def _refuse_other_size(data: str, resolution: int, schedule: str) -> None:
    """Refuse square images of another size: most likely the schedule was made for other data.

    Data that the schedule was derived from pass, as its spectrum was measured at that resolution.
    """
    from ..data import open_images

    if data == "photos":
        return
    open_images(data, resolution)  # a wrong path is reported as what it is
    try:
        size = open_images(data, None).resolution
    except InputError:
        return  # not square: there is no size of their own that could be meant
    if size > resolution:
        raise InputError(
            f"{data}: images have {size} px, {schedule} has resolution {resolution}; derive a "
            f"schedule from their spectrum, or reduce them with --resize"
        )
