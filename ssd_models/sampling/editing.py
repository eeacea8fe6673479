"""Editing from the middle of a chain: a noisy state at low resolution is a meaningful image.

Plain functions in the manner of `ssd_models.sampling.samplers`: a denoiser, a process, and one of
the samplers as ``sample``, with its options. `ScaleSpacePipeline.denoiser` makes the denoiser of a
trained model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps
from theory.support.errors import InputError

from ..diffusion.process import Generators, ScaleSpaceProcess
from .samplers import Denoiser, sample_dpmpp_2m


def vary(
    denoise: Denoiser,
    process: ScaleSpaceProcess,
    images: Tensor,
    t: int,
    steps: int | Sequence[int] = 50,
    sample: Callable[..., Tensor] = sample_dpmpp_2m,
    generator: Generators = None,
    **options: Any,
) -> Tensor:
    """Variations of images: degrade each to step ``t``, and sample from there.

    The larger ``t``, the less of an image is kept: what the state at ``t`` holds of it is what
    `theory.information.bounds.schedule_information` measures.

    Parameters
    ----------
    denoise, process, sample, generator, options
        See `ssd_models.sampling.samplers.sample_eta`.
    images : (N, C, H, W) tensor in [-1, 1]
        At full resolution.
    t : int
        Step to start from.
    steps : int or sequence of int
        Network calls of a whole chain, of which those up to ``t`` are made, evenly in log-snr; or
        the steps themselves, the first of them ``t``.

    Returns
    -------
    (N, C, H, W) tensor
    """
    chosen = _steps_from(process, t, steps, options.get("changes"))
    x = process.add_noise(images, t, generator=generator)
    return sample(denoise, process, x, chosen, generator=generator, **options)


def super_resolve(
    denoise: Denoiser,
    process: ScaleSpaceProcess,
    small: Tensor,
    steps: int | Sequence[int] = 50,
    t: int | None = None,
    consistent: bool = True,
    sample: Callable[..., Tensor] = sample_dpmpp_2m,
    generator: Generators = None,
    **options: Any,
) -> Tensor:
    """Full-resolution images of small ones, by starting a chain at their level.

    Parameters
    ----------
    denoise, process, sample, generator, options
        See `ssd_models.sampling.samplers.sample_eta`.
    small : (N, C, h, w) tensor in [-1, 1]
        Clean images of the size of a level below full resolution, such as the process degrades
        larger ones to.
    steps : int or sequence of int
        As in `vary`.
    t : int, optional
        Step to start from, of that level; by default its least noisy one.
    consistent : bool
        Keep every prediction consistent with the small image, as far as its singular values are
        above rounding: the prediction is corrected by ``M⁺ (small − M x̂0)``, so that the result,
        degraded, is the small image.

    Returns
    -------
    (N, C, H, W) tensor
    """
    level = _level_of(process, small)
    first = int((process.schedule.resolutions == level).argmax())
    t = first if t is None else t
    if process.resolution(t) != level:
        raise InputError(f"step {t}: has {process.resolution(t)} pixels, the small images {level}")
    chosen = _steps_from(process, t, steps, options.get("changes"))
    clean = process.from_target(small, t)
    x = process.noisy(clean, t, generator=generator)

    def keep(x0: Tensor, resolution: int) -> Tensor:
        if resolution == level:
            return small
        down = process.between_levels(level, resolution)
        return x0 + down.pseudo_inverse(small - down(x0))

    constraint = keep if consistent else None
    return sample(
        denoise, process, x, chosen, generator=generator, constraint=constraint, **options
    )


def inpaint(
    denoise: Denoiser,
    process: ScaleSpaceProcess,
    images: Tensor,
    known: Tensor,
    steps: int | Sequence[int] = 50,
    x: Tensor | None = None,
    sample: Callable[..., Tensor] = sample_dpmpp_2m,
    generator: Generators = None,
    **options: Any,
) -> Tensor:
    """Fill in what is missing of images, keeping their known pixels.

    Where the clean image is known, so is the conditional of the process: predictions are replaced
    there by what is known, and every state then follows the exact posterior given it. At a level
    below full resolution a pixel is known if all that it averages is. What is filled in fits what
    is known as well as the denoiser's predictions do; it is not an exact draw from the conditional
    distribution of a Gaussian field.

    Parameters
    ----------
    denoise, process, sample, generator, options
        See `ssd_models.sampling.samplers.sample_eta`.
    images : (N, C, H, W) tensor in [-1, 1]
        At full resolution; unknown pixels may have any finite value.
    known : (N or 1, 1, H, W) bool tensor
        True where pixels are kept.
    steps : int or sequence of int
        Network calls, or the steps themselves.
    x : tensor, optional
        State at the first step to start from where nothing is known; by default white noise.

    Returns
    -------
    (N, C, H, W) tensor; equal to ``images`` where ``known``
    """
    n, _, height, width = images.shape
    if known.dtype != torch.bool or known.shape not in (
        (1, 1, height, width),
        (n, 1, height, width),
    ):
        raise InputError(
            f"known: is {known.dtype} of shape {tuple(known.shape)}; needs bool, ({n} or 1, 1, "
            f"{height}, {width})"
        )
    last = process.schedule.num_steps - 1
    first = last if isinstance(steps, int) else max(int(t) for t in steps)
    chosen = _steps_from(process, first, steps, options.get("changes"))
    images = torch.where(known, images, 0.0)
    uneven = 0.5 + torch.rand(
        (1, 1, height, width), generator=torch.Generator().manual_seed(0), dtype=images.dtype
    ).to(images.device)
    weights: dict[int, tuple[Tensor, Tensor]] = {}

    def at(resolution: int) -> tuple[Tensor, Tensor]:
        """Known image at a level, and where it is known."""
        if resolution not in weights:
            # Weights of what is unknown that no kernel sums to zero by chance.
            seen = process.target(uneven * ~known, resolution).abs()
            weights[resolution] = process.target(images, resolution), seen < 1e-6
        return weights[resolution]

    def keep(x0: Tensor, resolution: int) -> Tensor:
        given, where = at(resolution)
        return torch.where(where, given, x0)

    given, where = at(process.resolution(first))
    noisy = process.noisy(process.from_target(given, first), first, generator=generator)
    if x is None:
        x = process.noisy(torch.zeros_like(given), first, generator=generator)
    state = torch.where(where, noisy, x)
    return sample(denoise, process, state, chosen, generator=generator, constraint=keep, **options)


def _level_of(process: ScaleSpaceProcess, small: Tensor) -> int:
    sizes = {
        level: process.level_shape(level)
        for level in dict.fromkeys(process.schedule.resolutions.tolist())
    }
    for level, size in list(sizes.items())[1:]:
        if tuple(small.shape[-2:]) == size and small.ndim == 4:
            return level
    raise InputError(
        f"small: has shape {tuple(small.shape)}; needs (N, C, h, w) of a level below full "
        f"resolution, one of {list(sizes.values())[1:]}"
    )


def _steps_from(
    process: ScaleSpaceProcess, t: int, steps: int | Sequence[int], changes: str | None
) -> list[int]:
    """Steps from ``t`` down: those given, or the part of a whole chain of so many."""
    process.resolution(t)  # refuses a step that is none
    if not isinstance(steps, int):
        if max(int(step) for step in steps) != t:
            raise InputError(f"steps: must begin with {t}, where the chain starts")
        return [int(step) for step in steps]
    sampler = Sampler(order=2, changes=changes)
    chosen = select_steps(process.schedule, steps, sampler=sampler)
    return [t, *(s for s in chosen if s < t)]
