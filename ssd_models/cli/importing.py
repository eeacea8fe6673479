"""`ssd import-official`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from theory.schedule.paper import PAPER

from .options import File, Output


@dataclass(frozen=True)
class ImportOfficialCommand:
    """Convert a checkpoint of the paper's public code to a model directory for `ssd sample`.

    Example: ssd import-official ssd_64res_celeba_4levels_ema_0.9999_1000000.pt -o celeba
    """

    checkpoint: Positional[File]
    """A .pt file of raw or averaged (EMA) weights; only tensors are read from it."""
    output: Output = "model"
    """New model directory."""
    image_size: int | None = None
    """Full resolution in pixels; by default inferred from the weights."""
    levels: int | None = None
    """Number of training resolutions; by default read from the file name (..._4levels_...)."""
    schedule: str = PAPER
    """The paper's name of the resolution schedule of the training."""

    def run(self) -> None:
        """Run the command."""
        from theory.support.files import check_new_folder

        check_new_folder(self.output)  # before torch is imported
        from ..sampling.official import import_official

        pipeline = import_official(
            self.checkpoint, self.output, self.image_size, self.levels, self.schedule
        )
        levels = ", ".join(map(str, pipeline.scheduler.schedule.levels))
        count = sum(p.numel() for p in pipeline.unet.parameters())
        print(
            f"{self.output}: {count / 1e6:.2f} M parameters, resolutions {levels}; try "
            f"`ssd sample {self.output}`"
        )
