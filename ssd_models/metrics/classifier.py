"""A small image classifier, trained on real images, to recognize the class of generated ones."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from theory.support.errors import InputError

from ..training.batches import to_x0

_WIDTHS = (16, 32, 64)  # channels of the convolutions, each of which halves height and width
_PEAK_RATE = 5e-3  # largest learning rate of AdamW in the one-cycle schedule
_BATCH = 64
_AT_ONCE = 512  # images per forward pass of `classes`


class ImageClassifier:
    """Convolutional image classifier.

    Three 3×3 convolutions with batch normalization, each followed by 2×2 max pooling, then one
    linear layer on the flattened features.

    Parameters
    ----------
    network : torch.nn.Module
        Maps images (N, C, R, R) in [-1, 1] to logits (N, K).
    """

    def __init__(self, network: nn.Module):
        self.network = network.eval()

    @classmethod
    def trained(
        cls, images: np.ndarray, labels: np.ndarray, epochs: int = 4, seed: int = 0
    ) -> ImageClassifier:
        """Train a classifier; the result is deterministic given the seed.

        Parameters
        ----------
        images : (N, R, R, C) uint8
            At least two images of at least 8 pixels a side.
        labels : (N,) int
            Classes, from 0.
        epochs : int
            Passes over the images.
        seed : int
            Seed of the initial weights and of the order of images.

        Raises
        ------
        InputError
            If there is not one label for each image, or images are too few or too small.
        """
        if images.ndim != 4 or len(images) != len(labels) or len(images) < 2:
            raise InputError(
                f"classifier: needs images (N, R, R, C), N ≥ 2, with a label each, not "
                f"{images.shape} and {len(labels)} labels"
            )
        if min(images.shape[1:3]) < 2 ** len(_WIDTHS):
            raise InputError(f"classifier: needs images of {2 ** len(_WIDTHS)} px or more")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = _network(images.shape[1:], int(labels.max()) + 1)
            _train(network, torch.from_numpy(images), torch.from_numpy(labels), epochs)
        return cls(network)

    @torch.no_grad()
    def classes(self, images: np.ndarray) -> np.ndarray:
        """Most likely class of each of ``images``, (N, R, R, C) uint8 to (N,) int64."""
        parts = torch.from_numpy(images).split(_AT_ONCE)
        return torch.cat([self.network(to_x0(part)).argmax(dim=1) for part in parts]).numpy()

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of ``images`` whose predicted class equals their label, from 0 to 1."""
        return float((self.classes(images) == labels).mean())


def _network(shape: tuple[int, ...], classes: int) -> nn.Module:
    height, width, channels = shape
    layers: list[nn.Module] = []
    for wider in _WIDTHS:
        layers += [
            nn.Conv2d(channels, wider, 3, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = wider
    left = channels * (height >> len(_WIDTHS)) * (width >> len(_WIDTHS))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(left, classes))


def _train(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    steps = epochs * -(-len(images) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(_BATCH):
            loss = F.cross_entropy(network(to_x0(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
