"""Networks that `ssd bench unet` and `ssd bench train` compare, behind one interface."""

from __future__ import annotations

import importlib
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from theory.schedule.costs import BLOCKS_PER_LEVEL, PAPER_MULTIPLIERS, paper_architecture
from theory.support.errors import InputError, reason

from ..network.flexi_unet import FlexiUNet

Call = Callable[[Tensor, Tensor, int], Tensor]
PathSize = tuple[int, int]  # input and output resolution in pixels


@dataclass
class Contender:
    """A network, how it is called, and in which precision."""

    fused: ClassVar[bool] = True  # optimizer

    name: str
    module: torch.nn.Module
    call: Call  # from states (N, 3, r, r), steps (N,) and output resolution to predictions
    paths: list[PathSize]
    bf16: bool  # autocast
    device: torch.device
    channels: int = 3  # of the images

    def __post_init__(self) -> None:
        parameters = list(self.module.parameters())
        fused = self.fused or None  # None: as the library chooses
        self._optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=fused)
        self._average = [p.detach().clone() for p in parameters]

    def infer(self, path: PathSize, batch: int) -> None:
        """One call without gradient."""
        x, _, t = self._batch(path, batch)
        with torch.inference_mode(), self._autocast():
            self.call(x, t, path[1])

    def train(self, path: PathSize, batch: int) -> None:
        """One step: forward, squared error, backward, update."""
        x, target, t = self._batch(path, batch)
        with self._autocast():
            prediction = self.call(x, t, path[1])
        self._descend((prediction.float() - target).square().mean())

    def _descend(self, loss: Tensor) -> None:
        """Clipped gradient, AdamW, moving average of the weights: as `Trainer` does."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        parameters = [p.detach() for p in self.module.parameters()]
        torch._foreach_lerp_(self._average, parameters, 1e-4)

    def peak_memory(self, path: PathSize, batch: int, training: bool) -> int:
        """Bytes of all tensors alive at once, at most, beyond weights and optimizer."""
        run = self.train if training else self.infer
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            run(path, batch)
            return torch.cuda.max_memory_allocated() - before
        with LiveTensors() as live:
            run(path, batch)
        return live.peak

    def _batch(self, path: PathSize, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.randn(batch, self.channels, path[0], path[0], device=self.device)
        target = torch.randn(batch, self.channels, path[1], path[1], device=self.device)
        return x, target, torch.randint(1000, (batch,), device=self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of tensors that operators make, while they live."""

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


@dataclass
class PublicContender(Contender):
    """The published network with the update of its own training loop."""

    fused: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("fp16_util", "nn", "logger")
        tools, functions, logger = (
            importlib.import_module(f"guided_diffusion.{name}") for name in names
        )
        logger.configure(tempfile.gettempdir(), [])  # it would print otherwise
        self._trainer = tools.MixedPrecisionTrainer(model=self.module)
        self._update_average = functions.update_ema

    def _descend(self, loss: Tensor) -> None:
        self._trainer.zero_grad()
        self._trainer.backward(loss)
        self._trainer.optimize(self._optimizer)
        self._update_average(self._average, self._trainer.master_params, rate=0.9999)


def flexi_contender(
    name: str, unet: FlexiUNet, bf16: bool, compiled: bool, device: torch.device
) -> Contender:
    """Our network."""
    unet.to(device)
    if compiled:
        unet.compile()

    def call(x: Tensor, t: Tensor, r_out: int) -> Tensor:
        labels = None
        if unet.num_classes is not None:
            labels = torch.zeros_like(t)
        return unet(x, t, r_out, labels).sample

    return Contender(name, unet, call, unet.paths, bf16, device, unet.in_channels)


def public_contender(
    folder: str, resolution: int, levels: int, base_channels: int, device: torch.device
) -> Contender:
    """The published implementation from a checkout of its repository, float32, as it comes.

    Raises
    ------
    InputError
        If the folder is no such checkout, or has no network of that resolution or width.
    """
    if not (Path(folder) / "guided_diffusion" / "unet.py").is_file():
        raise InputError(
            f"{folder}: is no checkout of the public code (guided_diffusion/unet.py is missing)"
        )
    if resolution not in PAPER_MULTIPLIERS:
        raise InputError(f"the public code has no network for {resolution} px")
    sys.path.insert(0, str(Path(folder).absolute()))
    try:
        published = importlib.import_module("guided_diffusion.unet")
    finally:
        sys.path.pop(0)
    multipliers, attention = paper_architecture(resolution)
    sizes = [resolution >> level for level in range(levels)]
    try:
        module = published.FlexiUNet(
            resolution,
            3,
            base_channels,
            3,
            BLOCKS_PER_LEVEL,
            tuple(resolution // r for r in attention),
            channel_mult=tuple(map(float, multipliers)),
            num_heads=4,
            use_scale_shift_norm=True,
            unet_res_layer_map={r: r for r in sizes},
        ).to(device)
    except ValueError as error:  # its normalization needs multiples of 32 channels
        raise InputError(
            f"the public code has no network of {base_channels} base channels ({reason(error)})"
        ) from error

    def call(x: Tensor, t: Tensor, r_out: int) -> Tensor:
        if r_out == x.shape[-1]:
            return module(x, t, None)
        if r_out == resolution:  # its process resizes such states up and runs the whole network
            size = (resolution, resolution)
            x = torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
            return module(x, t, None)
        return module(x, t, torch.full((len(x),), float(r_out), device=x.device))

    paths = [(small, large) for small in sizes for large in sizes if small <= large]
    return PublicContender("public code", module, call, paths, False, device)
