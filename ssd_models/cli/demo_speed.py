"""How many steps of a training fit into a given time."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

from ..training.trainer import Trainer

_TIMED = 5  # steps of each path that are timed, after one that warms up


def steps_within(seconds: float, trainer: Trainer) -> int:
    """Number of training steps that take ``seconds``, at least 1.

    Trains the network of ``trainer``, which is to be thrown away, until each path has been timed,
    and weighs the median times by how often the paths are drawn. Nothing is written.
    """
    times: dict[str, list[float]] = defaultdict(list)
    step = 0
    while any(len(times[path.name]) <= _TIMED for path in trainer.paths.paths):
        batches = trainer.batches.draw(step, 0)
        began = time.perf_counter()
        trainer.learner.step(batches, trainer.batches, 1.0).tolist()  # waits for a GPU
        times[batches[0].path.name].append(time.perf_counter() - began)
        step += 1
    mean = sum(
        path.probability * statistics.median(times[path.name][1:]) for path in trainer.paths.paths
    )
    return max(1, round(seconds / mean))
