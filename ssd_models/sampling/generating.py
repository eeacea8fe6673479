"""Sampling of many images, on one process or several, with the same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from theory.support.errors import InputError

from ..distributed import gathered, num_processes, process_index
from .pipeline import ScaleSpacePipeline

BLOCK = 256  # images drawn from one random generator


def generate(
    pipeline: ScaleSpacePipeline,
    count: int,
    calls: int | None,
    eta: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """Sample images in blocks with a seed each; the processes of a launcher share the blocks.

    The images do not depend on the number of processes.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
    count : int
        Number of images over all processes, at least 1.
    calls : int, optional
        Network calls per image; None for all steps.
    eta : float
        From 0 (deterministic) to 1 (ancestral).
    seed : int
        At least 0.
    **options
        See `ssd_models.sampling.options.SamplingOptions`; ``class_labels`` are repeated in turn
        over all ``count`` images.

    Returns
    -------
    (count, R, R, C) uint8
        All images, on every process.

    Raises
    ------
    InputError
        If ``count`` or ``seed`` is too small, or an option is invalid.
    """
    if count < 1 or seed < 0:
        raise InputError("generate: count must be at least 1, seed at least 0")
    if options.get("num_images_per_prompt", 1) != 1:
        raise InputError("generate: num_images_per_prompt must be 1; repeat the class_labels")
    classes = pipeline.class_indices(options.pop("class_labels", None), count)
    starts = range(0, count, BLOCK)
    own = []
    for block in range(process_index(), len(starts), num_processes()):
        block_seed = int(np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0] >> 1)
        part = slice(starts[block], min(starts[block] + BLOCK, count))
        images = pipeline(
            part.stop - part.start,
            calls,
            eta,
            torch.Generator().manual_seed(block_seed),
            output_type="np",
            class_labels=None if classes is None else classes[part],
            **options,
        ).images
        own.append((block, images))
    blocks = sorted(gathered(own), key=lambda block: block[0])
    return np.concatenate([images for _, images in blocks])
