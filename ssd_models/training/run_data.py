"""The images of a run directory, parted as the run parted them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError
from theory.support.paths import user_path

from ..data.opening import open_images
from ..data.source import ImageSource
from ..data.unusable import Skipped
from .batches import ImageArray
from .config import CONFIG_FILE, TrainConfig, read_config
from .splits import held_out

LEAST_HELD_OUT = 10  # images that errors are measured on


@dataclass(frozen=True, eq=False)
class RunImages:
    """All images of a run and which of them it never saw."""

    run: str
    name: str  # of the data
    images: ImageArray  # uint8 (N, R, R, C)
    out: np.ndarray  # (N,) bool

    @property
    def held_out(self) -> np.ndarray:
        """The held-out images, (M, R, R, C)."""
        return self.images[np.flatnonzero(self.out)]

    def lacking(self) -> str | None:
        """Why nothing can be measured on held-out images, and what to do; None if it can."""
        if (count := int(self.out.sum())) >= LEAST_HELD_OUT:
            return None
        return (
            f"{self.run}: holds out {count or 'none'} of the {len(self.out)} images of "
            f"{self.name}, measuring on them needs {LEAST_HELD_OUT}; train with a larger --held-out"
        )

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
        If it is no run directory, or the data cannot be used.
    """
    folder = user_path(run)
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{run}: is no run directory; train one with `ssd train`")
    stored = read_config(folder / CONFIG_FILE)
    where = str(data or stored.pop("data", ""))
    config = TrainConfig(**{name: value for name, value in stored.items() if name != "data"})
    schedule = ResolutionSchedule.load(folder / "schedule.json")
    source = open_images(where, schedule.resolution, limit=config.limit, seed=config.seed)
    source, images, _ = load_images(source, config, progress=True)
    return RunImages(str(run), where, images, held_out(source.names(), config.held_out))


def load_images(
    source: ImageSource, config: TrainConfig, progress: bool
) -> tuple[ImageSource, ImageArray, list[Skipped]]:
    """Images that a run of ``config`` uses: their source, themselves, and those left out."""
    skipped: list[Skipped] | None = [] if config.skip_bad else None
    images = source.random_access(progress=progress, skipped=skipped)
    return source.without(skipped or []), images, skipped or []
