"""Memory that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def local_processes() -> int:
    """Number of processes that a launcher started on this machine; 1 without a launcher."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1))


def available_memory() -> int:
    """Bytes that this process may allocate.

    The memory that is free without swapping, at most the limit of the container, divided by the
    number of processes that a launcher started on this machine.
    """
    return _of_machine() // local_processes()


def _of_machine() -> int:
    available: int = psutil.virtual_memory().available
    try:
        return min(available, int(_CONTAINER_LIMIT.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no container, or one without a limit
        return available
