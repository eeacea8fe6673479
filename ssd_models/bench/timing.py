"""Median times of jobs run in turns, so that noise of the machine affects all of them alike."""

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
    """Mean seconds of ``count`` runs of ``job``; ``synchronize`` waits for the device."""
    started = time.perf_counter()
    for _ in range(count):
        job()
    if synchronize is not None:
        synchronize()
    return (time.perf_counter() - started) / count


def median_seconds(
    jobs: Mapping[Name, Job], repeats: int, least: float = 0.0, synchronize: Job | None = None
) -> dict[Name, float]:
    """Median seconds of each job over ``repeats`` repetitions, after a warm-up.

    In each repetition all jobs run in turn. A job shorter than ``least`` seconds is run as often as
    fills them and averaged. ``synchronize`` waits for the device.
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
