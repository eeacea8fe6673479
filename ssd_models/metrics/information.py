"""Information of noisy states about the clean image, from a network's denoising errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from theory.information.measured import (
    MeasuredInformation,
    error_weights,
    measured_information,
)
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from ..diffusion.gaussian import GaussianDenoiser, has_exact_denoiser
from ..sampling.pipeline import ScaleSpacePipeline
from ..sampling.samplers import Denoiser
from ..training.batches import ImageArray
from .denoising import denoising_errors


def measure_information(
    pipeline: ScaleSpacePipeline,
    images: ImageArray,
    num_steps: int = 48,
    seed: int = 0,
    batch: int = 64,
    bf16: bool = False,
    progress: bool = False,
    meta: dict[str, Any] | None = None,
    denoise: Denoiser | None = None,
) -> MeasuredInformation:
    """Integrate the denoising errors of a network along its chain (I-MMSE, mathematics §4).

    Only the difference to the error of the best linear denoiser on the same states is integrated
    numerically; the linear denoiser's part is known in closed form (`theory.gaussian_information`).
    Where the linear filter would be too large a matrix (an operator other than `dct` and a level
    below full resolution of more than 32 pixels), its expected error is used, which makes the
    result noisier.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
        With a spectrum.
    images : (N, R, R, C) uint8 array
        Images that the network was not trained on; on training images errors are too small.
    num_steps : int
        Number of steps to measure, see `information_steps`.
    seed, batch, bf16, progress
        See `ssd_models.metrics.denoising.denoising_errors`.
    meta : dict, optional
        Stored with the result.
    denoise : Denoiser, optional
        Replaces the network.

    Raises
    ------
    InputError
        If the pipeline has no spectrum, or as `ssd_models.metrics.denoising.denoising_errors`.
    """
    spectrum, schedule = pipeline.spectrum, pipeline.scheduler.schedule
    if spectrum is None:
        raise InputError("model: has no spectrum.npz; train it again with this version")
    steps = information_steps(schedule, num_steps)
    weights = error_weights(schedule, steps)

    def errors(bf16: bool, denoise: Denoiser | None) -> list[np.ndarray]:
        return denoising_errors(
            pipeline, images, steps, seed, batch, bf16, "state", progress, denoise, weights
        ).shells

    wiener = _linear_denoiser(pipeline, spectrum)
    linear = None if wiener is None else errors(False, wiener)
    return measured_information(schedule, spectrum, steps, errors(bf16, denoise), linear, meta)


def information_steps(schedule: ResolutionSchedule, count: int) -> list[int]:
    """At most ``count`` steps, evenly spaced in the log-snr of the full-resolution chain.

    Both ends are included. Steps at which the resolution changes are excluded, as networks learn to
    predict at the next resolution there. A step that is nearest to several points is taken once.
    """
    if count < 2:
        raise InputError(f"steps {count}: needs at least 2")
    allowed = np.setdiff1d(np.arange(schedule.num_steps), list(schedule.changes))
    logsnr = np.log(schedule.base_snr[allowed])
    wanted = np.linspace(logsnr[-1], logsnr[0], count)
    nearest = np.abs(logsnr[None] - wanted[:, None]).argmin(axis=1)
    return allowed[np.unique(nearest)].tolist()


def _linear_denoiser(pipeline: ScaleSpacePipeline, spectrum: Spectrum) -> Denoiser | None:
    """Best linear denoiser; None if its filter is too large."""
    if not has_exact_denoiser(pipeline.scheduler.schedule):
        return None
    return GaussianDenoiser(spectrum, pipeline.scheduler.process)
