"""The information that a trained network finds in noisy states, from its errors at many steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from theory.information.measured import MeasuredInformation, measured_information
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
    """Integrate the denoising errors of a network along its chain (I-MMSE).

    The linear denoiser of the pipeline's spectrum sees the same states, and only the difference of
    the two errors is measured; what the linear one attains is known
    (`theory.gaussian_information`). Where its filter would be too large a matrix (an operator other
    than `dct`, states of more than 32 pixels below full resolution), its expected error is taken,
    and results are noisier.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
        With its spectrum.
    images : (N, R, R, C) uint8 array
        That the network was not trained on; on training images errors are too small.
    num_steps : int
        Steps to measure, spread evenly in log-snr (`information_steps`).
    seed, batch, bf16, progress
        See `ssd_models.metrics.denoising.denoising_errors`.
    meta : dict, optional
        Kept with the result.
    denoise : Denoiser, optional
        In place of the network.

    Raises
    ------
    InputError
        If the pipeline has no spectrum, or images and network do not fit.
    """
    spectrum, schedule = pipeline.spectrum, pipeline.scheduler.schedule
    if spectrum is None:
        raise InputError("model: has no spectrum.npz; train it again with this version")
    steps = information_steps(schedule, num_steps)
    found = denoising_errors(pipeline, images, steps, seed, batch, bf16, "state", progress, denoise)
    linear = _linear_errors(pipeline, spectrum, images, steps, seed, batch, progress)
    return measured_information(schedule, spectrum, steps, found.shells, linear, meta)


def information_steps(schedule: ResolutionSchedule, count: int) -> list[int]:
    """Steps spread evenly in the log-snr of the full resolution, both ends included.

    Steps at which the resolution changes are left out: there networks learn to predict at the next
    resolution, not at the state's own. Nearby steps that would be the same are taken once.
    """
    if count < 2:
        raise InputError(f"steps {count}: needs at least 2")
    allowed = np.setdiff1d(np.arange(schedule.num_steps), list(schedule.changes))
    logsnr = np.log(schedule.base_snr[allowed])
    wanted = np.linspace(logsnr[-1], logsnr[0], count)
    nearest = np.abs(logsnr[None] - wanted[:, None]).argmin(axis=1)
    return allowed[np.unique(nearest)].tolist()


def _linear_errors(
    pipeline: ScaleSpacePipeline,
    spectrum: Spectrum,
    images: ImageArray,
    steps: list[int],
    seed: int,
    batch: int,
    progress: bool,
) -> list[np.ndarray] | None:
    """Errors of the best linear denoiser on the same states; None where its filter is too large."""
    if not has_exact_denoiser(pipeline.scheduler.schedule):
        return None
    wiener = GaussianDenoiser(spectrum, pipeline.scheduler.process)
    return denoising_errors(
        pipeline, images, steps, seed, batch, False, "state", progress, wiener
    ).shells
