"""Model and schedule together: images from noise, and model directories."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from theory.errors import InputError
from theory.schedules import ResolutionSchedule
from theory.spectrum import Spectrum

from .data import to_uint8
from .flexi_unet import FlexiUNet
from .gaussian import GaussianDenoiser, GaussianField
from .samplers import Callback, Denoiser, SamplerState, trajectory
from .scheduler import ScaleSpaceScheduler

SCHEDULE_FILE = "schedule.json"
SPECTRUM_FILE = "spectrum.npz"
_CHAIN = 1024  # images whose states are held at once


class PipelineOutput(NamedTuple):
    """What a call of `ScaleSpacePipeline` returns."""

    images: Any  # list of PIL images; (N, R, R, C) uint8 array; or (N, C, R, R) tensor in [-1, 1]


class ScaleSpacePipeline:
    """A `FlexiUNet` with the `ScaleSpaceScheduler` that it was trained on.

    Parameters
    ----------
    unet : FlexiUNet
    scheduler : ScaleSpaceScheduler or ResolutionSchedule
    spectrum : Spectrum, optional
        Of the training data. With it chains start from the marginal that the first step really
        has, steps can be planned, and spectral variance can be drawn.
    """

    def __init__(
        self,
        unet: FlexiUNet,
        scheduler: ScaleSpaceScheduler | ResolutionSchedule,
        spectrum: Spectrum | None = None,
    ):
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
        if spectrum is not None and (
            spectrum.resolution != schedule.resolution or spectrum.channels != unet.in_channels
        ):
            raise InputError(
                f"spectrum: is of {spectrum.resolution} px and {spectrum.channels} channels, the "
                f"network of {unet.image_size} px and {unet.in_channels}"
            )
        self.unet = unet.eval()
        self.scheduler = scheduler
        self.spectrum = spectrum

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
            schedule_path, spectrum_path = path / SCHEDULE_FILE, path / SPECTRUM_FILE
            with_spectrum = spectrum_path.is_file()
        else:
            if len(path.parts) != 2 or path.is_absolute():
                raise InputError(f"{path}: no such model directory")
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError

            def download(name: str) -> Path:
                return Path(hf_hub_download(str(model), name, **hub_options))

            schedule_path, with_spectrum = download(SCHEDULE_FILE), True
            try:
                spectrum_path = download(SPECTRUM_FILE)
            except EntryNotFoundError:
                with_spectrum = False
        unet = FlexiUNet.from_pretrained(str(model), **hub_options)
        spectrum = Spectrum.load(spectrum_path) if with_spectrum else None
        return cls(unet, ResolutionSchedule.load(schedule_path), spectrum)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors, schedule.json and, if known, spectrum.npz."""
        self.unet.save_pretrained(Path(folder))
        self.scheduler.save(Path(folder) / SCHEDULE_FILE)
        if self.spectrum is not None:
            self.spectrum.save(Path(folder) / SPECTRUM_FILE)

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

    def denoiser(
        self, class_labels: Tensor | None = None, bf16: bool = False, max_batch: int = 64
    ) -> Denoiser:
        """Return the network as a function for `ssd_models.samplers` and `ssd_models.editing`.

        Parameters
        ----------
        class_labels : (N,) integer tensor, optional
        bf16 : bool
            Run the network under bfloat16 autocast.
        max_batch : int
            Images that run through the network at once; larger batches are split.
        """
        device = next(self.unet.parameters()).device

        def denoise(x: Tensor, t: int, out_resolution: int) -> Tensor:
            parts = []
            for i in range(0, len(x), max_batch):
                labels = None if class_labels is None else class_labels[i : i + max_batch]
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    part = self.unet(x[i : i + max_batch], t, out_resolution, labels).sample
                parts.append(part.float())
            return torch.cat(parts)

        return denoise

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
        *,
        spacing: str = "logsnr",
        changes: str = "network",
        order: int | None = None,
        spectral_variance: bool = False,
    ) -> PipelineOutput:
        """Generate images.

        Parameters
        ----------
        batch_size : int
            Number of images.
        num_inference_steps : int, optional
            Network calls, see `theory.spacing.select_steps`; None for all steps.
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
            Called after each step with a `ssd_models.samplers.SamplerState`.
        spacing : {"logsnr", "uniform", "edm", "planned"}
            Of a number of steps; "planned" needs the pipeline's spectrum.
        changes : {"network", "free"}
            See `ssd_models.samplers.sample_eta`.
        order : {1, 2}, optional
            Of the solver. By default 2 (`ssd_models.samplers.sample_dpmpp_2m`) where ``eta`` is 0
            and nothing else asks for 1.
        spectral_variance : bool
            See `ssd_models.samplers.sample_eta`; needs the pipeline's spectrum.
        """
        if output_type not in ("pil", "np", "pt"):
            raise InputError(f"output_type {output_type!r}: choose from pil, np, pt")
        images = []
        for state in self.trajectory(
            batch_size,
            num_inference_steps,
            eta,
            generator,
            timesteps,
            class_labels,
            max_batch,
            bf16,
            progress,
            spacing=spacing,
            changes=changes,
            order=order,
            spectral_variance=spectral_variance,
        ):
            if callback is not None:
                callback(state)
            if state.s is None:
                images.append(state.x)
        return self.as_output(torch.cat(images), output_type)

    @torch.inference_mode()
    def trajectory(
        self,
        batch_size: int = 1,
        num_inference_steps: int | None = 50,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        timesteps: Sequence[int] | None = None,
        class_labels: Tensor | None = None,
        max_batch: int = 64,
        bf16: bool = False,
        progress: bool = False,
        *,
        spacing: str = "logsnr",
        changes: str = "network",
        order: int | None = None,
        spectral_variance: bool = False,
    ) -> Iterator[SamplerState]:
        """Generate images and show each step, as for an animation; parameters as of a call.

        Images beyond 1024 make chains of their own, which begin anew at the first step.
        """
        if batch_size < 1 or max_batch < 1:
            raise InputError("batch_size and max_batch: must be at least 1")
        if spectral_variance and self.spectrum is None:
            raise InputError("spectral_variance: needs the spectrum of the training data")
        if order is None:
            plain = eta == 0 and not spectral_variance and not self.scheduler.schedule.blurs
            order = 2 if plain else 1
        count = None if timesteps is not None else num_inference_steps
        self.scheduler.set_timesteps(count, timesteps, spacing, changes, order, self.spectrum, eta)
        process, steps = self.scheduler.process, self.scheduler.timesteps.tolist()
        field = denoiser = None
        if self.spectrum is not None:
            field = GaussianField(self.spectrum)
            denoiser = GaussianDenoiser(self.spectrum, process) if spectral_variance else None
        device = next(self.unet.parameters()).device
        starts = range(0, batch_size, _CHAIN)
        bar = tqdm(total=len(starts) * len(steps), desc="sample", disable=not progress, unit="call")
        with bar:
            for start in starts:
                size = min(_CHAIN, batch_size - start)
                labels = None if class_labels is None else class_labels[start : start + size]
                x = self.scheduler.initial_state(
                    size, self.unet.in_channels, generator, device, field
                )
                stepper = self.scheduler.stepper(eta, denoiser)
                denoise = self.denoiser(labels, bf16, max_batch)
                for state in trajectory(stepper, denoise, x, steps, generator):
                    bar.update()
                    yield state

    @staticmethod
    def as_output(images: Tensor, output_type: str = "pil") -> PipelineOutput:
        """Images (N, C, H, W), clipped to [-1, 1], in one of the output types of a call."""
        images = images.clamp(-1, 1)
        if output_type == "pt":
            return PipelineOutput(images)
        array = to_uint8(images.permute(0, 2, 3, 1).cpu().numpy())
        if output_type == "np":
            return PipelineOutput(array)
        return PipelineOutput([Image.fromarray(np.squeeze(image)) for image in array])
