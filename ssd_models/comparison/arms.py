"""Training of all arms of a comparison, milestone by milestone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from theory.oracle.sampler import Sampler
from theory.oracle.steps import last_step
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError
from theory.support.files import atomic_path, replaced_folder

from ..bench.schedules import PathSize
from ..data.opening import measured_spectrum
from ..data.source import ImageSource
from ..diffusion.process import ScaleSpaceProcess
from ..network.model_files import SCHEDULE_FILE
from ..sampling.methods import choose_method
from ..training.checkpoints import check_identity
from ..training.config import CONFIG_FILE, TrainConfig, read_config
from ..training.run_data import LEAST_HELD_OUT
from ..training.splits import held_out
from ..training.trainer import Trainer
from .config import ComparisonConfig
from .costs import arm_costs, flops_per_step, sampling_calls

SPECTRUM_FILE = "spectrum.npz"
_IDENTITY_FILE = "comparison.yaml"


@dataclass(frozen=True)
class Stage:
    """The network of an arm and seed at a milestone."""

    arm: str
    seed: int
    step: int  # optimizer steps of this arm
    milestone: int  # optimizer steps of the first arm

    @property
    def name(self) -> str:
        """Name in file names and messages."""
        return f"{self.arm}-seed{self.seed}-step{self.step}"


class Comparison:
    """A comparison in a folder: one run per arm and seed, one model per stage.

    Parameters
    ----------
    config : ComparisonConfig
    source : ImageSource
        Images of the configured resolution.
    folder : Path
        New or empty, or the folder of the same comparison, which is then resumed.
    only : sequence of str, optional
        Arms to train and evaluate; all by default. Several processes can share a folder this way.

    Raises
    ------
    InputError
        If the folder holds anything else, an arm is unknown, or images cannot be used.
    """

    def __init__(
        self,
        config: ComparisonConfig,
        source: ImageSource,
        folder: Path,
        only: Sequence[str] = (),
    ):
        if unknown := sorted(set(only) - set(config.arms)):
            raise InputError(f"arms {unknown}: the comparison has {', '.join(config.arms)}")
        self.only = tuple(only) or tuple(config.arms)
        self.config, self.folder, self.data = config, folder, source.name
        self._check_folder()
        self.images = source.random_access(progress=True)
        self.names = source.names()
        self.spectrum = self._spectrum()
        self.schedules: dict[str, ResolutionSchedule] = {}
        for arm, spec in config.arms.items():
            try:
                self.schedules[arm] = config.schedule(arm, self.spectrum)
                last_step(self.schedules[arm], spec.last_snr)  # refused now, not after training
                self._check_sampler(arm)
            except InputError as error:
                raise InputError(f"arm {arm}: {error}") from None
        for arm in config.arms:
            owner = config.network(arm)
            if self.schedules[arm].digest != self.schedules[owner].digest:
                raise InputError(
                    f"arm {arm}: network {owner!r}: was trained on another schedule; give the same "
                    "options of the schedule, or leave out network"
                )
        if any(config.calls.values()):
            self._check_held_out()
        self.stopped: str | None = None  # why the last training stopped early
        self._costs: dict[str, dict[str, Any]] = {}  # by arm

    def stages(self) -> Iterator[Stage]:
        """All stages of the chosen arms in the order in which they are trained."""
        for milestone in self.config.milestones:
            for seed in self.config.seeds:
                for arm in self.only:
                    yield self.stage(arm, seed, milestone)

    def stage(self, arm: str, seed: int, milestone: int) -> Stage:
        """Stage at a milestone; with ``equal: cost`` its training FLOP equal the first arm's."""
        if self.config.equal == "images":
            return Stage(arm, seed, milestone, milestone)
        names = next(iter(self.config.arms)), arm
        first, own = (flops_per_step(self.costs(name)) for name in names)
        return Stage(arm, seed, round(milestone * first / own), milestone)

    def chains(self, arm: str) -> dict[str, dict[PathSize, int]]:
        """Calls on each path of an arm's chains, by the number of calls."""
        schedule, last_snr = self.schedules[arm], self.config.arms[arm].last_snr
        return {str(n): sampling_calls(schedule, n, last_snr) for n in self.config.calls}

    def training(self, arm: str) -> TrainConfig:
        """Training options of an arm's first seed up to the last milestone."""
        return self.config.train_config(arm, self.config.seeds[0], self.config.milestones[-1])

    def costs(self, arm: str) -> dict[str, Any]:
        """`arm_costs` of an arm, counted once."""
        if arm not in self._costs:
            self._costs[arm] = arm_costs(
                self.schedules[arm], self.training(arm), self.spectrum, self.chains(arm)
            )
        return self._costs[arm]

    def model(self, stage: Stage) -> Path:
        """Model directory of a stage; that of another arm if the arm uses its network."""
        network = self.config.network(stage.arm)
        return self.folder / "models" / replace(stage, arm=network).name

    def train(self, stage: Stage, max_minutes: float | None = None) -> str | None:
        """Train up to a stage if its model is missing.

        Returns
        -------
        str or None
            Reason if training stopped before the stage.
        """
        network = self.config.network(stage.arm)
        run = self.folder / "runs" / f"{network}-seed{stage.seed}"
        if self.model(stage).is_dir():
            self._check_run(network, stage.seed, run)
            return None
        if network != stage.arm:
            raise InputError(f"arm {stage.arm}: train the arm {network} first")
        trainer = Trainer(
            self.images,
            self.schedules[stage.arm],
            run,
            self.config.train_config(stage.arm, stage.seed, stage.step),
            self.data,
            resume=(run / CONFIG_FILE).is_file(),
            names=self.names,
        )
        if trainer.step > stage.step:
            raise InputError(
                f"{run}: is at step {trainer.step} and cannot go back to {stage.step}; leave out "
                f"the milestone {stage.milestone}, or choose another folder"
            )
        reason = trainer.train(max_minutes=max_minutes)
        if reason is None:
            self.model(stage).parent.mkdir(exist_ok=True)
            with replaced_folder(self.model(stage)) as aside:
                shutil.copytree(run / "model", aside, dirs_exist_ok=True)
        return reason

    def _check_run(self, arm: str, seed: int, run: Path) -> None:
        """Raise `InputError` if an arm was trained with other options or another schedule."""
        if not (run / CONFIG_FILE).is_file():
            return
        options = read_config(run / CONFIG_FILE)
        options.pop("data", None)
        stored = TrainConfig(**options)
        schedule = ResolutionSchedule.load(run / SCHEDULE_FILE)
        check_identity(
            run,
            {**stored.identity(), "schedule": schedule.digest},
            {
                **self.config.train_config(arm, seed, stored.steps).identity(),
                "schedule": self.schedules[arm].digest,
            },
            "give the same ones, or choose another folder",
        )

    def train_all(self, max_minutes: float | None = None) -> Iterator[Stage]:
        """Train missing stages and yield every stage in order, until the time is used up."""
        started = time.monotonic()
        for stage in self.stages():
            left = None
            if max_minutes is not None:
                left = max_minutes - (time.monotonic() - started) / 60
                if left <= 0 and not self.model(stage).is_dir():
                    return
            self.stopped = self.train(stage, left)
            if self.stopped is not None:
                return
            yield stage

    def _check_sampler(self, arm: str) -> None:
        """Raise `InputError` if an arm's sampler does not fit its schedule."""
        spec, schedule = self.config.arms[arm], self.schedules[arm]
        if any(count and n < schedule.num_steps for n, count in self.config.calls.items()):
            name, options = spec.sampler or self.config.sampler, Sampler(changes=spec.changes)
            choose_method(name, options, ScaleSpaceProcess(schedule), self.spectrum)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Which images are held out, by all arms alike, (N,) bool."""
        return held_out(self.names, self.training(next(iter(self.config.arms))).held_out)

    def _check_held_out(self) -> None:
        if (count := int(self.held_out.sum())) < LEAST_HELD_OUT:
            raise InputError(
                f"{self.data}: {count} of {len(self.names)} images are held out, evaluation needs "
                f"{LEAST_HELD_OUT}; give a larger held_out in train, or more images"
            )

    def _spectrum(self) -> Spectrum:
        path = self.folder / SPECTRUM_FILE
        if not path.exists():
            measured_spectrum(self.images, {"source": self.data}).save(path)
        spectrum = Spectrum.load(path)
        if spectrum.count != len(self.images):
            raise InputError(
                f"{self.folder}: was begun on {spectrum.count} images, {self.data} has "
                f"{len(self.images)}; give the same data or another folder"
            )
        return spectrum

    def _check_folder(self) -> None:
        path = self.folder / _IDENTITY_FILE
        identity = {**self.config.identity(), "data": Path(self.data).name}
        text = yaml.safe_dump(identity, sort_keys=False)
        if path.is_file():
            if yaml.safe_load(path.read_text(encoding="utf-8")) != yaml.safe_load(text):
                raise InputError(
                    f"{self.folder}: holds another comparison ({path.name} differs); choose "
                    "another folder"
                )
            return
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputError(f"{self.folder}: exists and is not empty; choose another folder")
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
