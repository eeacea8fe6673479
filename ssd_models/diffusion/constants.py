"""Cache of arrays as tensors, one for each device and dtype."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WITHOUT_FLOAT64 = {"mps"}  # device types: Apple's GPUs


def float64_device(device: torch.device) -> torch.device:
    """Device for float64 computations with tensors on ``device``.

    It is ``device`` itself, or the CPU for Apple's GPUs, which have no float64.
    """
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


class Constants:
    """Cache of arrays as tensors on the devices that use them, so that later calls copy nothing.

    The tensors can be used with gradients even if a call in `torch.inference_mode` made them.
    Copies and pickles of a cache are empty.

    Parameters
    ----------
    kept : int, optional
        Most tensors to keep; the oldest are dropped. By default all are kept.
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
        """Return an array as a tensor on the device of ``like``.

        Parameters
        ----------
        key : hashable
            Identifies the array by value; the ``id`` of an object is not suitable.
        make : callable
            Returns the array; called if the tensor is not cached.
        like : tensor
        dtype : torch.dtype, optional
            By default that of ``like``. A float64 tensor is on its `float64_device`.

        Returns
        -------
        tensor
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
