"""Messages on a run's remaining time and cost, and periods of events."""

from __future__ import annotations

from ..network.flexi_unet import FlexiUNet
from ..network.path_costs import path_flops
from .batches import Batches
from .config import TrainConfig


def due(step: int, period: int, anyway: bool = False) -> bool:
    """Whether an event with a period of steps (0: none) is due after ``step``, or ``anyway``."""
    return anyway or (period > 0 and step % period == 0)


def time_line(config: TrainConfig, step: int, seconds: float) -> str:
    """Message on the remaining time at ``seconds`` per step, the next samples and checkpoint."""
    left = config.steps - step
    samples = _next_due(step, config.sample_every, config.steps)
    checkpoint = _next_due(step, config.checkpoint_every, config.steps)
    return (
        f"about {_duration(left * seconds)} for {left:,} more steps; the next samples at step "
        f"{samples:,}, in {_duration((samples - step) * seconds)}, the next checkpoint at "
        f"{checkpoint:,}"
    )


def cost_line(unet: FlexiUNet, batches: Batches) -> str:
    """Message on the FLOP of the whole run, also relative to as many images at full resolution.

    Counts forward and backward passes (`ssd_models.network.path_costs.path_flops`), and each path
    by its expected number of images.
    """
    drawn = [(p, p.probability * batches.size(p)) for p in batches.paths.paths]
    cost = sum(n * path_flops(unet, p.r_in, p.r_out, training=True) for p, n in drawn)
    whole = path_flops(unet, unet.image_size, unet.image_size, training=True)
    share = cost / (sum(n for _, n in drawn) * whole)
    return (
        f"{batches.config.steps:,} steps cost {cost * batches.config.steps:.2g} FLOP in all, "
        f"{share:.2f} of what as many images cost at one level of full resolution"
    )


def _duration(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _next_due(step: int, period: int, last: int) -> int:
    """First step after ``step`` at which an event is due, by its period or as the last."""
    return min((step // period + 1) * period, last) if period > 0 else last
