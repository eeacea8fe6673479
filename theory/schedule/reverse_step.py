"""Gain and noise of one reverse step, for each singular direction of the degradation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..support.errors import InputError
from .resolution import ResolutionSchedule

_ROUNDING = 1e-12  # of σ_s²: a matched change leaves no noise in the kept band


def reverse_step(
    schedule: ResolutionSchedule, t: int, s: int, singular: float | np.ndarray, eta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gains ``k_i`` on the residual of ``x_t``, and variances of the added noise (mathematics §2).

    ``k_i = η κ s_i + (1 − η) σ_s/σ_t`` with ``κ = (a_t/a_s) σ_s²/σ_t²``, and the noise variance
    ``σ_s² − σ_t² k_i²``, which keep every marginal. Directions that only the larger state has have
    no gain, and noise of variance ``σ_s²``.

    Parameters
    ----------
    schedule : ResolutionSchedule
    t, s : int
        From step ``t`` to ``s < t``.
    singular : float or array
        Singular values ``s_i`` of ``M_{s+1:t}``.
    eta : float
        From 0 (deterministic) to 1 (ancestral).

    Returns
    -------
    gain, variance : arrays of the shape of ``singular``

    Raises
    ------
    InputError
        If ``eta`` is not in [0, 1].
    """
    check_eta(eta)
    return reverse_gains(
        (schedule.alpha[t], schedule.sigma[t]),
        (schedule.alpha[s], schedule.sigma[s]),
        np.asarray(singular),
        eta,
    )


def reverse_gains(
    state_t: tuple[Any, Any], state_s: tuple[Any, Any], singular: Any, eta: float
) -> tuple[Any, Any]:
    """`reverse_step` from the amplitudes ``(a, σ)`` of both states.

    For numbers, numpy arrays and torch tensors that broadcast; ``eta`` is not checked.
    """
    (a_t, sigma_t), (a_s, sigma_s) = state_t, state_s
    ancestral = (a_t / a_s) * sigma_s**2 / sigma_t**2 * singular
    gain = eta * ancestral + (1 - eta) * sigma_s / sigma_t
    variance = sigma_s**2 - sigma_t**2 * gain**2
    return gain, variance * (variance >= _ROUNDING * sigma_s**2)


def check_eta(eta: float) -> None:
    """Raise `InputError` unless ``eta`` lies in [0, 1]."""
    if not 0 <= eta <= 1:
        raise InputError(f"eta {eta}: must lie between 0 and 1")
