"""Work on all cores, one thread of Python for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from theory.support.cores import available_cores

In = TypeVar("In")
Out = TypeVar("Out")


def mapped(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Results of ``function`` in order, computed in threads in each of which torch uses one core.

    Small transforms and decompositions gain nothing from threads of their own, and where other
    processes want the cores, waiting for these takes up to fifty times as long as the work.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            available_cores(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(before)  # threads that others start would have one too
