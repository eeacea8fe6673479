"""How much memory there is to take."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def local_processes() -> int:
    """How many processes a launcher has started together on this machine, 1 without one."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1))


def available_memory() -> int:
    """Bytes that this process may take.

    What the machine can give without swapping, at most that of its container, in equal parts for
    all processes that a launcher has started on it.
    """
    return _of_machine() // local_processes()


def _of_machine() -> int:
    available: int = psutil.virtual_memory().available
    try:
        return min(available, int(_CONTAINER_LIMIT.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no container, or one without a limit
        return available
