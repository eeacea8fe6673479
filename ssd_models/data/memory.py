"""How much memory there is to take."""

from __future__ import annotations

from pathlib import Path

import psutil

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_memory() -> int:
    """Bytes that the machine can give without swapping, at most those of its container."""
    available: int = psutil.virtual_memory().available
    try:
        return min(available, int(_CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return available
