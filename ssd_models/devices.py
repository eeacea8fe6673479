"""The device that a process computes on, and its precision."""

from __future__ import annotations

import os

import torch


def compute_device() -> torch.device:
    """The GPU of this process (``LOCAL_RANK`` of several) if there are any, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def use_compile(device: torch.device | str, wanted: bool | None = None) -> bool:
    """Whether to compile networks; unless ``wanted`` says so, on GPUs."""
    return torch.device(device).type == "cuda" if wanted is None else wanted


def use_bf16(device: torch.device | str, wanted: bool | None = None) -> bool:
    """Whether to run networks in bfloat16 autocast.

    Parameters
    ----------
    device : torch.device or str
    wanted : bool, optional
        By default whether the device computes in bfloat16 itself, so that autocast saves time.
    """
    if wanted is not None:
        return wanted
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public name yet
    return bool(supported and supported())
