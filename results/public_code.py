"""Time the paper's public network and ours in the same run.

    python results/public_code.py CHECKOUT [train|unet] [--help] [-o FILE.json]

The tables of `ssd bench train` or `ssd bench unet` with the public network added. CHECKOUT is a
checkout of the paper's public repository, whose Python code is executed: its unmodified network in
float32, with the update of its own training loop. `public_sampling.py` compares the samplers.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
import tyro
from torch import Tensor
from tyro.conf import Positional

from ssd_models.bench.contenders import Compute, Contender
from ssd_models.bench.network import measure_train, measure_unet
from ssd_models.bench.report import publish
from ssd_models.bench.setting import NetworkSetting
from ssd_models.cli.options import ReportOutput
from theory import InputError
from theory.schedule.costs import BLOCKS_PER_LEVEL, PAPER_MULTIPLIERS, paper_architecture
from theory.support.errors import reason


@dataclass(frozen=True)
class CommonOptions:
    """Options that apply to our network and to the public one."""

    folder: Positional[str]
    """Checkout of the public code."""
    resolution: int = 64
    """Full resolution in pixels."""
    levels: int = 4
    """Number of resolutions R, R/2, R/4, …"""
    base_channels: int = 64
    """Channels at width multiplier 1; a multiple of 32."""
    batch: int = 16
    """Images per batch."""
    repeats: int = 5
    """Repetitions; their median is reported."""
    output: ReportOutput = None


@dataclass(frozen=True)
class Options(CommonOptions):
    """Options of the comparison of networks."""

    what: Positional[Literal["train", "unet"]] = "train"
    """Training steps, or calls without gradient."""

    def main(self) -> None:
        """Measure, print and write the report."""
        setting = NetworkSetting(
            "paper",
            self.base_channels,
            self.batch,
            repeats=self.repeats,
            resolution=self.resolution,
            levels=self.levels,
        )
        device = Compute.of(None, None).device
        public = public_contender(
            self.folder, self.resolution, self.levels, self.base_channels, device
        )
        measure = measure_train if self.what == "train" else measure_unet
        publish(lambda: measure(setting, [public]), self.output)


@dataclass
class PublicContender(Contender):
    """The public network with the update of its own training loop."""

    fused: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("fp16_util", "nn", "logger")
        tools, functions, logger = (
            importlib.import_module(f"guided_diffusion.{name}") for name in names
        )
        logger.configure(tempfile.gettempdir(), [])  # disables its output
        self._trainer = tools.MixedPrecisionTrainer(model=self.module)
        self._update_average = functions.update_ema

    def _descend(self, loss: Tensor) -> None:
        self._trainer.zero_grad()
        self._trainer.backward(loss)
        self._trainer.optimize(self._optimizer)
        self._update_average(self._average, self._trainer.master_params, rate=0.9999)


def public_contender(
    folder: str, resolution: int, levels: int, base_channels: int, device: torch.device
) -> Contender:
    """Build the unmodified public network from a checkout of its repository, in float32.

    Raises
    ------
    InputError
        If the folder is not such a checkout or has no network of that resolution or width.
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
        if r_out == resolution:  # its process upsamples the state and runs the whole network
            size = (resolution, resolution)
            x = torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
            return module(x, t, None)
        return module(x, t, torch.full((len(x),), float(r_out), device=x.device))

    paths = [(small, large) for small in sizes for large in sizes if small <= large]
    return PublicContender("public code", module, call, paths, Compute(device))


def run(script: Callable[[], None]) -> None:
    """Run a script; on `InputError` exit with its message."""
    try:
        script()
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__).main)
