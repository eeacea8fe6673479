"""Configuration of a training run: defaults, YAML overlay, and what the run directory keeps."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from theory.errors import InputError
from theory.files import atomic_path


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run."""

    network: str = "small"  # widths: small (for CPUs) or paper; the resolution does the rest
    base_channels: int | None = None  # channels of multiplier 1, in place of the network's own
    time_input: Literal["step", "logsnr"] = "step"  # what the network is told of the noise
    class_conditional: bool = False  # learn the data's classes (folders, labels of an archive)
    class_dropout: float = 0.1  # share of images trained without their class, for guidance
    steps: int = 20_000  # optimizer steps
    batch_size: int = 32  # images in a step, per process
    learning_rate: float = 2e-4  # AdamW
    weight_decay: float = 0.0  # AdamW
    warmup_steps: int = 100  # of the learning rate, linear
    cosine_decay: bool = False  # of the learning rate, to zero at the last step
    gradient_clip: float = 1.0  # largest gradient norm
    ema_decay: float = 0.9999  # reached as min(decay, (1 + n) / (10 + n))
    snr_clip: float = 5.0  # loss weight min(snr of the full resolution, clip)
    change_fraction: float = 0.05  # share of batches at the steps that change resolution
    reweight_changes: bool = False  # weigh those back to their share of the steps
    bf16: bool | None = None  # bfloat16 autocast; None: where the processor computes in it
    compile: bool | None = None  # torch.compile, one graph a path; None: on GPUs
    gradient_checkpointing: bool = False  # less memory, a second forward pass
    limit: int | None = None  # train on that many images only
    seed: int = 0  # of weights, images, steps and noise
    log_every: int = 50  # steps between lines of metrics.jsonl
    checkpoint_every: int = 2000  # steps

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "learning_rate", "gradient_clip", "snr_clip")
        for name in (*positive, "log_every", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}: must be positive")
        for name in ("ema_decay", "change_fraction", "class_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: must lie in [0, 1)")
        if self.time_input not in ("step", "logsnr"):
            raise InputError(f"time_input {self.time_input!r}: choose from step, logsnr")
        if self.seed < 0 or self.warmup_steps < 0 or self.weight_decay < 0:
            raise InputError("seed, warmup_steps, weight_decay: must not be negative")


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of `TrainConfig` fields (and ``data``), checked by name and type."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold `name: value` lines")
    hints = get_type_hints(TrainConfig)
    for name, value in content.items():
        if name == "data":
            continue
        if name not in hints:
            raise InputError(f"{path}: unknown option {name!r}; see `ssd train --help`")
        if get_origin(hints[name]) is Literal:
            if value not in get_args(hints[name]):
                raise InputError(f"{path}: {name} cannot be {value!r}")
            continue
        allowed = get_args(hints[name]) or (hints[name],)
        allowed = (*allowed, int) if float in allowed else allowed
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise InputError(f"{path}: {name} cannot be {value!r}")
    return content


def write_config(path: str | os.PathLike[str], config: TrainConfig, data: str) -> None:
    """Write what `read_config` reads."""
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump({"data": data, **asdict(config)}, sort_keys=False))
