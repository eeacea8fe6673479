"""Which of several processes this one is, as torchrun and accelerate say in the environment."""

from __future__ import annotations

import os
from typing import TypeVar

from theory.support.errors import InputError

T = TypeVar("T")


def process_index() -> int:
    """Index of this process, 0 for the only one."""
    return int(os.environ.get("RANK", "0"))


def num_processes() -> int:
    """How many processes a launcher has started together, 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_all_found(found: int) -> None:
    """Refuse to go on if not all processes that were started have found each other.

    Raises
    ------
    InputError
        If ``found`` are fewer, each of which would do everything alone.
    """
    if found != num_processes():
        raise InputError(
            f"{num_processes()} processes were started but {found} found each other; start them "
            "with torchrun or accelerate launch"
        )


def part_ways() -> None:
    """End what `gathered` began, so that processes may end at different times."""
    if num_processes() > 1:
        from accelerate import PartialState

        PartialState(cpu=True).destroy_process_group()


def gathered(objects: list[T]) -> list[T]:
    """Objects of all processes, in their order, on each of them; waits for all."""
    if num_processes() == 1:
        return objects
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState(cpu=True)  # they come to know each other
    return gather_object(objects)
