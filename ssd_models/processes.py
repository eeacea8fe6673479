"""Which of several processes this one is, as torchrun and accelerate say in the environment."""

from __future__ import annotations

import os


def process_index() -> int:
    """Index of this process, 0 for the only one."""
    return int(os.environ.get("RANK", "0"))


def num_processes() -> int:
    """How many processes a launcher has started together, 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
