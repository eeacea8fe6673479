"""The paper's named resolution schedules.

Mukhopadhyay et al., *Scale Space Diffusion*, CVPR 2026.
"""

from __future__ import annotations

import math

import numpy as np

from ..support.errors import InputError

PAPER = "ConvexDecay_0.5"
"""The paper's own choice."""

NAMES = ("equal", "ConvexDecay_GAMMA", "SigmoidLikeDecay_GAMMA", "TanhLikeDecay_GAMMA")
_DEFAULT_GAMMA = {"ConvexDecay": 0.5}


def paper_level_index(name: str, num_steps: int, num_levels: int) -> np.ndarray:
    """Level of each step, 0 for full resolution, 1 for half of it, and so on.

    Parameters
    ----------
    name : str
        "equal", "ConvexDecay_γ", "SigmoidLikeDecay_γ" or "TanhLikeDecay_γ" with a number γ > 0.
    num_steps, num_levels : int
        T and the number of levels, at least 1.

    Returns
    -------
    (T,) int, never falling

    Raises
    ------
    InputError
        If the name is unknown.
    """
    family, gamma = _parse(name)
    tau = np.arange(num_steps) / max(num_steps - 1, 1)
    if family in ("equal", "ConvexDecay"):
        share = tau if family == "equal" else 1 - (1 - tau) ** gamma
        return np.minimum(np.floor(share * num_levels).astype(int), num_levels - 1)
    curve = _tanh_like if family == "TanhLikeDecay" else _sigmoid_like
    share = 1 - curve(1 - tau, gamma)  # falls from 1 to 0
    from_below = np.floor(share * num_levels).astype(int).clip(0, num_levels - 1)
    return num_levels - 1 - from_below


def _parse(name: str) -> tuple[str, float]:
    family, separator, suffix = name.partition("_")
    if name == "equal":
        return family, 1.0
    if family in ("ConvexDecay", "SigmoidLikeDecay", "TanhLikeDecay"):
        try:
            gamma = float(suffix) if separator else _DEFAULT_GAMMA[family]
        except (KeyError, ValueError):
            gamma = math.nan
        if 0 < gamma < math.inf:
            if family != "ConvexDecay" and abs(_lowest(gamma)) < 1e-9:
                raise InputError(f"schedule {name!r}: its curve is lost to rounding; lower GAMMA")
            return family, gamma
    raise InputError(
        f"schedule {name!r}: unknown; use one of {', '.join(NAMES)} with a positive number GAMMA"
    )


def _tanh_like(tau: np.ndarray, gamma: float) -> np.ndarray:
    """½ f(τ − ½) / f(−½) + ½ with f(u) = 3v² − 2v³ − ½, v = sign(u)|u|^γ + ½."""
    u = tau - 0.5
    v = np.sign(u) * np.abs(u) ** gamma + 0.5
    return 0.5 * (3 * v**2 - 2 * v**3 - 0.5) / _lowest(gamma) + 0.5


def _sigmoid_like(tau: np.ndarray, gamma: float) -> np.ndarray:
    """u + ½ where u solves ½ f(u) / f(−½) = τ − ½, with the f of `_tanh_like`."""
    value = 2 * (tau - 0.5) * _lowest(gamma) + 0.5  # 3v² − 2v³
    v = 0.5 - np.sin(np.arcsin(np.clip(1 - 2 * value, -1, 1)) / 3)
    return np.sign(v - 0.5) * np.abs(v - 0.5) ** (1 / gamma) + 0.5


def _lowest(gamma: float) -> float:
    v = 0.5 - 0.5**gamma
    return 3 * v**2 - 2 * v**3 - 0.5
