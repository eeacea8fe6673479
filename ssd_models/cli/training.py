"""`ssd train`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from theory.support.errors import InputError

from ..distributed import num_processes, process_index
from ..training.config import CONFIG_FILE, TrainConfig, read_config, train_preset
from .options import File, OptionalData, OptionalPath, Output, report_skipped

if TYPE_CHECKING:
    from ..data.source import ImageSource
    from ..training.batches import ImageArray

_stored: dict[str, Any] = {}  # options of --preset, --config or the resumed run


def _stored_options() -> TrainConfig:
    return TrainConfig(**{name: value for name, value in _stored.items() if name != "data"})


@dataclass(frozen=True)
class TrainCommand:
    """Train a Flexi-UNet on images and a schedule.

    Example: ssd train --data photos/ --schedule schedule.json -o run --steps 20000

    On Ctrl-C, SIGTERM or --max-minutes it writes a checkpoint and stops; resume with
    ssd train --resume -o run

    On several GPUs: torchrun --nproc-per-node 8 -m ssd_models.cli train … (or accelerate launch).
    Run ssd prepare before, so that all processes share the same files; otherwise each process holds
    its own copy of the images.
    """

    data: OptionalData = field(default_factory=lambda: _stored.get("data"))
    schedule: File = "schedule.json"
    """Schedule to train on."""
    output: Output = "run"
    """Run directory to write; must be new unless --resume is given."""
    preset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="The paper's settings: celeba-64, celeba-128, celeba-256 or imagenet-64 (see "
            "--data for the images); --config and the options below override them.",
        ),
    ] = None
    config: OptionalPath = None
    """YAML file of the options below; the command line overrides it."""
    resume: bool = False
    """Resume from the last checkpoint, with the run's own schedule and options."""
    allow_drift: bool = False
    """Resume even if options or data differ from those of the checkpoint."""
    max_minutes: float | None = None
    """Write a checkpoint and stop after that many minutes of training."""
    resize: bool = False
    """Reduce square images that are larger than the schedule's resolution."""
    options: Annotated[TrainConfig, arg(name="training")] = field(default_factory=_stored_options)

    def run(self) -> None:
        """Run the command."""
        from theory.schedule.resolution import ResolutionSchedule
        from theory.support.files import check_new_folder

        self.options.check()
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise InputError(f"max_minutes {self.max_minutes}: must be positive")
        run, is_main = Path(self.output), process_index() == 0
        schedule = ResolutionSchedule.load(run / "schedule.json" if self.resume else self.schedule)
        if self.preset and not self.preset.endswith(f"-{schedule.resolution}"):
            raise InputError(
                f"preset {self.preset}: {self.schedule} has resolution {schedule.resolution}; "
                "derive a schedule of the preset's"
            )
        data = self.data or schedule.derivation.get("source")
        if not data:
            raise InputError(f"{self.schedule}: does not name its data; give them with --data")
        if not self.resume:
            check_new_folder(run)
        from ..data.class_labels import require_classes
        from ..data.opening import open_images
        from ..training.run_data import load_images

        source = open_images(
            str(data), schedule.resolution, limit=self.options.limit, seed=self.options.seed
        )
        if not (self.resume or self.resize or data == schedule.derivation.get("source")):
            _refuse_other_size(source, self.schedule)
        source, images, skipped = load_images(source, self.options, progress=is_main)
        if is_main:
            report_skipped(skipped, len(source))
            _note_copies(images, str(data))
        classes = None
        if self.options.class_conditional:
            classes = require_classes(source.classes(), len(source), str(data))
            counts = classes.counts
            shown = ", ".join(f"{name} ({n})" for name, n in list(counts.items())[:10])
            if is_main:
                print(f"{len(counts)} classes: {shown}{', …' if len(counts) > 10 else ''}")
        from ..training.stopping import exit_status
        from ..training.trainer import Trainer

        trainer = Trainer(
            images,
            schedule,
            run,
            self.options,
            str(data),
            self.resume,
            classes,
            source.names(),
            self.allow_drift,
        )
        reason = trainer.train(max_minutes=self.max_minutes)
        trainer.accelerator.end_training()
        if reason is not None:
            if is_main:
                print(f"{run}: stopped at step {trainer.step} ({reason}); go on with --resume")
            sys.exit(exit_status(reason))
        if is_main:
            best = trainer.checkpoints.best
            found = "" if best is None else f" (lowest validation loss: {best.name})"
            print(f"{run}: trained to step {trainer.step}{found}; try `ssd sample {run}`")


def overlay(arguments: list[str]) -> None:
    """Make options of --preset, --config and the run to resume the defaults of the command line."""
    _stored.clear()
    if not arguments or arguments[0] != "train":
        return
    given = dict(pairwise(arguments))
    given.update((a.split("=", 1)[0], a.split("=", 1)[1]) for a in arguments if "=" in a)
    if "--resume" in arguments:
        run = Path(given.get("-o") or given.get("--output") or "run")
        if not run.is_dir():
            raise InputError(f"{run}: no such run directory; leave out --resume to start one")
        _stored.update(read_config(run / CONFIG_FILE))
    if "--preset" in given:
        _stored.update(train_preset(given["--preset"]))
    if "--config" in given:
        _stored.update(read_config(given["--config"]))


def _note_copies(images: ImageArray, data: str) -> None:
    """Print a note if each of several processes holds its own copy of the images."""
    from ..data.arrays import MappedImages

    if num_processes() > 1 and not isinstance(images, MappedImages):
        size = len(images) * images[:1].nbytes
        print(
            f"ssd: note: each of {num_processes()} processes holds the images, {size / 1e9:.3g} "
            f"GB; prepare them once (ssd prepare {data} -o DIR), and all read the same files",
            file=sys.stderr,
        )


def _refuse_other_size(source: ImageSource, schedule: str) -> None:
    """Raise `InputError` for larger square images: probably the schedule is for other data."""
    from ..data.built_in import built_in
    from ..data.unusable import Unusable

    if built_in(source.name):
        return
    try:
        width, height = source.first_size()
    except Unusable:
        return  # reported when images are decoded
    # Images that are not square are cropped in any case.
    if width == height > source.resolution:
        raise InputError(
            f"{source.name}: images have {width} px, {schedule} has resolution "
            f"{source.resolution}; derive a schedule from their spectrum, or reduce them with "
            "--resize"
        )
