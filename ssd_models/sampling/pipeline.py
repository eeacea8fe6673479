"""Model and schedule together: images from noise, and model directories."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from theory.oracle.sampler import Sampler
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError, reason
from theory.support.files import atomic_path
from theory.support.progress import progress_bar

from ..data.class_labels import ClassLabels, class_indices, read_class_names
from ..data.forms import HUB_PREFIX
from ..data.opening import to_uint8
from ..diffusion.gaussian import GaussianDenoiser, GaussianField
from ..diffusion.process import Generators
from ..network.flexi_unet import FlexiUNet
from ..network.model_files import (
    CARD_FILE,
    CLASSES_FILE,
    NETWORK_FILES,
    SCHEDULE_FILE,
    SPECTRUM_FILE,
    model_directory,
)
from .guidance import check_guidance, guided_denoiser
from .model_card import model_card
from .pictures import pictures
from .samplers import SAMPLERS, Denoiser, SamplerState, trajectory
from .scheduler import ScaleSpaceScheduler
from .whitened import whitened_trajectory

_CHAIN = 1024  # images whose states are held at once


class PipelineOutput(NamedTuple):
    """What a call of `ScaleSpacePipeline` returns."""

    images: Any  # list of PIL images; (N, R, R, C) uint8 array; or (N, C, R, R) tensor in [-1, 1]


StepCallback = Callable[[Any, int, int, dict[str, Tensor]], Mapping[str, Tensor] | None]
"""``callback(pipe, step_index, timestep, callback_kwargs)``, see `ScaleSpacePipeline.__call__`."""

Labels = ClassLabels | Tensor | np.ndarray


class SamplingOptions(TypedDict, total=False):
    """How `ScaleSpacePipeline` samples; every option has a default.

    Attributes
    ----------
    timesteps : sequence of int, optional
        The steps themselves, in place of a number.
    class_labels : number, name, or a sequence, array or tensor of them, optional
        Classes of the images, taken in turn; negative numbers mean no class. By default none.
    num_images_per_prompt : int
        Images of each of ``batch_size``, side by side: so many of a class after another, 1 by
        default.
    guidance_scale, guidance_interval
        See `ssd_models.sampling.guidance.guided_denoiser`; 1 and everywhere by default.
    max_batch : int
        Images that run through the network at once, 64 by default.
    bf16 : bool
        Run the network under bfloat16 autocast.
    progress : bool
        Show a progress bar.
    spacing : {"logsnr", "uniform", "edm", "alpha", "planned"}
        Of a number of steps; "planned" needs the pipeline's spectrum.
    changes : {"network", "corrected", "free"}, optional
        See `theory.oracle.sampler.Sampler`; by default what fits the schedule.
    sampler : {"whitened", "dpmpp_2m", "eta"}, optional
        See `ssd_models.sampling.whitened.sample_whitened`,
        `ssd_models.sampling.samplers.sample_dpmpp_2m` and
        `ssd_models.sampling.samplers.sample_eta`. By default the first that is possible: whitened
        needs the pipeline's spectrum, ``eta`` 0 and a schedule of operator `dct` (or without
        changes).
    spectral_variance : bool
        See `ssd_models.sampling.samplers.sample_eta`; needs the pipeline's spectrum.
    """

    timesteps: Sequence[int] | None
    class_labels: Labels | None
    num_images_per_prompt: int
    guidance_scale: float
    guidance_interval: tuple[float, float] | None
    max_batch: int
    bf16: bool
    progress: bool
    spacing: str
    changes: str | None
    sampler: str | None
    spectral_variance: bool


_DEFAULTS: SamplingOptions = {
    "timesteps": None,
    "class_labels": None,
    "num_images_per_prompt": 1,
    "guidance_scale": 1.0,
    "guidance_interval": None,
    "max_batch": 64,
    "bf16": False,
    "progress": False,
    "spacing": "logsnr",
    "changes": None,
    "sampler": None,
    "spectral_variance": False,
}


class ScaleSpacePipeline:
    """A `FlexiUNet` with the `ScaleSpaceScheduler` that it was trained on.

    Parameters
    ----------
    unet : FlexiUNet
    scheduler : ScaleSpaceScheduler or ResolutionSchedule
    spectrum : Spectrum, optional
        Of the training data. With it chains start from the marginal that the first step really
        has, steps can be planned, and spectral variance can be drawn.
    class_names : sequence of str, optional
        Of the model's classes.
    """

    def __init__(
        self,
        unet: FlexiUNet,
        scheduler: ScaleSpaceScheduler | ResolutionSchedule,
        spectrum: Spectrum | None = None,
        class_names: Sequence[str] | None = None,
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
        if class_names is not None and len(class_names) != (unet.num_classes or 0):
            raise InputError(
                f"class_names: {len(class_names)} of them, the network has {unet.num_classes} "
                "classes"
            )
        self.unet = unet.eval()
        self.class_names = None if class_names is None else tuple(class_names)
        self.scheduler = scheduler
        self.spectrum = spectrum

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str], **hub_options: Any) -> Self:
        """Load a run of `ssd train`, a model directory, or a model of the Hugging Face hub.

        Parameters
        ----------
        model : str or path
            Path of a run or a model directory, which is read without any network access; or
            ``hf:OWNER/NAME``, which is downloaded.
        **hub_options
            ``revision``, ``token``, ``cache_dir``, … of
            `ssd_models.network.model_files.model_directory`.

        Raises
        ------
        InputError
            If there is no such model, or files are missing or do not fit together.
        """
        path = model_directory(model, (*NETWORK_FILES, SCHEDULE_FILE), **hub_options)
        try:
            unet = FlexiUNet.from_pretrained(path)
        except InputError:
            raise
        except Exception as error:  # as many kinds as there are ways to damage a file
            raise InputError(f"{path}: the model cannot be loaded ({reason(error)})") from error
        spectrum, names = path / SPECTRUM_FILE, path / CLASSES_FILE
        return cls(
            unet,
            ResolutionSchedule.load(path / SCHEDULE_FILE),
            Spectrum.load(spectrum) if spectrum.is_file() else None,
            read_class_names(names) if names.is_file() else None,
        )

    def save_pretrained(self, folder: str | os.PathLike[str], repo_id: str = "OWNER/NAME") -> None:
        """Write config.json, model.safetensors, schedule.json and, if known, the other two.

        Those are ``spectrum.npz`` and ``classes.json`` (a list of the names of classes). Where
        there is no ``README.md`` a card is written (`ssd_models.sampling.model_card`), which names
        the model by ``repo_id``. An ``image_size`` that is no square is not kept.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        schedule, names = self.scheduler.schedule, self.class_names
        if not (folder / CARD_FILE).exists():
            card = model_card(self.unet, schedule, self.spectrum, names, f"{HUB_PREFIX}{repo_id}")
            with atomic_path(folder / CARD_FILE) as temporary:
                temporary.write_text(card, encoding="utf-8")
        self.unet.save_pretrained(folder)
        schedule.save(folder / SCHEDULE_FILE)
        if self.spectrum is not None:
            self.spectrum.save(folder / SPECTRUM_FILE)
        if names is not None:
            with atomic_path(folder / CLASSES_FILE) as temporary:
                text = json.dumps(names, ensure_ascii=False, indent=1)
                temporary.write_text(text, encoding="utf-8")

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model directory, with its card, to ``OWNER/NAME`` of the Hugging Face hub.

        Returns the commit's address.
        """
        from huggingface_hub import HfApi

        repo_id = repo_id.removeprefix(HUB_PREFIX)
        api = HfApi(token=options.pop("token", None))
        api.create_repo(repo_id, private=options.pop("private", None), exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, repo_id)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **options))

    def to(self, *where: Any, **options: Any) -> Self:
        """Move the network to a device, a dtype or both, in the ways of `torch.nn.Module.to`.

        States stay float32, whatever the network computes in.
        """
        self.unet.to(*where, **options)
        return self

    @property
    def device(self) -> torch.device:
        """Where the network is; images are made there."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.unet.parameters()).dtype

    def denoiser(
        self,
        class_labels: Labels | None = None,
        bf16: bool = False,
        max_batch: int = 64,
        guidance_scale: float = 1.0,
        guidance_interval: tuple[float, float] | None = None,
    ) -> Denoiser:
        """Return the network as a denoiser for samplers and editing.

        Parameters are those of `ssd_models.sampling.guidance.guided_denoiser`; ``class_labels``,
        one an image, may be names as well.
        """
        return guided_denoiser(
            self.unet,
            self.scheduler.schedule,
            self.class_indices(class_labels),
            bf16,
            max_batch,
            guidance_scale,
            guidance_interval,
        )

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int | None = None,
        num_inference_steps: int | None = 50,
        eta: float = 0.0,
        generator: Generators = None,
        *,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
        **options: Unpack[SamplingOptions],
    ) -> PipelineOutput:
        """Generate images.

        Parameters
        ----------
        batch_size : int, optional
            Number of images; by default one for each class label, else for each generator of a
            sequence, else 1.
        num_inference_steps : int, optional
            Network calls, see `theory.oracle.steps.select_steps`; None for all steps.
        eta : float
            0 deterministic, 1 ancestral.
        generator : torch.Generator or a sequence of them, optional
            The same state gives the same images. Of a sequence, one for each image, each image
            depends on its own alone, up to rounding.
        output_type : {"pil", "np", "pt"}
            List of PIL images (`ssd_models.sampling.pictures.pictures`: channels that are not 1 or
            3 stand side by side in grey); uint8 (N, R, R, C); or float (N, C, R, R) in [-1, 1].
        callback_on_step_end : callable, optional
            Called after each step as in diffusers, ``callback(pipe, step_index, timestep,
            callback_kwargs)``: the step's place in the chain and the step itself; ``latents``, the
            state that it led to, and ``pred_original_sample``, the clean prediction that led there.
            It may return a dictionary whose ``latents`` replace the state. After the last step that
            is the image. (`trajectory` shows the same from outside.)
        **options
            See `SamplingOptions`.
        """
        if output_type not in ("pil", "np", "pt"):
            raise InputError(f"output_type {output_type!r}: choose from pil, np, pt")
        images = []
        states = self.trajectory(batch_size, num_inference_steps, eta, generator, **options)
        index = 0
        for state in states:
            if callback_on_step_end is not None:
                self._call_back(callback_on_step_end, index, state)
            index += 1
            if state.s is None:
                images.append(state.x)
                index = 0
        return self.as_output(torch.cat(images), output_type)

    def _call_back(self, callback: StepCallback, index: int, state: SamplerState) -> None:
        given = {"latents": state.x, "pred_original_sample": state.x0}
        changed = (callback(self, index, state.t, given) or {}).get("latents", state.x)
        if changed.shape != state.x.shape:
            raise InputError(
                f"callback_on_step_end: latents have shape {tuple(changed.shape)}, the state "
                f"{tuple(state.x.shape)}"
            )
        if changed is not state.x:
            state.x.copy_(changed)  # the chain goes on from this tensor

    @torch.no_grad()
    def trajectory(
        self,
        batch_size: int | None = None,
        num_inference_steps: int | None = 50,
        eta: float = 0.0,
        generator: Generators = None,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[SamplerState]:
        """Generate images and show each step, as for an animation; parameters as of a call.

        Images beyond 1024 make chains of their own, which begin anew at the first step.
        """
        if unknown := sorted(options.keys() - _DEFAULTS.keys()):
            raise TypeError(f"sampling has no options {unknown}; it has {sorted(_DEFAULTS)}")
        chosen: SamplingOptions = {**_DEFAULTS, **options}
        labels = _listed(chosen["class_labels"])
        if batch_size is None:
            given = generator if labels is None and isinstance(generator, Sequence) else labels
            batch_size = len(given or [None])
        copies = chosen["num_images_per_prompt"]
        if min(batch_size, chosen["max_batch"], copies) < 1:
            raise InputError("batch_size, num_images_per_prompt and max_batch: must be at least 1")
        if chosen["spectral_variance"] and self.spectrum is None:
            raise InputError("spectral_variance: needs the spectrum of the training data")
        classes = self.class_indices(labels, batch_size)
        check_guidance(chosen["guidance_scale"], chosen["guidance_interval"], classes is not None)
        if classes is not None:
            classes = classes.repeat_interleave(copies)
        batch_size *= copies
        name = self._sampler(chosen, eta)
        order = 1 if name == "eta" else 2
        sampler = Sampler(eta, order, chosen["changes"], chosen["spectral_variance"])
        count = None if chosen["timesteps"] is not None else num_inference_steps
        self.scheduler.set_timesteps(
            count,
            chosen["timesteps"],
            chosen["spacing"],
            sampler,
            self.spectrum,
        )
        process, steps = self.scheduler.process, self.scheduler.timesteps.tolist()
        field = denoiser = None
        if self.spectrum is not None:
            if len(set(process.image_size)) == 1:
                field = GaussianField(self.spectrum)
            if chosen["spectral_variance"]:
                denoiser = GaussianDenoiser(self.spectrum, process)  # refuses other shapes
        starts = range(0, batch_size, _CHAIN)
        total = len(starts) * len(steps)
        with progress_bar(total=total, desc="sample", shown=chosen["progress"], unit="call") as bar:
            for start in starts:
                size = min(_CHAIN, batch_size - start)
                own = (
                    generator[start : start + size]
                    if isinstance(generator, Sequence)
                    else generator
                )
                x = self.scheduler.initial_state(
                    size, self.unet.in_channels, own, self.device, field
                )
                denoise = self.denoiser(
                    None if classes is None else classes[start : start + size],
                    chosen["bf16"],
                    chosen["max_batch"],
                    chosen["guidance_scale"],
                    chosen["guidance_interval"],
                )
                if name == "whitened":
                    assert self.spectrum is not None
                    states = whitened_trajectory(
                        denoise, process, x, steps, self.spectrum, sampler, own
                    )
                else:
                    stepper = self.scheduler.stepper(denoiser)
                    states = trajectory(stepper, denoise, x, steps, own)
                for state in states:
                    bar.update()
                    yield state

    @property
    def default_sampler(self) -> str:
        """Name of the sampler that a call with no options takes."""
        return self._sampler(_DEFAULTS, 0.0)

    def _sampler(self, options: SamplingOptions, eta: float) -> str:
        """Name of the sampler that the options ask for, or the first that is possible."""
        schedule = self.scheduler.schedule
        special = options["spectral_variance"] or schedule.blurs
        square = len(set(self.scheduler.process.image_size)) == 1
        known = self.spectrum is not None and square and not schedule.mixes_frequencies
        fits = known and not special
        chosen = options["sampler"]
        if chosen is None:
            if eta > 0 or special:
                return "eta"
            return "whitened" if fits and options["spacing"] != "planned" else "dpmpp_2m"
        if chosen not in (names := ("whitened", *SAMPLERS)):
            raise InputError(f"sampler {chosen!r}: choose from {', '.join(names)}")
        if chosen == "whitened" and not fits:
            raise InputError(
                "sampler 'whitened': needs the training data's spectrum, square images, a schedule "
                "of operator 'dct' without blur, and no spectral variance"
            )
        if chosen != "eta" and eta != 0:
            raise InputError(f"sampler {chosen!r}: is deterministic; give eta 0, or sampler 'eta'")
        return chosen

    def class_indices(self, labels: Labels | None, count: int | None = None) -> Tensor | None:
        """Class of each of ``count`` images, by default as many as labels, (count,) int64.

        See `ssd_models.data.class_labels.class_indices`.
        """
        listed = _listed(labels)
        if listed is None:
            return None
        count = len(listed) if count is None else count
        return torch.tensor(class_indices(listed, count, self.unet.num_classes, self.class_names))

    @staticmethod
    def as_output(images: Tensor, output_type: str = "pil") -> PipelineOutput:
        """Images (N, C, H, W), clipped to [-1, 1], in one of the output types of a call."""
        images = images.clamp(-1, 1)
        if output_type == "pt":
            return PipelineOutput(images)
        array = to_uint8(images.permute(0, 2, 3, 1).cpu().numpy())
        if output_type == "np":
            return PipelineOutput(array)
        return PipelineOutput(pictures(array))


def _listed(labels: Labels | None) -> list[Any] | None:
    """Labels as a list of numbers and names, whatever they come in."""
    if labels is None:
        return None
    listed = labels.tolist() if isinstance(labels, (Tensor, np.ndarray, np.generic)) else labels
    if isinstance(listed, (int, str)):
        return [listed]
    return [each.tolist() if isinstance(each, (Tensor, np.generic)) else each for each in listed]
