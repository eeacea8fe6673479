"""Training loop on accelerate, with one resolution path per step.

Stopping and resuming a run does not change its result: bit by bit on the CPUs of one machine, and
up to rounding on GPUs, whose kernels add in no fixed order, or on another number of processes with
the same images per step. All random numbers are functions of seed, step and images seen
(`batches`); a checkpoint stores the rest (`checkpoints`).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cached_property

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import gather_object

from theory.oracle.steps import last_step
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import SameImagesError, Spectrum
from theory.support.errors import InputError
from theory.support.files import check_new_folder, locked, new_folder, replaced_folder
from theory.support.paths import user_path
from theory.support.progress import progress_bar

from ..data.class_labels import Classes, require_classes
from ..data.opening import measured_spectrum
from ..diffusion.process import ScaleSpaceProcess
from ..distributed import check_all_found
from ..network.model_files import SCHEDULE_FILE
from ..sampling.model_directory import write_sampling
from ..sampling.pipeline import ScaleSpacePipeline
from .batches import Batches, ImageArray
from .building import build_unet
from .checkpoints import MODEL_FOLDER, Checkpoints, CheckpointState, check_identity
from .config import CONFIG_FILE, TrainConfig, write_config
from .failures import explained
from .learner import Learner
from .objective import DenoisingLoss, PathSampler
from .outlook import cost_line, due, time_line
from .run_log import METRICS_FILE, RunLog, read_metrics
from .splits import evenly_spread, held_out, names_digest
from .step_records import StepRecords
from .stopping import StopRequest
from .validation import Validation, ValidationLoss

_MEASURED = 16384  # most images for the model's spectrum
_AGREE_EVERY = 10  # steps after which several processes agree on whether to stop
_TIMED = 20  # steps after which the run's duration is estimated
_WAIT = timedelta(minutes=30)  # timeout for a process that validates, samples or writes


class Trainer:
    """Trains a `FlexiUNet` on images and a schedule, in a run directory.

    Parameters
    ----------
    images : (N, R, R, C) uint8 array
        In memory, or mapped from files (`ImageSource.random_access`).
    schedule : ResolutionSchedule
        Of resolution R.
    run : path
        The run directory; must be new unless ``resume``.
    config : TrainConfig
    data : str
        Name of the data, kept in ``config.yaml``.
    resume : bool
        Go on from the last checkpoint in ``run``, or from the start if there is none yet.
    classes : Classes, optional
        Classes of the images; required if ``config.class_conditional``, else ignored.
    names : sequence of N str, optional
        Names of the images, which determine the held-out split; by default their numbers.
    allow_drift : bool
        Resume even if options, data or schedule differ from those of the checkpoint.

    Raises
    ------
    InputError
        If images, classes and schedule do not fit, the run directory is in use or holds no run, or
        its checkpoint is damaged or of another configuration.
    """

    def __init__(
        self,
        images: ImageArray,
        schedule: ResolutionSchedule,
        run: str | os.PathLike[str],
        config: TrainConfig | None = None,
        data: str = "array",
        resume: bool = False,
        classes: Classes | None = None,
        names: list[str] | None = None,
        allow_drift: bool = False,
    ):
        config = config or TrainConfig()
        config.check()
        if len(images.shape) != 4 or images.shape[1:3] != (schedule.resolution,) * 2:
            raise InputError(
                f"images: have shape {images.shape}, the schedule needs "
                f"(N, {schedule.resolution}, {schedule.resolution}, C)"
            )
        if (kind := images[:1].dtype) != np.uint8:
            raise InputError(
                f"images: are {kind}, not uint8; give values of 0 to 255 (floats in [-1, 1] are "
                "converted by `ssd_models.data.opening.to_uint8`)"
            )
        last_step(schedule, config.last_snr)  # refused now, not after training
        self.classes = None
        if config.class_conditional:
            self.classes = require_classes(classes, len(images), data)
        self.images, self.schedule, self.data = images, schedule, data
        self.run, self.resumed = user_path(run), resume
        self.checkpoints = Checkpoints(self.run, config.keep)
        names = names or [f"image {i}" for i in range(len(images))]
        out = held_out(names, config.held_out)
        self.process = ScaleSpaceProcess(schedule)
        self.accelerator = Accelerator(
            mixed_precision="no",  # precision is `config.bf16`, whatever a launcher's configuration
            cpu=not torch.accelerator.is_available(),  # needed for several processes on CPUs
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=True),
                InitProcessGroupKwargs(timeout=_WAIT),
            ],
        )
        check_all_found(self.accelerator.num_processes)
        if (turns := self.accelerator.gradient_accumulation_steps) != 1:
            raise InputError(
                f"accelerate: is configured to accumulate gradients {turns} times, which would "
                f"only divide them; remove that and give --accumulate {turns}"
            )
        self.device, self.is_main = self.accelerator.device, self.accelerator.is_main_process
        if self.is_main and not resume:
            check_new_folder(self.run)
        self._from = self.checkpoints.last if resume else None
        state = self._state() if resume else None
        processes = self.accelerator.num_processes
        if state is not None and state["processes"] != processes:
            config = config.divided(state["identity"]["images_per_step"], processes)
        self.config = config
        num_classes = None if self.classes is None else len(self.classes.names)
        unet = build_unet(config, schedule, images.shape[-1], num_classes)
        self._trained = np.flatnonzero(~out)
        self.paths = PathSampler.of(config, schedule, lambda: self.spectrum)
        loss = DenoisingLoss.of(config, self.process, lambda: self.spectrum)
        self.learner = Learner(unet, config, self.accelerator, loss)
        self.batches = Batches(
            images,
            self._trained,
            self.classes,
            self.paths,
            config,
            self.accelerator.process_index,
            processes,
            pin_memory=self.device.type == "cuda",
        )
        labels = None if self.classes is None else self.classes.labels
        self.validation = Validation(images, np.flatnonzero(out), labels, self.paths, config, loss)
        self.identity = {
            **config.identity(),
            "images_per_step": config.images_per_step(processes),
            "data": f"{len(images)} images, names {names_digest(names)}",
            "schedule": schedule.digest,
        }
        self.validates = bool(self.validation.count and config.validate_every)
        self.step = self.images_seen = 0
        if state is not None:
            self._resume(state, allow_drift)
        self.accelerator.wait_for_everyone()  # before the run directory changes

    def train(self, progress: bool = True, max_minutes: float | None = None) -> str | None:
        """Train until ``config.steps``; write metrics, checkpoints, samples and the model.

        SIGTERM, SIGINT and the time limit stop it with a checkpoint: after the present step, or
        within ten steps of several processes.

        Parameters
        ----------
        progress : bool
            Show a progress bar on standard error.
        max_minutes : float, optional
            Time limit.

        Returns
        -------
        reason : str or None
            Why training stopped before the last step; None if it did not.

        Raises
        ------
        InputError
            If the loss is not finite or diverges, memory or disk are full, or another process of
            the run has died. Checkpoints are kept.
        """
        with (
            self._open_folder() if self.is_main else nullcontext(),
            closing(RunLog(self.run, self.step)) if self.is_main else nullcontext() as log,
            explained(self.checkpoints.advice, self.accelerator.num_processes),
            StopRequest(max_minutes) as stop,
        ):
            return self._loop(log, stop, progress and self.is_main)

    def pipeline(self) -> ScaleSpacePipeline:
        """Make a pipeline with the averaged weights."""
        names = None if self.classes is None else self.classes.names
        averaged, last_snr = self.learner.averaged, self.config.last_snr
        return ScaleSpacePipeline(averaged, self.schedule, self.spectrum, names, last_snr)

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """Spectrum of up to 16,384 training images, evenly spread; None if all are the same."""
        if len(self._trained) < 2:
            return None
        chosen = self._trained[evenly_spread(len(self._trained), _MEASURED)]
        try:
            spectrum = measured_spectrum(self.images, {"source": self.data}, chosen)
            return replace(spectrum, moments=None)
        except SameImagesError:
            return None

    def _loop(self, log: RunLog | None, stop: StopRequest, progress: bool) -> str | None:
        config = self.config
        if progress and config.steps - self.step > _TIMED:
            print(cost_line(self.learner.plain, self.batches), file=sys.stderr)
        records = StepRecords(self.accelerator)
        reason = None
        began, first = time.monotonic(), self.step
        bar = progress_bar(
            total=config.steps, initial=self.step, desc="train", unit="step", shown=progress
        )
        with bar, self.batches.from_step(self.step, self.images_seen) as following:
            while self.step < config.steps and reason is None:
                batches = next(following)
                path, images = batches[0].path, self.batches.size(batches[0].path)
                weight = self.paths.weight(path) if config.reweight_paths else 1.0
                records.add(path, self.learner.step(batches, self.batches, weight), weight, images)
                self.images_seen += images
                self.step += 1
                bar.update()
                if progress and self.step - first == _TIMED and self.step < config.steps:
                    seconds = (time.monotonic() - began) / _TIMED
                    bar.write(time_line(config, self.step, seconds), file=sys.stderr)
                reason = self._agreed(stop)
                last = self.step == config.steps
                validate = self.validates and due(self.step, config.validate_every, last)
                sample = due(self.step, config.sample_every, last)
                save = due(self.step, config.checkpoint_every, last or reason is not None)
                if not (due(self.step, config.log_every) or validate or sample or save):
                    continue
                entry = records.summary(self.step, self.checkpoints)
                shown = {"loss": entry["loss"], "images/s": entry["images_per_second"]}
                bar.set_postfix(
                    {name: f"{value:.3g}" for name, value in shown.items()}, refresh=False
                )
                if loss := self._validate() if validate else None:
                    entry["validation"] = {"mean": loss.mean, **loss.paths}
                if log:
                    rate = self.learner.learning_rate(self.step - 1)
                    log.write({"step": self.step, "learning_rate": rate, **entry})
                if save:
                    self._checkpoint(loss.mean if loss else None)
                if sample and log:
                    log.samples(self.pipeline(), self.step, config.seed, self.learner.bf16)
                records.restart_clock()  # excludes validation, samples and checkpoint
        if self.is_main and (checkpoint := self.checkpoints.last):
            with replaced_folder(self.run / MODEL_FOLDER) as aside:
                shutil.copytree(checkpoint / MODEL_FOLDER, aside, dirs_exist_ok=True)
                write_sampling(aside, config.last_snr)  # may differ in a resumed run
        return reason if self.step < config.steps else None

    def _agreed(self, stop: StopRequest) -> str | None:
        """Reason to stop, the same on all processes; None to go on."""
        if self.accelerator.num_processes == 1:
            return stop.reason
        if self.step % _AGREE_EVERY:
            return None
        return next((reason for reason in gather_object([stop.reason]) if reason), None)

    @contextmanager
    def _open_folder(self) -> Iterator[None]:
        """Create or update the run directory, and lock it against other processes."""
        if not self.resumed:
            with new_folder(self.run) as aside:  # complete or absent
                (aside / self.checkpoints.folder.name).mkdir()
                write_config(aside / CONFIG_FILE, self.config, self.data)
                self.schedule.save(aside / SCHEDULE_FILE)
        with locked(self.run):
            if self.resumed:
                if self.checkpoints.last != self._from:
                    raise InputError(
                        f"{self.run}: was trained on by another process meanwhile; resume again"
                    )
                read_metrics(self.run / METRICS_FILE)  # refused before anything is written
                write_config(self.run / CONFIG_FILE, self.config, self.data)
            yield

    def _validate(self) -> ValidationLoss:
        index, count = self.accelerator.process_index, self.accelerator.num_processes
        part = self.validation.sums(
            self.learner.averaged, self.device, self.learner.bf16, index, count
        )
        sums = torch.stack(gather_object([part])).sum(dim=0)
        return self.validation.loss(sums)

    def _checkpoint(self, validation: float | None) -> None:
        if self.is_main:
            state: CheckpointState = {
                "step": self.step,
                "images_seen": self.images_seen,
                "processes": self.accelerator.num_processes,
                "validation": validation,
                "identity": self.identity,
            }
            averaged = self.pipeline()
            self.checkpoints.write(
                self.step, lambda folder: self.learner.save(folder, averaged), state
            )
        self.accelerator.wait_for_everyone()

    def _state(self) -> CheckpointState | None:
        """State of the last checkpoint; None if the run has none yet."""
        if not (self.run / CONFIG_FILE).is_file():
            raise InputError(f"{self.run}: holds no run to resume; leave out --resume to start one")
        return None if self._from is None else self.checkpoints.read_state(self._from)

    def _resume(self, state: CheckpointState, allow_drift: bool) -> None:
        checkpoint = self._from
        assert checkpoint is not None
        if not allow_drift:
            check_identity(checkpoint, state["identity"], self.identity)
        try:
            self.learner.load(checkpoint)
        except Exception as error:  # damaged files raise exceptions of many types
            raise self.checkpoints.damaged(checkpoint, error) from error
        self.step, self.images_seen = state["step"], state["images_seen"]
