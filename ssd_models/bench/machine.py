"""Description of the machine: processor, threads, versions. Only `torch_machine` imports torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from theory.support.cores import available_cores

if TYPE_CHECKING:
    import torch

_CPU_INFO = "/proc/cpuinfo"


def machine() -> dict[str, Any]:
    """Processor, cores that the process may use, and versions of Python and numpy."""
    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def torch_machine(device: torch.device) -> dict[str, Any]:
    """`machine`, with the GPU if ``device`` is one, torch's threads and its version."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        **machine(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),  # matters on a busy machine
        "torch": torch.__version__,
    }


def describe(found: Mapping[str, Any]) -> str:
    """Text of a result of `machine` or `torch_machine`."""
    if found.get("gpu"):
        return f"torch {found['torch']}, {found['gpu']}"
    if "torch" in found:
        threads = f"{found['threads']} threads of {found['cores']} cores"
        return f"torch {found['torch']}, {found['cpu']}, {threads}"
    return f"numpy {found['numpy']}, {found['cpu']}, {found['cores']} cores"


def _processor() -> str:
    """Model name of the processor; its architecture if unknown."""
    if os.path.exists(_CPU_INFO):
        with open(_CPU_INFO, encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    return platform.processor() or platform.machine()
