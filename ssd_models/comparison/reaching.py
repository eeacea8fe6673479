"""Training cost at which one arm reaches the quality of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def cost_to_reach(
    costs: Sequence[float], distances: Sequence[float], target: float
) -> tuple[float, str]:
    """Cost at which a curve of distances first comes down to a target.

    Between measurements the logarithm of the distance is taken as linear in that of the cost, as
    for errors that fall like a power of the cost.

    Parameters
    ----------
    costs : sequence of float
        Rising, positive.
    distances : sequence of float
        Measured at the costs, positive; lower is better.
    target : float
        Positive.

    Returns
    -------
    cost : float
        The last cost if the target is not reached.
    relation : {"", "≤", ">"}
        How the true cost relates to ``cost``: "≤" if the first measurement has reached the target
        already, ">" if none has.
    """
    for i, distance in enumerate(distances):
        if distance > target:
            continue
        if i == 0:
            return float(costs[0]), "≤"
        above, below = np.log([distances[i - 1], distance])
        share = (above - np.log(target)) / (above - below)
        return float(np.exp((1 - share) * np.log(costs[i - 1]) + share * np.log(costs[i]))), ""
    return float(costs[-1]), ">"
