"""Errors of a network's clean predictions on held-out images, by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from theory.images.operators import dct_basis
from theory.information.mmse import gaussian_mmse, linear_errors
from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError
from theory.support.progress import progress_bar

from ..diffusion.constants import float64_device
from ..diffusion.gaussian import GaussianDenoiser
from ..sampling.pipeline import ScaleSpacePipeline
from ..sampling.samplers import Denoiser
from ..training.batches import ImageArray, slot_noise, to_x0


@dataclass(frozen=True, eq=False)
class DenoisingErrors:
    """Squared errors of predictions ``E[M x_0 | x_t]`` of each image at each step.

    Parameters
    ----------
    steps : (S,) int
        Steps t of the schedule, in the order given.
    r_in, r_out : (S,) int
        Resolution of the state and of the prediction in pixels.
    shells : list of S arrays (N, r_out) float64
        Squared error of each image, summed over colours and over the orthonormal DCT coefficients
        of the prediction with ``max(k1, k2)`` equal to the second index; in squared units of the
        [-1, 1] range. A row's sum is the squared error summed over pixels and colours.
    """

    steps: np.ndarray
    r_in: np.ndarray
    r_out: np.ndarray
    shells: list[np.ndarray]

    @property
    def totals(self) -> np.ndarray:
        """Squared error of each image, summed over pixels and colours of the prediction, (N, S)."""
        return np.stack([shells.sum(axis=1) for shells in self.shells], axis=1)


@torch.inference_mode()
def denoising_errors(
    pipeline: ScaleSpacePipeline,
    images: ImageArray,
    steps: Sequence[int],
    seed: int = 0,
    batch: int = 64,
    bf16: bool = False,
    paths: Literal["state", "next"] = "state",
    progress: bool = False,
    denoise: Denoiser | None = None,
    weights: Sequence[np.ndarray] | None = None,
) -> DenoisingErrors:
    """Measure the squared error of a network's clean predictions at given steps.

    States, targets and times are those of training (`ssd_models.training.objective`); a
    class-conditional network gets no class. The noise of an image depends only on ``seed``, the
    step and the image's index: it is the same for both values of ``paths`` and on every device, and
    independent between steps.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
    images : (N, R, R, C) uint8 array
        At the schedule's resolution, in the network's channels.
    steps : sequence of S int
        Steps t of the schedule.
    seed : int
        Seed of the noise, at least 0.
    batch : int
        Images per network call.
    bf16 : bool
        Run the network under bfloat16 autocast.
    paths : {"state", "next"}
        Resolution of the prediction: that of the state, or that of the next state, which is larger
        where the resolution changes.
    progress : bool
        Show a bar on standard error.
    denoise : Denoiser, optional
        Replaces the network, such as the exact denoiser of a spectrum (`GaussianDenoiser`).
    weights : sequence of S arrays (r_out, r_out), optional
        Weight of each DCT coefficient in the sums, such as
        `theory.information.measured.error_weights`; by default 1.

    Raises
    ------
    InputError
        If a step is not in the schedule, images do not have the network's size and channels, or
        another argument is out of range.
    """
    process = pipeline.scheduler.process
    schedule = process.schedule
    if paths not in ("state", "next"):
        raise InputError(f"paths {paths!r}: choose from state, next")
    if batch < 1 or seed < 0:
        raise InputError("batch: must be at least 1, seed at least 0")
    t = np.array(steps, dtype=np.int64)
    if t.ndim != 1 or not t.size or t.min() < 0 or t.max() >= schedule.num_steps:
        raise InputError(f"steps: must be between 0 and {schedule.num_steps - 1}, at least one")
    size, channels = schedule.resolution, pipeline.unet.in_channels
    if images.shape[1:] != (size, size, channels) or not len(images):
        raise InputError(
            f"images: have shape {images.shape}, the network needs "
            f"(N, {size}, {size}, {channels}), at least one"
        )
    r_in = schedule.resolutions[t]
    r_out = r_in if paths == "state" else schedule.output_resolutions[t]
    device = next(pipeline.unet.parameters()).device
    if denoise is None:
        denoise = pipeline.denoiser(bf16=bf16, max_batch=batch)
    shells = [np.empty((len(images), r)) for r in r_out.tolist()]
    calls = len(range(0, len(images), batch)) * len(t)
    with progress_bar(total=calls, desc="denoise", shown=progress, unit="call") as bar:
        for start in range(0, len(images), batch):
            part = np.ascontiguousarray(images[start : start + batch])
            x0 = to_x0(torch.from_numpy(part).to(device))
            for i, (step, out) in enumerate(zip(t.tolist(), r_out.tolist(), strict=True)):
                shape = (channels, *process.shape(step))
                noise = slot_noise(seed, step, start, len(part), shape, torch.device("cpu"))
                x_t = process.add_noise(x0, step, noise.to(device))
                error = denoise(x_t, step, out) - process.target(x0, out)
                sums = _shell_sums(error, None if weights is None else weights[i])
                shells[i][start : start + len(part)] = sums.cpu().numpy()
                bar.update()
    return DenoisingErrors(t, r_in, r_out, shells)


def level_errors(
    pipeline: ScaleSpacePipeline,
    images: ImageArray,
    seed: int = 0,
    batch: int = 64,
    bf16: bool = False,
    progress: bool = False,
    per_level: int = 6,
    steps: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Measure the error of a network's predictions on each level, with the best linear denoiser's.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
        Without a spectrum the linear denoiser's error is left out.
    images : (N, R, R, C) uint8 array
        Images that the network was not trained on; at least two.
    seed, batch, bf16, progress
        See `denoising_errors`.
    per_level : int
        Number of steps to measure on each level, evenly spaced in t. Steps at which the resolution
        changes are excluded; for these see `change_errors`.
    steps : sequence of int, optional
        Steps to measure instead.

    Returns
    -------
    list of dict, by step
        ``step``, ``level`` (pixels a side), ``error`` (mean squared error per value of a pixel),
        its ``standard_error`` over images, and ``linear``, the linear
        denoiser's expected error on the same states, with their attenuation.
    """
    schedule = pipeline.scheduler.schedule
    chosen = _spread(schedule, per_level) if steps is None else list(steps)
    found = denoising_errors(pipeline, images, sorted(chosen), seed, batch, bf16, "state", progress)
    attenuated = None
    if pipeline.spectrum is not None and schedule.attenuation is not None:
        attenuated = linear_errors(schedule, pipeline.spectrum)
    rows = []
    for t, level, total in zip(found.steps, found.r_in, found.totals.T, strict=True):
        values = int(level) ** 2 * images.shape[-1]
        row = {
            "step": int(t),
            "level": int(level),
            "error": float(total.mean()) / values,
            "standard_error": float(total.std(ddof=1)) / len(total) ** 0.5 / values,
        }
        if attenuated is not None:
            row["linear"] = float(attenuated[t])
        elif pipeline.spectrum is not None:
            spectrum = pipeline.spectrum.at_resolution(int(level), schedule.operator)
            row["linear"] = float(gaussian_mmse(spectrum, schedule.snr[t])) / values
        rows.append(row)
    return rows


def _spread(schedule: ResolutionSchedule, per_level: int) -> list[int]:
    """Evenly spaced steps of each level, without those at which the resolution changes."""
    kept = np.setdiff1d(np.arange(schedule.num_steps), list(schedule.changes))
    steps: list[int] = []
    for level in schedule.levels:
        of_level = kept[schedule.resolutions[kept] == level]
        places = np.linspace(0, len(of_level) - 1, min(per_level, len(of_level)))
        steps += of_level[np.unique(places.round().astype(int))].tolist()
    return steps


def change_errors(
    pipeline: ScaleSpacePipeline,
    images: ImageArray,
    seed: int = 0,
    batch: int = 64,
    bf16: bool = False,
) -> list[dict[str, Any]]:
    """Measure the error at changes of resolution relative to the best linear denoiser's.

    Both denoise the same states and predict at the resolution of the next state.

    Parameters
    ----------
    pipeline : ScaleSpacePipeline
        With a spectrum. Unless the operator is `dct`, levels below full resolution must not exceed
        32 pixels.
    images, seed, batch, bf16
        As in `level_errors`.

    Returns
    -------
    list of dict, by step
        ``step``, ``from`` and ``to`` (pixels a side, in sampling order), and for ``all``
        frequencies and for the ``new_octave`` that ``to`` adds: ``error`` (mean squared error per
        value of a pixel), ``over_linear`` (its ratio to the linear denoiser's) and the
        ``standard_error`` of the ratio over images. Empty without changes or with an attenuation.

    Raises
    ------
    InputError
        If the pipeline has no spectrum, or as `denoising_errors`.
    """
    changes = pipeline.scheduler.schedule.changes
    if pipeline.spectrum is None:
        raise InputError("model: has no spectrum.npz to compare its errors with")
    if not changes or pipeline.scheduler.schedule.attenuation is not None:
        return []  # every prediction has the resolution of its state
    wiener = GaussianDenoiser(pipeline.spectrum, pipeline.scheduler.process)
    found, linear = (
        denoising_errors(
            pipeline, images, list(changes), seed, batch, bf16, "next", denoise=denoise
        ).shells
        for denoise in (None, wiener)
    )
    rows = []
    for (t, (large, small)), error, known in zip(changes.items(), found, linear, strict=True):
        row: dict[str, Any] = {"step": t, "from": small, "to": large}
        for band, shells in {"all": slice(None), "new_octave": slice(small, None)}.items():
            own, other = error[:, shells].sum(axis=1), known[:, shells].sum(axis=1)
            ratio = own.mean() / other.mean()
            spread = (own - ratio * other).std(ddof=1) / other.mean() / len(images) ** 0.5
            row[band] = {
                "error": float(own.mean()) / (large**2 * images.shape[-1]),
                "over_linear": float(ratio),
                "standard_error": float(spread),
            }
        rows.append(row)
    return rows


def _shell_sums(error: Tensor, weight: np.ndarray | None) -> Tensor:
    """Weighted squares of the DCT coefficients of (N, C, r, r), summed to shells: (N, r)."""
    error = error.to(float64_device(error.device), torch.float64)
    basis = torch.from_numpy(dct_basis(error.shape[-1])).to(error.device)
    squares = (basis @ error @ basis.T).square().sum(dim=1)
    if weight is not None:
        squares = squares * torch.from_numpy(weight).to(squares)
    return squares.triu().sum(dim=-2) + squares.tril(-1).sum(dim=-1)
