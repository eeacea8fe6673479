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
    """Options of a sampling call.

    Parameters
    ----------
    timesteps : sequence of int, optional
        Steps to visit, in place of a number of steps.
    class_labels : number, name, or a sequence, array or tensor of them, optional
        Classes of the images, cycled if fewer; negative numbers mean no class. By default no class.
    num_images_per_prompt : int
        Factor on the number of images; those of the same label follow one another.
    guidance_scale : float
        Strength of classifier-free guidance, see `ssd_models.sampling.guidance.guided_denoiser`;
        1 for none.
    guidance_interval : (float, float), optional
        Noise levels ``σ/α`` between which images are guided; all by default.
    max_batch : int
        Largest batch of the network.
    bf16 : bool
        Run the network under bfloat16 autocast.
    progress : bool
        Show a progress bar on standard error.
    spacing : {"logsnr", "uniform", "edm", "alpha", "planned"}
        How a number of steps is spread, see `theory.select_steps`; "alpha" and "planned" need the
        pipeline's spectrum.
    last_snr : float, optional
        End the chain at this signal-to-noise ratio of the full-resolution chain, in place of the
        schedule's last step (infinity for that). The prediction there is the image: smoother, and
        without what a network that is poor at little noise adds after it. By default the
        pipeline's ``last_snr``, except with ``timesteps`` and planned steps, which have their own
        end.
    changes : {"network", "corrected", "free"}, optional
        What happens where the resolution changes, see `theory.Sampler`; by default what fits the
        schedule.
    sampler : str, optional
        Key of `ssd_models.sampling.methods.METHODS`; by default the first without an obstacle.
    spectral_variance : bool
        Draw the error of each prediction (``variance`` of `ssd_models.sample_eta`); needs the
        pipeline's spectrum.

    Raises
    ------
    InputError
        If ``num_images_per_prompt`` or ``max_batch`` is below 1.
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
    last_snr: float | None = None
    changes: str | None = None
    sampler: str | None = None
    spectral_variance: bool = False

    def __post_init__(self) -> None:
        if min(self.num_images_per_prompt, self.max_batch) < 1:
            raise InputError("num_images_per_prompt and max_batch: must be at least 1")


def label_list(labels: Labels | None) -> list[Any] | None:
    """Convert `SamplingOptions.class_labels` of any type to a list of numbers and names."""
    if labels is None:
        return None
    listed = labels.tolist() if isinstance(labels, (Tensor, np.ndarray, np.generic)) else labels
    if isinstance(listed, (int, str)):
        return [listed]
    return [each.tolist() if isinstance(each, (Tensor, np.generic)) else each for each in listed]
