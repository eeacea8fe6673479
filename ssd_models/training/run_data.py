"""The images of a run directory, parted as the run parted them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from theory.errors import InputError
from theory.schedules import ResolutionSchedule

from ..data.opening import open_images
from .batches import ImageArray
from .config import CONFIG_FILE, TrainConfig, read_config
from .splits import held_out


@dataclass(frozen=True, eq=False)
class RunImages:
    """All images of a run and which of them it never saw."""

    name: str  # of the data
    images: ImageArray  # uint8 (N, R, R, C)
    out: np.ndarray  # (N,) bool

    @property
    def held_out(self) -> np.ndarray:
        """The held-out images, (M, R, R, C)."""
        return self.images[np.flatnonzero(self.out)]

    @property
    def training(self) -> np.ndarray:
        """The others."""
        return self.images[np.flatnonzero(~self.out)]


def run_images(run: str | os.PathLike[str], data: str | None = None) -> RunImages:
    """Open the data of a run, at its resolution.

    Parameters
    ----------
    run
        Run directory.
    data : str, optional
        Where the data are, if elsewhere than when it was trained.

    Raises
    ------
    InputError
        If it is no run directory, the data cannot be used, or none are held out.
    """
    folder = Path(run)
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{run}: is no run directory; train one with `ssd train`")
    stored = read_config(folder / CONFIG_FILE)
    where = str(data or stored.pop("data", ""))
    config = TrainConfig(**{name: value for name, value in stored.items() if name != "data"})
    schedule = ResolutionSchedule.load(folder / "schedule.json")
    source = open_images(where, schedule.resolution, limit=config.limit, seed=config.seed)
    out = held_out(source.names(), config.held_out)
    if not out.any():
        raise InputError(
            f"{run}: holds out none of the {len(out)} images of {where}; train with --held-out, or "
            f"evaluate {folder / 'model'} with --data"
        )
    return RunImages(where, source.random_access(progress=True), out)
