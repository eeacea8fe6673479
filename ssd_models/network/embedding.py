"""Embedding of the noise level: step indices or log-snr, as sinusoidal features."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError

TimeInput = Literal["step", "logsnr"]


def check_time_input(time_input: str) -> None:
    """Raise `InputError` unless ``time_input`` is a `TimeInput`."""
    if time_input not in get_args(TimeInput):
        raise InputError(f"time_input is {time_input!r}; use 'step' or 'logsnr'.")


def sinusoidal_embedding(t: Tensor, width: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding of step indices, cosines first.

    Parameters
    ----------
    t : (N,) tensor
        Step indices, integer or fractional.
    width : int
        Number of features, even.
    max_period : float
        Upper bound of the periods over 2π, in steps.

    Returns
    -------
    (N, width) float32 tensor
        ``cos(t f_k)`` then ``sin(t f_k)``, ``f_k = max_period^(-k/(width/2))``.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    phases = t[:, None].float() * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([phases.cos(), phases.sin()], dim=-1)


def time_values(schedule: ResolutionSchedule, t: ArrayLike, time_input: str) -> np.ndarray:
    """Input of a network for steps ``t``: their indices or log-snr, float32, shaped like ``t``.

    The log-snr, in nats, is that of the schedule's full-resolution chain.
    """
    steps = np.asarray(t)
    return (np.log(schedule.base_snr[steps]) if time_input == "logsnr" else steps).astype(
        np.float32
    )


def steps_of_logsnr(logsnr: Tensor) -> Tensor:
    """Map log-snr (nats) linearly to the range of step indices: 10 to 0, -10 to 1000.

    The sinusoids then resolve a difference of 0.02 in log-snr like that of one step, and the range
    of values is about that of 1000 steps of linear or cosine noise.
    """
    return 500 - 50 * logsnr
