"""Configuration of a comparison, read from YAML."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from theory.images.operators import check_operator
from theory.oracle.predictions import with_predictions
from theory.schedule.derivation import CRITERIA, derive_schedule
from theory.schedule.noise import NoiseSchedule
from theory.schedule.paper import PAPER
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from ..metrics.efficientnet import check_efficientnet
from ..metrics.evaluation import LEAST
from ..metrics.scattering import num_scales
from ..sampling.methods import METHODS
from ..training.config import TrainConfig, check_fields, read_yaml

_REMEDY = "see results/faces32.yaml for one that works"
# Options of `TrainConfig` that a comparison sets itself, or that would change its images.
_NOT_FOR_COMPARISONS = ("steps", "seed", "limit", "skip_bad", "class_conditional", "last_snr")


@dataclass(frozen=True)
class Arm:
    """One arm: a schedule, and training options that differ from the comparison's."""

    label: str  # in tables
    schedule: Literal["full", "paper", "derived"]
    levels: tuple[int, ...] | None = None  # by default the comparison's
    name: str = PAPER  # with schedule "paper"
    noise: Literal["matched", "paper"] = "matched"
    criterion: str = "snr"
    tolerance: float | None = None  # by default the criterion's
    smoothness: float = 2.0  # with "water-filling"
    network: str | None = None  # arm whose network is used with this arm's sampler
    sampler: str | None = None  # by default the comparison's
    changes: Literal["network", "corrected", "free"] | None = None  # at changes of resolution
    largest_snr: float | None = None  # of the schedule, by default that of the noise
    last_snr: float | None = None  # where chains end; by default at the schedule's last step
    train: dict[str, Any] = field(default_factory=dict)  # options of `TrainConfig`


@dataclass(frozen=True)
class ComparisonConfig:
    """Options of a comparison; arms differ only in their schedules unless they override options."""

    resolution: int
    levels: tuple[int, ...]
    milestones: tuple[int, ...]  # optimizer steps of the first arm
    arms: dict[str, Arm]
    calls: dict[int, int]  # {network calls: images to evaluate}
    operator: str = "dct"
    base: Literal["linear", "cosine", "spectrum"] = "linear"
    diffusion_steps: int = 1000
    equal: Literal["images", "cost"] = "images"  # equal for all arms at a milestone: steps, or FLOP
    sampler: str | None = None  # by default the pipeline's choice
    seeds: tuple[int, ...] = (0,)
    train: dict[str, Any] = field(default_factory=dict)  # options of `TrainConfig` for all arms
    features: bool = False  # add distances of EfficientNet features (extra `features`)
    errors: bool = True  # add errors and information on held-out images

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ComparisonConfig:
        """Read and check a YAML file; `InputError` if it is not valid."""
        content, where = read_yaml(path), str(path)
        check_fields(cls, content, where, _REMEDY)
        missing = [
            n for n in ("resolution", "levels", "milestones", "arms", "calls") if not content.get(n)
        ]
        if missing:
            raise InputError(f"{where}: lacks {', '.join(missing)}; {_REMEDY}")
        arms = {}
        for name, arm in content["arms"].items():
            check_fields(Arm, arm, f"{where}: arm {name}", _REMEDY)
            if "schedule" not in arm:
                raise InputError(f"{where}: arm {name}: lacks its schedule; {_REMEDY}")
            arms[str(name)] = Arm(**{"label": str(name), **_with_tuples(arm)})
        config = cls(**{**_with_tuples(content), "arms": arms})
        config._check(where)
        return config

    def _check(self, where: str) -> None:
        if list(self.milestones) != sorted(set(self.milestones)) or self.milestones[0] < 1:
            raise InputError(
                f"{where}: milestones {list(self.milestones)}: must rise from 1 or more"
            )
        for calls, count in self.calls.items():
            if type(calls) is not int or type(count) is not int or calls < 1 or count < 0:
                raise InputError(f"{where}: calls {self.calls}: needs `number: images` entries")
            if 0 < count < LEAST:
                raise InputError(f"{where}: calls {self.calls}: evaluation needs {LEAST} images")
        if any(self.calls.values()):
            try:
                num_scales(self.resolution)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
        if not self.seeds:
            raise InputError(f"{where}: seeds: needs at least one")
        try:
            check_operator(self.operator)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        for chosen in (self.sampler, *(arm.sampler for arm in self.arms.values())):
            if chosen is not None and chosen not in METHODS:
                raise InputError(f"{where}: sampler {chosen!r}: choose from {', '.join(METHODS)}")
        for name, arm in self.arms.items():
            if arm.criterion not in CRITERIA:
                raise InputError(
                    f"{where}: arm {name}: criterion {arm.criterion!r} is unknown; "
                    f"choose from {', '.join(CRITERIA)}"
                )
        check_fields(TrainConfig, self.train, where, "see `ssd train --help`")
        for options in (self.train, *(arm.train for arm in self.arms.values())):
            if wrong := sorted(set(options) & set(_NOT_FOR_COMPARISONS)):
                raise InputError(f"{where}: train: {', '.join(wrong)} cannot be set in comparisons")
        for name, arm in self.arms.items():
            self._check_arm(name, arm, f"{where}: arm {name}")
        if self.features:
            check_efficientnet()

    def _check_arm(self, name: str, arm: Arm, where: str) -> None:
        """Check the training options of an arm, and the network that it uses."""
        check_fields(TrainConfig, arm.train, where, "see `ssd train --help`")
        if "held_out" in arm.train:
            raise InputError(f"{where}: train: held_out must be the same for all arms")
        if arm.network is not None:
            if arm.network not in self.arms or self.arms[arm.network].network is not None:
                raise InputError(f"{where}: network {arm.network!r}: is no arm with a network")
            if arm.train:
                raise InputError(f"{where}: train: the network is that of the arm {arm.network}")
        for seed in self.seeds:
            try:
                config = self.train_config(name, seed, self.milestones[-1])
                config.check()
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
        if config.cosine_decay and len(self.milestones) > 1:
            raise InputError(
                f"{where}: cosine_decay: the learning rate depends on the last step; give one "
                "milestone"
            )

    def train_config(self, arm: str, seed: int, steps: int) -> TrainConfig:
        """Training options of an arm's network up to ``steps``, the step of a stage."""
        own = self.arms[self.network(arm)]
        config = TrainConfig(**{**self.train, **own.train})
        return replace(config, seed=seed, steps=steps, last_snr=own.last_snr)

    def network(self, arm: str) -> str:
        """Name of the arm whose network an arm uses: its own, or another's."""
        return self.arms[arm].network or arm

    def schedule(self, arm: str, spectrum: Spectrum) -> ResolutionSchedule:
        """Schedule of an arm for data of a spectrum, with predicted cost and error."""
        spec = self.arms[arm]
        noise = NoiseSchedule.named(self.base, self.diffusion_steps, spectrum)
        if spec.largest_snr is not None:
            noise = noise.below(spec.largest_snr)
        levels = spec.levels or self.levels
        if spec.schedule == "full":
            schedule = ResolutionSchedule.full_resolution(self.resolution, noise)
        elif spec.schedule == "paper":
            schedule = ResolutionSchedule.paper(
                self.resolution, len(levels), spec.name, noise, spec.noise, self.operator
            )
        else:
            schedule = derive_schedule(
                spectrum,
                noise,
                levels,
                spec.criterion,
                spec.tolerance,
                spec.smoothness,
                spec.noise,
                self.operator,
            )
        return with_predictions(schedule, spectrum)

    def identity(self) -> dict[str, Any]:
        """Options that must not change while a comparison is resumed."""
        free = ("milestones", "equal", "seeds", "arms", "calls", "features")
        return {name: value for name, value in asdict(self).items() if name not in free}


def _with_tuples(content: dict[str, Any]) -> dict[str, Any]:
    """Options read from YAML with tuples in place of lists."""
    return {n: tuple(value) if isinstance(value, list) else value for n, value in content.items()}
