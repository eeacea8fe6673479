"""Configuration of a training run: defaults, presets and YAML files."""

from __future__ import annotations

import math
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from theory.support.errors import InputError, reason
from theory.support.files import atomic_path
from theory.support.seeds import check_seed

from ..network.model_files import CONFIG_FILE as CONFIG_FILE
from .densities import DENSITIES
from .trackers import TrackerName, check_trackers
from .weights import WEIGHTS


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run."""

    network: str = "small"  # channel widths: small (for CPUs) or paper
    base_channels: int | None = None  # channels of multiplier 1; None: of the network
    time_input: Literal["step", "logsnr"] = "step"  # noise level as input of the network
    class_conditional: bool = False  # train on the data's classes (folders, labels of an archive)
    class_dropout: float = 0.1  # fraction of images without their class, for guidance
    steps: int = 20_000  # optimizer steps
    batch_size: int = 32  # images per batch and process
    accumulate: int = 1  # batches per optimizer step, whose gradients are accumulated
    constant_pixels: bool = False  # larger batches of small states, up to 16 times
    learning_rate: float = 2e-4  # AdamW
    weight_decay: float = 0.0  # AdamW
    warmup_steps: int = 100  # of linear warm-up of the learning rate
    cosine_decay: bool = False  # of the learning rate, to zero at the end
    gradient_clip: float = 1.0  # largest gradient norm
    ema_decay: float = 0.9999  # of averaged weights; at step n at most (1 + n) / (10 + n)
    last_snr: float | None = None  # chains end at it, as `ssd sample --last-snr`; None: last step
    preconditioning: Literal["none", "linear"] = "none"  # linear: output added to a Wiener filter
    loss_weight: Literal["min-snr", "relative"] = (
        "min-snr"  # relative: one over a Wiener filter's error
    )
    snr_clip: float = 5.0  # of min-snr: weight floor + min(snr of the full resolution, clip)
    snr_floor: float = 0.0  # of min-snr: smallest weight, of very noisy states; 4 in EDM
    change_fraction: float = 0.05  # fraction of batches at changes that need a network call
    density: Literal["steps", "pixels", "mixed", "information"] = (
        "steps"  # how often each step is drawn; information: by bits and cost
    )
    reweight_paths: bool = True  # weigh changes and levels by their share of the steps
    bf16: bool | None = None  # bfloat16 autocast; None: where the processor supports it
    compile: bool | None = None  # torch.compile, one graph per path; None: on GPUs
    gradient_checkpointing: bool = False  # less memory, for a second forward pass
    limit: int | None = None  # use only that many images
    skip_bad: bool = False  # leave out unusable images, and list them
    held_out: float = 0.02  # fraction of images for validation only
    seed: int = 0  # of weights, images, steps and noise
    log_every: int = 50  # steps between lines of metrics.jsonl
    log_with: tuple[TrackerName, ...] = ()  # trackers besides TensorBoard
    validate_every: int = 2000  # steps between validation losses; 0: never
    sample_every: int = 0  # steps between grids of samples; 0: at the end
    checkpoint_every: int = 2000  # steps between checkpoints
    keep: int = 2  # latest checkpoints to keep, besides the best

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_with", tuple(self.log_with))  # a list in YAML

    def check(self) -> None:
        """Raise `InputError` if a value is out of range or a tracker is not installed."""
        positive = ("steps", "batch_size", "accumulate", "learning_rate", "gradient_clip")
        for name in (*positive, "snr_clip", "log_every", "checkpoint_every", "keep"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: must be positive")
        for name in ("ema_decay", "change_fraction", "class_dropout", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: must lie in [0, 1)")
        for name in ("base_channels", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} {value}: must be positive")
        choices = {
            "time_input": ("step", "logsnr"),
            "density": tuple(DENSITIES),
            "loss_weight": tuple(WEIGHTS),
            "preconditioning": ("none", "linear"),
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name} {value!r}: choose from {', '.join(allowed)}")
        check_seed(self.seed)
        check_trackers(self.log_with)
        free = ("warmup_steps", "weight_decay", "validate_every", "sample_every", "snr_floor")
        for name in free:
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: must not be negative")

    def identity(self) -> dict[str, Any]:
        """Fields that must be the same when a run is resumed."""
        free = {
            "accumulate",  # and batch_size: compared as images per step
            "batch_size",
            "checkpoint_every",
            "compile",
            "gradient_checkpointing",
            "keep",
            "last_snr",  # of sampling only
            "limit",  # the data are compared instead
            "log_every",
            "log_with",
            "sample_every",
            "skip_bad",  # as for limit
            "validate_every",
        }
        if not self.cosine_decay:
            free.add("steps")
        return {name: value for name, value in asdict(self).items() if name not in free}

    def images_per_step(self, processes: int) -> int:
        """Size of the global batch on a path at full resolution."""
        return self.batch_size * self.accumulate * processes

    def divided(self, images_per_step: int, processes: int) -> TrainConfig:
        """Copy with a given number of images per step on another number of processes.

        The batch size is kept if it divides the share of a process, which is one batch otherwise.
        If the number of processes does not divide the images the configuration is unchanged.
        """
        part, rest = divmod(images_per_step, processes)
        if rest:
            return self
        if part % self.batch_size:
            return replace(self, batch_size=part, accumulate=1)
        return replace(self, accumulate=part // self.batch_size)


# The paper's settings. Options that it does not have (change_fraction, gradient_clip) are default.
_PAPER: dict[str, Any] = {
    "network": "paper",
    "batch_size": 32,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "warmup_steps": 0,
    "ema_decay": 0.9999,
    "snr_clip": 5.0,
}
TRAIN_PRESETS: dict[str, dict[str, Any]] = {
    "celeba-64": {**_PAPER, "steps": 1_000_000},
    "celeba-128": {**_PAPER, "steps": 300_000},
    "celeba-256": {**_PAPER, "steps": 300_000},
    "imagenet-64": {**_PAPER, "steps": 1_000_000},
}


def train_preset(name: str) -> dict[str, Any]:
    """Return the fields of `TrainConfig` that a preset sets.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in TRAIN_PRESETS:
        raise InputError(f"preset {name!r}: choose from {', '.join(TRAIN_PRESETS)}")
    return dict(TRAIN_PRESETS[name])


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of `TrainConfig` fields (and ``data``); check their names and types.

    Raises `InputError` if the file cannot be read, or a field is unknown or of another type.
    """
    content = read_yaml(path)
    fields = {name: value for name, value in content.items() if name != "data"}
    check_fields(TrainConfig, fields, str(path), "see `ssd train --help`")
    return content


class _Loader(yaml.SafeLoader):
    """Loader that reads ``1e-4`` as a number, as in YAML 1.2; PyYAML needs ``1.0e-4``."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of ``name: value`` lines; raise `InputError` if it is not one."""
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such configuration file; give the path of a YAML file"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates, encoding
        raise InputError(f"{path}: is not YAML ({reason(error)})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold `name: value` lines")
    return content


def check_fields(kind: type, content: Any, where: str, remedy: str) -> None:
    """Check that a value read from YAML is a mapping with fields of a dataclass.

    Supported types: simple ones, ``X | None``, literals, dictionaries, and ``tuple[X, ...]`` as a
    list.

    Parameters
    ----------
    kind : type
        The dataclass.
    content : object
        Value to check.
    where : str
        Name of the file, for the message.
    remedy : str
        Advice for an unknown field, for the message.

    Raises
    ------
    InputError
        If it is no mapping, or a field is unknown or of another type.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where}: must hold `name: value` lines")
    hints = get_type_hints(kind)
    for name, value in content.items():
        if name not in hints:
            raise InputError(f"{where}: unknown option {name!r}; {remedy}")
        if not _fits(value, hints[name]):
            raise InputError(f"{where}: {name} cannot be {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (UnionType, Union):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(one, get_args(hint)[0]) for one in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict)
    allowed = (float, int) if hint is float else (hint,)
    return isinstance(value, allowed) and not (isinstance(value, bool) and bool not in allowed)


def write_config(path: str | os.PathLike[str], config: TrainConfig, data: str) -> None:
    """Write a YAML file for `read_config`."""
    with atomic_path(path) as temporary:
        content = yaml.safe_dump({"data": data, **asdict(config)}, sort_keys=False)
        temporary.write_text(content, encoding="utf-8")
