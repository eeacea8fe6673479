"""`ssd sample`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from theory.support.errors import InputError
from theory.support.seeds import check_seed

from .options import OptionalPath, Output, Run


@dataclass(frozen=True)
class SampleCommand:
    """Generate images with a trained model.

    Example: ssd sample run -n 64 --steps 50 --eta 0 --seed 0 -o samples.png
    """

    run_directory: Positional[Run] = "run"
    """Run directory or model directory."""
    number: Annotated[int, arg(aliases=["-n"])] = 64
    """Number of images."""
    steps: int | None = None
    """Network calls, 50 by default; calls that changes of resolution need are always made."""
    eta: float = 0.0
    """0 deterministic, 1 ancestral."""
    sampler: str | None = None
    """`whitened` (second order, the Gaussian part solved exactly), `dpmpp_2m` (second order) or
    `eta` (first order); by default the first that the model and the other options allow."""
    spacing: Literal["logsnr", "uniform", "edm", "alpha", "planned"] = "logsnr"
    """Spacing of the steps; `planned`: minimizes the exact Gaussian error, or the plan of `derive
    --calls`."""
    last_snr: float | None = None
    """End the chain at this signal-to-noise ratio, say 100, and keep the prediction there: for
    networks that are still poor at little noise; `inf` for the schedule's last step. By default
    what the run was trained with (`train --last-snr`)."""
    changes: Literal["network", "corrected", "free"] | None = None
    """At a change of resolution: call the network across it (`network`), correct that by the next
    prediction (`corrected`), or upsample the state and add noise without a call (`free`). By
    default what fits the schedule."""
    spectral_variance: bool = False
    """Add the posterior variance of Gaussian data with the training spectrum to each step; for few
    steps with eta 1."""
    classes: tuple[str, ...] = ()
    """Classes by name or number, assigned to the images in turn, for a class-conditional model."""
    guidance: float = 1.0
    """Scale of classifier-free guidance; 1 for none."""
    guidance_interval: tuple[float, float] | None = None
    """Guide only at noise levels (sigma over alpha) from the first to the second number."""
    seed: int = 0
    """The same seed gives the same images."""
    output: Output = "samples.png"
    """A .png (grid), an .npz (uint8 array `images`), or a new folder of PNG files. Channels other
    than grey or RGB are shown side by side in a grid; a folder cannot hold them."""
    batch: int = 64
    """Images per network call."""
    bf16: bool = False
    """Run the network in bfloat16: faster if the processor supports it."""
    animation: OptionalPath = None
    """A .gif or .webp of the clean predictions of up to 16 images, step by step."""

    def run(self) -> None:
        """Run the command."""
        from theory.schedule.reverse_step import check_eta
        from theory.support.files import check_writable, new_folder

        check_eta(self.eta)
        check_seed(self.seed, "--seed")
        if self.number < 1 or self.batch < 1:
            raise InputError("--number and --batch must be at least 1")
        if self.animation is not None:
            from ..sampling.pictures import check_animation_name

            check_animation_name(self.animation)
            check_writable(self.animation)
        suffix = Path(self.output).suffix.lower()
        if suffix in (".png", ".npz"):
            check_writable(self.output)
        elif suffix:
            raise InputError(f"{self.output}: end in .png or .npz, or name a folder")
        # Claim the folder now, not only once there are images.
        with nullcontext(self.output) if suffix else new_folder(self.output) as place:
            self._sample(Path(place), suffix)

    def _sample(self, place: Path, suffix: str) -> None:
        """Sample from a model and write to ``place``: a folder, or a file if it has a suffix."""
        import torch

        from ..devices import compute_device
        from ..sampling.pipeline import ScaleSpacePipeline

        pipeline = ScaleSpacePipeline.from_pretrained(self.run_directory)
        if not suffix and (channels := pipeline.unet.in_channels) not in (1, 3):
            raise InputError(
                f"{self.output}: PNG files of {channels} channels would be read as transparent or "
                "not at all; name an .npz"
            )
        frames: list[Any] = []
        chain = pipeline.to(compute_device()).trajectory(
            self.number,
            self._calls(pipeline.scheduler.schedule),
            eta=self.eta,
            generator=torch.Generator().manual_seed(self.seed),
            max_batch=self.batch,
            bf16=self.bf16,
            progress=True,
            spacing=self.spacing,
            last_snr=self.last_snr,
            changes=self.changes,
            sampler=self.sampler,
            spectral_variance=self.spectral_variance,
            class_labels=self.classes or None,
            guidance_scale=self.guidance,
            guidance_interval=self.guidance_interval,
        )
        results: list[Any] = []
        for state in chain:
            if self.animation is not None and not results:
                frames.append(pipeline.as_output(state.x0[:16], "np").images)
            if state.s is None:
                results.append(state.x)
        images = pipeline.as_output(torch.cat(results), "np").images
        if self.animation is not None:
            from ..sampling.pictures import save_animation

            save_animation(frames, self.animation, pipeline.scheduler.schedule.resolution)
        _write_images(images, place, suffix)
        calls = len(pipeline.scheduler.timesteps)
        print(f"{self.output}: {self.number} images, {calls} network calls each")

    def _calls(self, schedule: Any) -> int | None:
        if self.steps is None and self.spacing == "planned" and "plan" in schedule.derivation:
            return None  # the schedule's plan
        return 50 if self.steps is None else self.steps


def _write_images(images: Any, place: Path, suffix: str) -> None:
    import numpy as np

    from theory.support.files import atomic_path

    from ..sampling.pictures import pictures, save_grid

    if suffix == ".npz":
        with atomic_path(place) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, images=images)  # would add .npz to a name that ends in .NPZ
    elif suffix == ".png":
        save_grid(images, place)
    else:
        for i, picture in enumerate(pictures(images)):
            picture.save(place / f"{i:06d}.png")
