"""Arrays as tensors: made once for each device and dtype that asks, and no part of any graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WITHOUT_FLOAT64 = {"mps"}  # kinds of devices: Apple's GPUs


def float64_device(device: torch.device) -> torch.device:
    """Where the few numbers that need float64 are computed for tensors on ``device``.

    There, but for Apple's GPUs, which have no float64: for them on the CPU.
    """
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


class Constants:
    """Tensors of arrays, kept where they were asked for, so that later calls copy nothing.

    They are ordinary tensors, usable for gradients, whatever the mode (`torch.inference_mode`) of
    the call that made them. Copies and pickles begin without any: they are made again on use.

    Parameters
    ----------
    kept : int, optional
        Tensors that are kept, the latest; all by default.
    """

    def __init__(self, kept: int | None = None):
        self._kept = kept
        self._tensors: dict[Hashable, Tensor] = {}

    def __call__(
        self,
        key: Hashable,
        make: Callable[[], np.ndarray],
        like: Tensor,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The array that ``make`` returns for ``key``, on the device of ``like``.

        In float64 it may be elsewhere, see `float64_device`.

        Parameters
        ----------
        key : hashable
            Equal for equal arrays; compared by value, so no ``id`` of an object.
        make : callable
        like : tensor
        dtype : torch.dtype, optional
            By default that of ``like``.
        """
        dtype = dtype or like.dtype
        device = float64_device(like.device) if dtype == torch.float64 else like.device
        full = (key, device, dtype)
        if full not in self._tensors:
            if self._kept is not None and len(self._tensors) >= self._kept:
                del self._tensors[next(iter(self._tensors))]
            with torch.inference_mode(False):
                self._tensors[full] = torch.tensor(make(), dtype=dtype, device=device)
        return self._tensors[full]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tensors": {}}
