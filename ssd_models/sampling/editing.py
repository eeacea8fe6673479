"""Image editing by sampling from an intermediate state: variations, super-resolution, inpainting.

Plain functions like those of `ssd_models.sampling.samplers`. Each takes a denoiser, a process, and
one of the samplers as ``sample``, with its options. `ScaleSpacePipeline.denoiser` returns the
denoiser of a trained model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from theory.oracle.report import visited_steps
from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps
from theory.support.errors import InputError

from ..diffusion.process import Generators, ScaleSpaceProcess
from .samplers import Denoiser, check_state, sample_dpmpp_2m


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
    """Generate variations of images: add noise up to step ``t`` and sample from there.

    The larger ``t``, the less of an image is kept. How much information the state at ``t`` has of
    it is bounded by `theory.information.bounds.schedule_information`.

    Parameters
    ----------
    denoise, process, sample, generator, options
        See `ssd_models.sampling.samplers.sample_eta`.
    images : (N, C, H, W) tensor in [-1, 1]
        At full resolution.
    t : int
        Step to start from.
    steps : int or sequence of int
        Number of network calls of a whole chain, even in log-snr, of which those below ``t`` are
        made after the one at ``t``; or the steps themselves, the largest of them ``t``.

    Returns
    -------
    (N, C, H, W) tensor

    Raises
    ------
    InputError
        If ``t`` is out of range, the steps do not start there, or shapes do not fit.
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
    """Upscale images to full resolution, by a chain that starts at their level.

    Parameters
    ----------
    denoise, process, sample, generator, options
        See `ssd_models.sampling.samplers.sample_eta`.
    small : (N, C, h, w) tensor in [-1, 1]
        Clean images of the size of a level below full resolution, as made by the schedule's
        operator.
    steps : int or sequence of int
        As in `vary`.
    t : int, optional
        Step of that level to start from; by default the least noisy one.
    consistent : bool
        Correct every prediction by ``M⁺ (small − M x̂0)``, so that the result degrades to the small
        image. Small singular values of ``M`` amplify rounding errors.

    Returns
    -------
    (N, C, H, W) tensor

    Raises
    ------
    InputError
        If ``small`` has the size of no lower level, ``t`` is not a step of its level, or the steps
        do not start at ``t``.
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
    """Fill in the unknown pixels of images, keeping the known ones.

    Known pixels replace those of every clean prediction, so that the next state follows the exact
    posterior given them. At a lower level a pixel is known if all pixels that it averages are. How
    well the filled-in content fits the known pixels depends on the denoiser's predictions: even for
    a Gaussian field it is not an exact sample of the conditional distribution.

    Parameters
    ----------
    denoise, process, sample, generator, options
        See `ssd_models.sampling.samplers.sample_eta`.
    images : (N, C, H, W) tensor in [-1, 1]
        At full resolution; unknown pixels may have any finite value.
    known : (N or 1, 1, H, W) bool tensor
        True where pixels are kept.
    steps : int or sequence of int
        Number of network calls, or the steps themselves.
    x : (N, C, h, w) tensor, optional
        State at the first step, used at unknown pixels; by default white noise of variance ``σ²``.

    Returns
    -------
    (N, C, H, W) tensor
        Equal to ``images`` where ``known``.

    Raises
    ------
    InputError
        If ``known`` has another dtype or shape, or steps or shapes do not fit.
    """
    if images.ndim != 4:
        raise InputError(f"images: have shape {tuple(images.shape)}; need (N, C, H, W)")
    n, _, height, width = images.shape
    if known.dtype != torch.bool or known.shape not in (
        (1, 1, height, width),
        (n, 1, height, width),
    ):
        raise InputError(
            f"known: is {known.dtype} of shape {tuple(known.shape)}; needs bool, ({n} or 1, 1, "
            f"{height}, {width})"
        )
    chosen = _steps_from(process, None, steps, options.get("changes"))
    first = chosen[0]
    images = torch.where(known, images, 0.0)
    # Random weights: no resize kernel with negative weights cancels several unknown pixels.
    uneven = 0.5 + torch.rand(
        (1, 1, height, width), generator=torch.Generator().manual_seed(0), dtype=images.dtype
    ).to(images.device)
    known_at: dict[int, tuple[Tensor, Tensor]] = {}

    def at(resolution: int) -> tuple[Tensor, Tensor]:
        """Images at a level, and the mask of their known pixels there."""
        if resolution not in known_at:
            unknown = process.target(uneven * ~known, resolution).abs()
            known_at[resolution] = process.target(images, resolution), unknown < 1e-6
        return known_at[resolution]

    def keep(x0: Tensor, resolution: int) -> Tensor:
        given, where = at(resolution)
        return torch.where(where, given, x0)

    given, where = at(process.resolution(first))
    noisy = process.noisy(process.from_target(given, first), first, generator=generator)
    if x is None:
        x = process.noisy(torch.zeros_like(given), first, generator=generator)
    check_state(process, x, first)
    state = torch.where(where, noisy, x)
    return sample(denoise, process, state, chosen, generator=generator, constraint=keep, **options)


def _level_of(process: ScaleSpaceProcess, small: Tensor) -> int:
    """Lower level that has the size of the images."""
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
    process: ScaleSpaceProcess, t: int | None, steps: int | Sequence[int], changes: str | None
) -> list[int]:
    """Steps from ``t`` down: the given ones, or those of a whole chain of that many calls.

    None for ``t`` is the first of either.
    """
    if t is not None:
        process.resolution(t)  # raises if out of range
    if isinstance(steps, int | np.integer):
        chosen = select_steps(process.schedule, int(steps), sampler=Sampler(changes=changes))
        return chosen if t is None else [t, *(s for s in chosen if s < t)]
    chosen = visited_steps(process.schedule, steps)
    if t is not None and chosen[0] != t:
        raise InputError(f"steps: must begin with {t}, where the chain starts")
    return chosen
