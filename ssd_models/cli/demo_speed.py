"""Number of training steps that fit into a given time."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

from ..training.trainer import Trainer

_TIMED = 5  # timed steps of each path, after one for warm-up


def steps_within(seconds: float, trainer: Trainer) -> int:
    """Number of training steps that take about ``seconds``, at least 1.

    Trains the network of ``trainer`` until each path has been timed, and averages the mean times
    with the paths' probabilities. The trainer must not be used afterwards. No files are written.
    """
    times: dict[str, list[float]] = defaultdict(list)
    step = 0
    while any(len(times[path.name]) <= _TIMED for path in trainer.paths.paths):
        began = time.perf_counter()
        batches = trainer.batches.draw(step, 0)  # while training it competes for the same cores
        trainer.learner.step(batches, trainer.batches, 1.0).tolist()  # waits for a GPU
        times[batches[0].path.name].append(time.perf_counter() - began)
        step += 1
    mean = sum(
        path.probability * statistics.fmean(times[path.name][1:]) for path in trainer.paths.paths
    )
    return max(1, round(seconds / mean))
