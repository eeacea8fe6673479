"""Model and schedule together: images from noise, and model directories."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from theory.errors import InputError
from theory.schedules import ResolutionSchedule

from .data import to_uint8
from .flexi_unet import FlexiUNet
from .scheduler import ScaleSpaceScheduler

SCHEDULE_FILE = "schedule.json"
Callback = Callable[[int, Tensor, Tensor], None]


class PipelineOutput(NamedTuple):
    """What a call of `ScaleSpacePipeline` returns."""

    images: Any  # list of PIL images; (N, R, R, C) uint8 array; or (N, C, R, R) tensor in [-1, 1]


class ScaleSpacePipeline:
    """A `FlexiUNet` with the `ScaleSpaceScheduler` that it was trained on."""

    def __init__(self, unet: FlexiUNet, scheduler: ScaleSpaceScheduler | ResolutionSchedule):
        if isinstance(scheduler, ResolutionSchedule):
            scheduler = ScaleSpaceScheduler(scheduler)
        schedule = scheduler.schedule
        if missing := sorted(set(schedule.levels) - set(unet.resolutions), reverse=True):
            raise InputError(
                f"schedule: needs resolutions {missing} that the network does not have "
                f"(it has {list(unet.resolutions)})"
            )
        if schedule.resolution != unet.image_size:
            raise InputError(
                f"schedule: has resolution {schedule.resolution}, the network {unet.image_size}"
            )
        self.unet = unet.eval()
        self.scheduler = scheduler

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str], **hub_options: Any) -> Self:
        """Load a model directory, or a repository ``OWNER/NAME`` of the Hugging Face hub.

        A path that exists is read without any network access. ``hub_options`` (``revision``,
        ``token``, …) go to `huggingface_hub`.

        Raises
        ------
        InputError
            If files are missing or do not fit together.
        """
        path = Path(model)
        if path.exists():
            for name in ("config.json", "model.safetensors", SCHEDULE_FILE):
                if not (path / name).is_file():
                    raise InputError(f"{path}: is not a model directory ({name} is missing)")
            schedule_path = path / SCHEDULE_FILE
        else:
            if len(path.parts) != 2 or path.is_absolute():
                raise InputError(f"{path}: no such model directory")
            from huggingface_hub import hf_hub_download

            schedule_path = Path(hf_hub_download(str(model), SCHEDULE_FILE, **hub_options))
        unet = FlexiUNet.from_pretrained(str(model), **hub_options)
        return cls(unet, ResolutionSchedule.load(schedule_path))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and schedule.json into ``folder``."""
        self.unet.save_pretrained(Path(folder))
        self.scheduler.save(Path(folder) / SCHEDULE_FILE)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model directory to the Hugging Face hub; returns the commit's address."""
        from huggingface_hub import HfApi

        api = HfApi(token=options.pop("token", None))
        api.create_repo(repo_id, private=options.pop("private", None), exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **options))

    def to(self, device: torch.device | str) -> ScaleSpacePipeline:
        """Move the network."""
        self.unet.to(device)
        return self

    @torch.inference_mode()
    def __call__(
        self,
        batch_size: int = 1,
        num_inference_steps: int | None = 50,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        timesteps: Sequence[int] | None = None,
        class_labels: Tensor | None = None,
        output_type: str = "pil",
        max_batch: int = 64,
        bf16: bool = False,
        progress: bool = False,
        callback: Callback | None = None,
    ) -> PipelineOutput:
        """Generate images.

        Parameters
        ----------
        batch_size : int
            Number of images.
        num_inference_steps : int, optional
            Network calls, see `select_steps`; None for all steps.
        eta : float
            0 deterministic, 1 ancestral.
        generator : torch.Generator, optional
            The same state gives the same images.
        timesteps : sequence of int, optional
            The steps themselves, in place of a number.
        class_labels : (N,) integer tensor, optional
        output_type : {"pil", "np", "pt"}
            List of PIL images; uint8 (N, R, R, C); or float (N, C, R, R) in [-1, 1].
        max_batch : int
            Images that run through the network at once.
        bf16 : bool
            Run the network under bfloat16 autocast.
        progress : bool
            Show a progress bar.
        callback : callable, optional
            Called after each step with ``(t, x_s, predicted x0)``.
        """
        if output_type not in ("pil", "np", "pt"):
            raise InputError(f"output_type {output_type!r}: choose from pil, np, pt")
        if batch_size < 1 or max_batch < 1:
            raise InputError("batch_size and max_batch: must be at least 1")
        if timesteps is not None:
            self.scheduler.set_timesteps(timesteps=timesteps)
        else:
            self.scheduler.set_timesteps(num_inference_steps)
        device = next(self.unet.parameters()).device
        steps = self.scheduler.timesteps.tolist()
        parts = range(0, batch_size, max_batch)
        images = []
        bar = tqdm(total=len(parts) * len(steps), desc="sample", disable=not progress, unit="call")
        with bar:
            for start in parts:
                count = min(max_batch, batch_size - start)
                labels = None if class_labels is None else class_labels[start : start + count]
                x = self.scheduler.initial_noise(count, self.unet.in_channels, generator, device)
                for t in steps:
                    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                        x0 = self.unet(x, t, self.scheduler.out_resolution(t), labels).sample
                    x = self.scheduler.step(x0.float(), t, x, eta, generator)
                    bar.update()
                    if callback is not None:
                        callback(t, x, x0)
                images.append(x)
        tensor = torch.cat(images).clamp(-1, 1)
        if output_type == "pt":
            return PipelineOutput(tensor)
        array = to_uint8(tensor.permute(0, 2, 3, 1).cpu().numpy())
        if output_type == "np":
            return PipelineOutput(array)
        return PipelineOutput([Image.fromarray(np.squeeze(image)) for image in array])
