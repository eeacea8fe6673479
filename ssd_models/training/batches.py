"""Batches of a training run: the images, steps and noise of each process at each step.

All random numbers are functions of the seed, the step and an image's position in the global batch
(over all processes and accumulated batches). A run therefore resumes exactly from its step and its
number of images seen; two processes draw what one with twice the batch would; and all processes
take the same path.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..data.class_labels import Classes
from .config import TrainConfig
from .objective import PathSampler, TrainingPath

_PATH, _ORDER, _STEPS, _NOISE, _DROPOUT = range(5)  # random number streams
_NOISE_BLOCK = 8  # images whose noise comes from one generator


class ImageArray(Protocol):
    """Array of images, in memory or mapped from files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, R, R, C)``."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Data of one forward and backward pass of one process."""

    path: TrainingPath
    images: Tensor  # (n, R, R, C) uint8; tensors are on the host, page-locked for a GPU
    t: Tensor  # (n,) steps, int64
    labels: Tensor | None  # (n,) classes, int64, -1 for none
    step: int
    first: int  # position of the first image in the global batch

    def x0(self, device: torch.device) -> Tensor:
        """Images on a device as floats in [-1, 1], (n, C, R, R)."""
        return to_x0(self.images.to(device, non_blocking=device.type == "cuda"))

    def class_labels(self, device: torch.device) -> Tensor | None:
        """Classes on a device, (n,)."""
        if self.labels is None:
            return None
        return self.labels.to(device, non_blocking=device.type == "cuda")


def to_x0(images: Tensor) -> Tensor:
    """Map uint8 (n, R, R, C) to floats in [-1, 1], (n, C, R, R)."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


class Batches:
    """Source of batches, drawn one step ahead of the training in a background thread.

    Parameters
    ----------
    images : ImageArray
        uint8 (N, R, R, C).
    chosen : (M,) array
        Indices of the images to train on.
    classes : Classes, optional
        Of all N images.
    paths : PathSampler
    config : TrainConfig
    process_index, num_processes : int
    pin_memory : bool
        Put batches in page-locked memory, from which a GPU copies while it computes.
    """

    def __init__(
        self,
        images: ImageArray,
        chosen: np.ndarray,
        classes: Classes | None,
        paths: PathSampler,
        config: TrainConfig,
        process_index: int = 0,
        num_processes: int = 1,
        pin_memory: bool = False,
    ):
        self.images, self.chosen, self.classes = images, chosen, classes
        self.paths, self.config = paths, config
        self.process_index, self.num_processes = process_index, num_processes
        self.pin_memory = pin_memory
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def size(self, path: TrainingPath) -> int:
        """Size of the global batch on ``path``, over all processes and accumulated batches."""
        config = self.config
        return config.batch_size * path.images * config.accumulate * self.num_processes

    @contextmanager
    def from_step(self, step: int, images_seen: int) -> Iterator[Iterator[list[Batch]]]:
        """Context with an endless iterator over the batches of this process, step by step."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:

            def follow() -> Iterator[list[Batch]]:
                at, seen = step, images_seen
                pending = pool.submit(self.draw, at, seen)
                while True:
                    batches = pending.result()
                    at, seen = at + 1, seen + self.size(batches[0].path)
                    pending = pool.submit(self.draw, at, seen)
                    yield batches

            yield follow()

    def draw(self, step: int, images_seen: int) -> list[Batch]:
        """Draw the batches of this process at a step, whose gradients are to be accumulated.

        Images are visited in epochs, each in a new random order; ``images_seen`` is the position in
        the sequence of epochs.
        """
        seed, config = self.config.seed, self.config
        path = self.paths.choose(np.random.default_rng([seed, step, _PATH]))
        total = self.size(path)
        t = path.draw(np.random.default_rng([seed, step, _STEPS]), total)
        indices = self._sequence(images_seen, total)
        labels = None
        if self.classes is not None:
            dropped = np.random.default_rng([seed, step, _DROPOUT]).random(total)
            known = dropped >= config.class_dropout
            labels = np.where(known, self.classes.labels[indices], -1)
        batches = []
        count = config.batch_size * path.images
        for turn in range(config.accumulate):
            first = (turn * self.num_processes + self.process_index) * count
            own = slice(first, first + count)
            batches.append(
                Batch(
                    path=path,
                    images=self._host_tensor(self.images[indices[own]]),
                    t=self._host_tensor(t[own]),
                    labels=None if labels is None else self._host_tensor(labels[own]),
                    step=step,
                    first=first,
                )
            )
        return batches

    def _host_tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory() if self.pin_memory else tensor

    def noise(self, batch: Batch, device: torch.device) -> Tensor:
        """Standard normal noise of a batch's states, (n, C, r, r)."""
        shape = (batch.images.shape[-1], batch.path.r_in, batch.path.r_in)
        return slot_noise(self.config.seed, batch.step, batch.first, len(batch.t), shape, device)

    def _sequence(self, start: int, count: int) -> np.ndarray:
        """Indices of ``count`` images from position ``start`` of the sequence of epochs."""
        places = np.arange(start, start + count)
        epochs, within = np.divmod(places, len(self.chosen))
        parts = [self._order(int(e))[within[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(parts)

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.config.seed, epoch, _ORDER]).permutation(self.chosen)


def slot_noise(
    seed: int, step: int, first: int, count: int, shape: tuple[int, ...], device: torch.device
) -> Tensor:
    """Standard normal noise of images ``first … first + count - 1`` of a step, (count, *shape).

    The noise of an image depends on its position only, not on ``first`` and ``count``.
    """
    begin, end = first // _NOISE_BLOCK, -(-(first + count) // _NOISE_BLOCK)
    noise = torch.empty(end - begin, _NOISE_BLOCK, *shape, device=device)
    generator = torch.Generator(device)
    for block in range(begin, end):
        sequence = np.random.SeedSequence([seed, step, _NOISE, block])
        generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
        noise[block - begin].normal_(generator=generator)
    skipped = first - begin * _NOISE_BLOCK
    return noise.flatten(0, 1)[skipped : skipped + count]
