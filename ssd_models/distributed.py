"""Several processes, started by torchrun or accelerate: this one's index, and gathering."""

from __future__ import annotations

import os
from typing import TypeVar

from theory.support.errors import InputError

T = TypeVar("T")


def process_index() -> int:
    """Index of this process, from the environment; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def num_processes() -> int:
    """Number of processes that a launcher started, from the environment; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_all_found(found: int) -> None:
    """Raise `InputError` unless ``found`` processes, those connected, are all that were started.

    Otherwise each process would do all the work alone.
    """
    if found != num_processes():
        raise InputError(
            f"{num_processes()} processes were started but {found} found each other; start them "
            "with torchrun or accelerate launch"
        )


def part_ways() -> None:
    """Disconnect the processes that `gathered` connected, so that each may end at its own time."""
    if num_processes() > 1:
        from accelerate import PartialState

        PartialState(cpu=True).destroy_process_group()


def gathered(objects: list[T]) -> list[T]:
    """Concatenate the objects of all processes, in order, on each of them; waits for all."""
    if num_processes() == 1:
        return objects
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState(cpu=True)  # connects the processes
    return gather_object(objects)
