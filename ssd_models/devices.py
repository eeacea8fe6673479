"""Device and precision of a process."""

from __future__ import annotations

import os

import torch


def compute_device() -> torch.device:
    """GPU of this process (number ``LOCAL_RANK`` of several), or the CPU if there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def use_compile(device: torch.device | str, wanted: bool | None = None) -> bool:
    """Whether to compile networks: ``wanted``, by default on GPUs only."""
    return torch.device(device).type == "cuda" if wanted is None else wanted


def use_bf16(device: torch.device | str, wanted: bool | None = None) -> bool:
    """Whether to run networks in bfloat16 autocast.

    Parameters
    ----------
    device : torch.device or str
    wanted : bool, optional
        The result, if given. By default True if the device has bfloat16 arithmetic, so that
        autocast saves time.
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
