"""Networks that `ssd bench unet` and `ssd bench train` compare, behind one interface."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..devices import compute_device, use_bf16, use_compile
from ..network.flexi_unet import FlexiUNet
from .schedules import PathSize

Call = Callable[[Tensor, Tensor, int], Tensor]


class Compute(NamedTuple):
    """Device, precision and compilation with which networks run."""

    device: torch.device
    bf16: bool = False
    compiled: bool = False

    @classmethod
    def of(cls, bf16: bool | None, compiled: bool | None) -> Compute:
        """Settings of this process; by default bfloat16 where that is faster, compiled on GPUs."""
        device = compute_device()
        return cls(device, use_bf16(device, bf16), use_compile(device, compiled))

    def __str__(self) -> str:
        return ("bfloat16 autocast" if self.bf16 else "float32") + (
            ", compiled" if self.compiled else ""
        )


CPU = Compute(torch.device("cpu"))  # float32


@dataclass
class Contender:
    """A network to be timed, with one interface for calls and training steps.

    Parameters
    ----------
    name : str
    module : torch.nn.Module
    call : function
        From states (N, C, r, r), steps (N,) and the output resolution to predictions.
    paths : list of (int, int)
        Resolutions of state and prediction that the network supports.
    compute : Compute
    channels : int
        Channels C of the images.
    """

    fused: ClassVar[bool] = True  # whether AdamW uses its fused implementation

    name: str
    module: torch.nn.Module
    call: Call
    paths: list[PathSize]
    compute: Compute
    channels: int = 3

    def __post_init__(self) -> None:
        parameters = list(self.module.parameters())
        fused = self.fused or None  # None: PyTorch chooses
        self._optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=fused)
        self._average = [p.detach().clone() for p in parameters]

    def infer(self, path: PathSize, batch: int) -> None:
        """Call the network once without gradient, on random states."""
        x, _, t = self._batch(path, batch)
        with torch.inference_mode(), self._autocast():
            self.call(x, t, path[1])

    def train(self, path: PathSize, batch: int) -> None:
        """Make one training step on random states: forward, squared error, backward, update."""
        x, target, t = self._batch(path, batch)
        with self._autocast():
            prediction = self.call(x, t, path[1])
        self._descend((prediction.float() - target).square().mean())

    def _descend(self, loss: Tensor) -> None:
        """Clip gradients, step AdamW and average weights, as `Trainer` does."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        parameters = [p.detach() for p in self.module.parameters()]
        torch._foreach_lerp_(self._average, parameters, 1e-4)

    def peak_memory(self, path: PathSize, batch: int, training: bool) -> int:
        """Peak memory of a call or training step in bytes, beyond weights and optimizer state."""
        run = self.train if training else self.infer
        if self.compute.device.type == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            run(path, batch)
            return torch.cuda.max_memory_allocated() - before
        with LiveTensors() as live:
            run(path, batch)
        return live.peak

    def _batch(self, path: PathSize, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.randn(batch, self.channels, path[0], path[0], device=self.compute.device)
        target = torch.randn(batch, self.channels, path[1], path[1], device=self.compute.device)
        return x, target, torch.randint(1000, (batch,), device=self.compute.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.compute.device.type, torch.bfloat16, enabled=self.compute.bf16)


class LiveTensors(TorchDispatchMode):
    """Dispatch mode that tracks the bytes of live tensors created by operators."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Iterable[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: weakref.ref) -> None:
            if self._known.pop(key, None) is not None:
                self._now -= size

        self._known[key] = weakref.ref(storage, gone)
        self._now += size
        self.peak = max(self.peak, self._now)


def flexi_contender(name: str, unet: FlexiUNet, compute: Compute) -> Contender:
    """Contender of a `FlexiUNet`, which is moved to the device and compiled if so set."""
    unet.to(compute.device)
    if compute.compiled:
        unet.compile()

    def call(x: Tensor, t: Tensor, r_out: int) -> Tensor:
        labels = None if unet.num_classes is None else torch.zeros_like(t)
        return unet(x, t, r_out, labels).sample

    return Contender(name, unet, call, unet.paths, compute, unet.in_channels)
