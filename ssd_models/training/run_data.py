"""Images of a run directory, split into training and held-out images as in the run."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError
from theory.support.paths import user_path

from ..data.arrays import MappedImages
from ..data.opening import open_images
from ..data.source import ImageSource
from ..data.unusable import Skipped
from .config import CONFIG_FILE, TrainConfig, read_config
from .splits import held_out

LEAST_HELD_OUT = 10  # fewest held-out images to measure on


@dataclass(frozen=True, eq=False)
class RunImages:
    """Images of a run, and which of them are held out."""

    run: str  # directory
    name: str  # of the data
    images: MappedImages  # (N, R, R, C)
    out: np.ndarray  # (N,) bool, True for held-out images

    @property
    def held_out(self) -> np.ndarray:
        """Held-out images, (M, R, R, C)."""
        return self.images[np.flatnonzero(self.out)]

    def lacking(self) -> str | None:
        """Message if there are too few held-out images to measure on; None if there are enough."""
        if (count := int(self.out.sum())) >= LEAST_HELD_OUT:
            return None
        return (
            f"{self.run}: holds out {count or 'none'} of the {len(self.out)} images of "
            f"{self.name}, but measuring needs {LEAST_HELD_OUT}; train with a larger --held-out"
        )

    @property
    def training(self) -> MappedImages:
        """Training images, (N − M, R, R, C); not copied, as they may be more than memory holds."""
        return self.images.subset(np.flatnonzero(~self.out))


def run_images(run: str | os.PathLike[str], data: str | None = None) -> RunImages:
    """Open the data of a run at its resolution.

    Parameters
    ----------
    run : path
        Run directory.
    data : str, optional
        Path or name of the data; by default as stored in the run.

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
    if not isinstance(images, MappedImages):
        images = MappedImages(images, range(len(images)))
    return RunImages(str(run), where, images, held_out(source.names(), config.held_out))


def load_images(
    source: ImageSource, config: TrainConfig, progress: bool
) -> tuple[ImageSource, MappedImages | np.ndarray, list[Skipped]]:
    """Load the images of a run: their source, the images themselves, and those skipped."""
    skipped: list[Skipped] | None = [] if config.skip_bad else None
    images = source.random_access(progress=progress, skipped=skipped)
    return source.without(skipped or []), images, skipped or []
