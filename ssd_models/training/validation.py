"""Loss of a network on held-out images, by path, always with the same steps and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .batches import ImageArray, slot_noise, to_x0
from .config import TrainConfig
from .objective import DenoisingLoss, PathSampler
from .splits import evenly_spread

MOST_IMAGES = 256  # most images for validation


@dataclass(frozen=True)
class ValidationLoss:
    """Mean loss of each path, and of the whole schedule."""

    paths: dict[str, float]  # by name
    mean: float  # over paths, weighted by their share of the schedule's steps


class Validation:
    """Measurement of a network's loss on held-out images.

    On each path, image i of n takes the step at fraction ``(i + ½) / n`` of the path's steps, with
    the same noise every time, so that the losses of one run are comparable.

    Parameters
    ----------
    images : ImageArray
        uint8 (N, R, R, C).
    held_out : (M,) array
        Indices of the held-out images; of more than 256 images, 256 evenly spread ones are used.
    labels : (N,) array, optional
        Classes of all images.
    paths : PathSampler
    config : TrainConfig
    loss : DenoisingLoss
    """

    def __init__(
        self,
        images: ImageArray,
        held_out: np.ndarray,
        labels: np.ndarray | None,
        paths: PathSampler,
        config: TrainConfig,
        loss: DenoisingLoss,
    ):
        self.indices = held_out[evenly_spread(len(held_out), MOST_IMAGES)]
        self.count = len(self.indices)
        self.images, self.labels = images, labels
        self.paths, self.config = paths, config
        self._loss = loss

    @torch.no_grad()
    def sums(
        self, unet: torch.nn.Module, device: torch.device, bf16: bool, part: int, parts: int
    ) -> Tensor:
        """Sum of each path's losses over the images of one of ``parts`` parts, (paths,) float64."""
        config, n = self.config, self.config.batch_size
        sums = torch.zeros(len(self.paths.paths), dtype=torch.float64)
        losses, counts = [], []  # losses stay on the device, not to wait for each
        for start in range(part * n, self.count, parts * n):
            places = np.arange(start, min(start + n, self.count))
            indices = self.indices[places]
            images = np.ascontiguousarray(self.images[indices])
            x0 = to_x0(torch.from_numpy(images).to(device))
            labels = None
            if self.labels is not None:
                labels = torch.from_numpy(self.labels[indices]).to(device)
            for i, path in enumerate(self.paths.paths):
                along = (places + 0.5) / self.count * len(path.steps)
                t = torch.from_numpy(path.steps[along.astype(int)])
                shape = (x0.shape[1], path.r_in, path.r_in)
                noise = slot_noise(config.seed, i, start, len(places), shape, device)
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    terms = self._loss(unet, x0, t, noise, labels)
                losses.append(terms.loss)
                counts.append(len(places))
        if losses:
            by_batch = torch.stack(losses).cpu().double() * torch.tensor(counts)
            sums += by_batch.reshape(-1, len(sums)).sum(dim=0)
        return sums

    def loss(self, sums: Tensor) -> ValidationLoss:
        """Mean losses, from the total of `sums` over all parts."""
        means = (sums / self.count).tolist()
        paths = self.paths.paths
        return ValidationLoss(
            {path.name: mean for path, mean in zip(paths, means, strict=True)},
            sum(path.share * mean for path, mean in zip(paths, means, strict=True)),
        )
