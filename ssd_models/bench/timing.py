"""Median times of jobs that take turns, so that a noisy machine troubles all of them alike."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from tqdm import tqdm

Job = Callable[[], object]
Name = TypeVar("Name", bound=Hashable)


def seconds_of(job: Job, count: int = 1, synchronize: Job | None = None) -> float:
    """Seconds of ``job``, the mean of ``count`` in a row; ``synchronize`` waits for a device."""
    started = time.perf_counter()
    for _ in range(count):
        job()
    if synchronize is not None:
        synchronize()
    return (time.perf_counter() - started) / count


def median_seconds(
    jobs: Mapping[Name, Job], repeats: int, least: float = 0.0, synchronize: Job | None = None
) -> dict[Name, float]:
    """Median seconds of each job over ``repeats`` turns, after one that warms up.

    A job that lasts less than ``least`` seconds is done as often in a turn as fills them.
    """
    counts = dict.fromkeys(jobs, 1)
    times: dict[Name, list[float]] = {name: [] for name in jobs}
    total = (repeats + 1) * len(jobs)
    with tqdm(total=total, unit="job", leave=False, disable=not sys.stderr.isatty()) as bar:
        for name, job in jobs.items():
            seconds_of(job, 1, synchronize)
            if least:
                counts[name] = max(1, math.ceil(least / seconds_of(job, 1, synchronize)))
            bar.update()
        for _ in range(repeats):
            for name, job in jobs.items():
                times[name].append(seconds_of(job, counts[name], synchronize))
                bar.update()
    return {name: statistics.median(values) for name, values in times.items()}
