"""Many samples of a model, in one process or several, the same for any number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from theory.support.errors import InputError

from ..distributed import gathered, num_processes, process_index
from .pipeline import ScaleSpacePipeline

BLOCK = 256  # images that are drawn from one generator


def generate(
    pipeline: ScaleSpacePipeline,
    count: int,
    calls: int | None,
    eta: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """Sample images block by block, each from its own seed; processes of a launcher share them.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
    count : int
        Number of images, of all processes together.
    calls : int, optional
        Network calls; None for all steps.
    eta : float
    seed : int
    **options
        See `ssd_models.sampling.options.SamplingOptions`.

    Returns
    -------
    (N, R, R, C) uint8
        All of them, on every process.
    """
    if count < 1 or seed < 0:
        raise InputError("generate: count must be at least 1, seed at least 0")
    starts = range(0, count, BLOCK)
    own = []
    for block in range(process_index(), len(starts), num_processes()):
        drawn = int(np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0] >> 1)
        size = min(BLOCK, count - starts[block])
        images = pipeline(
            size,
            calls,
            eta,
            torch.Generator().manual_seed(drawn),
            output_type="np",
            **options,
        ).images
        own.append((block, images))
    blocks = sorted(gathered(own), key=lambda found: found[0])
    return np.concatenate([images for _, images in blocks])
