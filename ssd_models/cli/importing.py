"""`ssd import-official`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from .options import File, Output


@dataclass(frozen=True)
class ImportOfficialCommand:
    """Turn a checkpoint of the paper's public code into a model directory that `ssd sample` takes.

    Example: ssd import-official ssd_64res_celeba_4levels_ema_0.9999_1000000.pt -o celeba
    """

    checkpoint: Positional[File]
    """A .pt file, of raw or averaged weights; nothing but tensors is read from it."""
    output: Output = "model"
    """New model directory."""
    image_size: int | None = None
    """Full resolution in pixels; by default as the weights say."""
    levels: int | None = None
    """Resolutions that it was trained at; by default as the file name says (..._4levels_...)."""
    schedule: str = "ConvexDecay_0.5"
    """The paper's name of the resolution schedule that it was trained on."""

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
