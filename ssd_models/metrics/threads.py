"""Parallel map over all cores in Python threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from theory.support.cores import available_cores

In = TypeVar("In")
Out = TypeVar("Out")


def mapped(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Map ``function`` over ``items`` in one thread per core, in each of which torch uses one core.

    Small transforms and decompositions gain nothing from torch's own threads, and on a busy machine
    synchronizing these takes up to fifty times as long as the work.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            available_cores(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(before)  # else new threads would inherit 1
