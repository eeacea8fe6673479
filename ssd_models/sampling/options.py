"""Options of `ssd_models.ScaleSpacePipeline`, with their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from theory.support.errors import InputError

from ..data.class_labels import ClassLabels

Labels = ClassLabels | Tensor | np.ndarray


@dataclass(frozen=True)
class SamplingOptions:
    """How a pipeline samples.

    Parameters
    ----------
    timesteps : sequence of int, optional
        The steps themselves, in place of a number of them.
    class_labels : number, name, or a sequence, array or tensor of them, optional
        Classes of the images, taken in turn; negative numbers mean no class. By default none.
    num_images_per_prompt : int
        Images of each of ``batch_size``: so many of a class after another.
    guidance_scale : float
        Strength of classifier-free guidance, see `ssd_models.sampling.guidance.guided_denoiser`;
        1 for none.
    guidance_interval : (float, float), optional
        Noise levels ``σ/α`` between which images are guided; everywhere by default.
    max_batch : int
        Images that run through the network at once.
    bf16 : bool
        Run the network under bfloat16 autocast.
    progress : bool
        Show a progress bar on standard error.
    spacing : {"logsnr", "uniform", "edm", "alpha", "planned"}
        Where a number of steps lies, see `theory.select_steps`; "alpha" and "planned" need the
        pipeline's spectrum.
    changes : {"network", "corrected", "free"}, optional
        What happens where the resolution changes, see `theory.Sampler`; by default what fits the
        schedule.
    sampler : str, optional
        A name of `ssd_models.sampling.methods.METHODS`; by default the first that is possible.
    spectral_variance : bool
        Draw what predictions leave open, see `ssd_models.sample_eta`; needs the pipeline's
        spectrum.

    Raises
    ------
    InputError
        If a number of images is below 1.
    """

    timesteps: Sequence[int] | None = None
    class_labels: Labels | None = None
    num_images_per_prompt: int = 1
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] | None = None
    max_batch: int = 64
    bf16: bool = False
    progress: bool = False
    spacing: str = "logsnr"
    changes: str | None = None
    sampler: str | None = None
    spectral_variance: bool = False

    def __post_init__(self) -> None:
        if min(self.num_images_per_prompt, self.max_batch) < 1:
            raise InputError("num_images_per_prompt and max_batch: must be at least 1")


def label_list(labels: Labels | None) -> list[Any] | None:
    """Labels in any form of `SamplingOptions.class_labels` as a list of numbers and names."""
    if labels is None:
        return None
    listed = labels.tolist() if isinstance(labels, (Tensor, np.ndarray, np.generic)) else labels
    if isinstance(listed, (int, str)):
        return [listed]
    return [each.tolist() if isinstance(each, (Tensor, np.generic)) else each for each in listed]
