"""Pipeline of a network and its schedule: sampling, loading and saving."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from theory.oracle.sampler import Sampler
from theory.oracle.steps import last_step
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError
from theory.support.progress import progress_bar

from ..data.class_labels import class_indices
from ..data.opening import to_uint8
from ..diffusion.gaussian import GaussianDenoiser, GaussianField
from ..diffusion.preconditioning import LinearPreconditioning
from ..diffusion.process import Generators
from ..network.flexi_unet import FlexiUNet
from ..network.model_files import NETWORK_FILES, SCHEDULE_FILE, model_directory
from .guidance import check_guidance, guided_denoiser
from .methods import METHODS, Chain, choose_method
from .model_directory import Model
from .options import Labels, SamplingOptions, label_list
from .pictures import pictures
from .samplers import Denoiser, SamplerState
from .scheduler import ScaleSpaceScheduler

_CHAIN = 1024  # images sampled at once


class PipelineOutput(NamedTuple):
    """Output of `ScaleSpacePipeline.__call__`."""

    images: Any  # list of PIL images; (N, R, R, C) uint8 array; or (N, C, R, R) tensor in [-1, 1]


StepCallback = Callable[[Any, int, int, dict[str, Tensor]], Mapping[str, Tensor] | None]
"""``callback(pipe, step_index, timestep, callback_kwargs)``, see `ScaleSpacePipeline.__call__`."""


class ScaleSpacePipeline:
    """A `FlexiUNet` with the `ScaleSpaceScheduler` that it was trained on.

    Parameters
    ----------
    unet : FlexiUNet
    scheduler : ScaleSpaceScheduler or ResolutionSchedule
    spectrum : Spectrum, optional
        Of the training data. With it chains start with the mean and covariance of the first step's
        marginal, steps can be planned, the whitened sampler and spectral variance can be used.
    class_names : sequence of str, optional
        Names of the model's classes by index.
    last_snr : float, optional
        Where chains end by default, see `ssd_models.sampling.options.SamplingOptions`; at the
        schedule's last step if None.

    Raises
    ------
    InputError
        If network, schedule, spectrum, class names and end do not fit together.
    """

    def __init__(
        self,
        unet: FlexiUNet,
        scheduler: ScaleSpaceScheduler | ResolutionSchedule,
        spectrum: Spectrum | None = None,
        class_names: Sequence[str] | None = None,
        last_snr: float | None = None,
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
                f"class_names: {len(class_names)} names for a network with "
                f"{unet.num_classes or 'no'} classes"
            )
        last_step(schedule, last_snr)  # refuses an end that the schedule does not have
        self.unet = unet.eval()
        self.class_names = None if class_names is None else tuple(class_names)
        self.scheduler = scheduler
        self.spectrum = spectrum
        self.last_snr = last_snr
        self._preconditioning = LinearPreconditioning.of(
            unet.preconditioning, spectrum, scheduler.process
        )

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str], **hub_options: Any) -> Self:
        """Load a run of `ssd train`, a model directory, or a model of the Hugging Face hub.

        Parameters
        ----------
        model : str or path
            Path of a run or a model directory, read without network access; or ``hf:OWNER/NAME``,
            which is downloaded.
        **hub_options
            ``revision``, ``token``, ``cache_dir``, … as in
            `ssd_models.network.model_files.model_directory`.

        Raises
        ------
        InputError
            If there is no such model, or files are missing or do not fit together.
        """
        return cls(
            *Model.load(model_directory(model, (*NETWORK_FILES, SCHEDULE_FILE), **hub_options))
        )

    def save_pretrained(self, folder: str | os.PathLike[str], repo_id: str = "OWNER/NAME") -> None:
        """Write a model directory.

        | file | content |
        | --- | --- |
        | ``config.json``, ``model.safetensors`` | the network |
        | ``schedule.json`` | the schedule; a scheduler's ``image_size`` is not stored |
        | ``spectrum.npz`` | the spectrum, if known |
        | ``classes.json`` | list of class names, if known |
        | ``sampling.json`` | ``last_snr``, unless it is None |
        | ``README.md`` | model card with ``repo_id`` as the model's name, if the file is missing |
        """
        self._model.save(Path(folder), repo_id)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload a model directory (`save_pretrained`) to ``OWNER/NAME`` on the Hugging Face hub.

        Returns the commit's URL. Options are ``token``, ``private`` and those of
        ``huggingface_hub.HfApi.upload_folder``.
        """
        return self._model.push_to_hub(repo_id, **options)

    @property
    def _model(self) -> Model:
        schedule = self.scheduler.schedule
        return Model(self.unet, schedule, self.spectrum, self.class_names, self.last_snr)

    def to(self, *where: Any, **options: Any) -> Self:
        """Move or cast the network, with the arguments of `torch.nn.Module.to`.

        States stay float32, whatever the network's dtype.
        """
        self.unet.to(*where, **options)
        return self

    @property
    def device(self) -> torch.device:
        """Device of the network, on which images are generated."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the network's weights."""
        return next(self.unet.parameters()).dtype

    def denoiser(
        self,
        class_labels: Labels | None = None,
        bf16: bool = False,
        max_batch: int = 64,
        guidance_scale: float = 1.0,
        guidance_interval: tuple[float, float] | None = None,
    ) -> Denoiser:
        """Make a denoiser for samplers and editing functions.

        Parameters as in `ssd_models.sampling.guidance.guided_denoiser`, except that
        ``class_labels``, one for each image, may also be names.
        """
        return guided_denoiser(
            self.unet,
            self.scheduler.schedule,
            self.class_indices(class_labels),
            bf16,
            max_batch,
            guidance_scale,
            guidance_interval,
            self._preconditioning,
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
        **options: Any,
    ) -> PipelineOutput:
        """Generate images.

        Parameters
        ----------
        batch_size : int, optional
            Number of images (for each of them ``num_images_per_prompt``); by default one for each
            class label, else one for each generator of a sequence, else 1.
        num_inference_steps : int, optional
            Number of network calls, see `theory.oracle.steps.select_steps`; None for all steps.
        eta : float
            From 0 (deterministic) to 1 (ancestral).
        generator : torch.Generator or a sequence of them, optional
            The same state gives the same images. With one generator for each image, an image
            depends only on its own, up to rounding.
        output_type : {"pil", "np", "pt"}
            See the table below.
        callback_on_step_end : callable, optional
            Called after each step as in diffusers, ``callback(pipe, step_index, timestep,
            callback_kwargs)``, with the step's position in the chain and the step. The dictionary
            holds ``latents``, the state after the step (the images after the last), and
            ``pred_original_sample``, the clean prediction. If the callback returns a dictionary,
            its ``latents`` replace the state. (`trajectory` yields the same values.)
        **options
            See `ssd_models.sampling.options.SamplingOptions`.

        Returns
        -------
        PipelineOutput

        Raises
        ------
        InputError
            If an option is invalid or does not fit the model.

        Notes
        -----
        | output type | images |
        | --- | --- |
        | "pil" | list of PIL images, see `ssd_models.sampling.pictures.pictures` |
        | "np" | uint8 array (N, R, R, C) |
        | "pt" | float tensor (N, C, R, R) in [-1, 1] |
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
            state.x.copy_(changed)  # in place, as the chain continues from it

    @torch.no_grad()
    def trajectory(
        self,
        batch_size: int | None = None,
        num_inference_steps: int | None = 50,
        eta: float = 0.0,
        generator: Generators = None,
        **options: Any,
    ) -> Iterator[SamplerState]:
        """Generate images and yield the state after each step; parameters as in `__call__`.

        More than 1024 images are sampled in successive chains, each from the first step.
        """
        chosen = SamplingOptions(**options)
        labels = label_list(chosen.class_labels)
        if batch_size is None:
            given = generator if labels is None and isinstance(generator, Sequence) else labels
            batch_size = len(given or [None])
        if batch_size < 1:
            raise InputError("batch_size: must be at least 1")
        classes = self.class_indices(labels, batch_size)
        check_guidance(chosen.guidance_scale, chosen.guidance_interval, classes is not None)
        if classes is not None:
            classes = classes.repeat_interleave(chosen.num_images_per_prompt)
        batch_size *= chosen.num_images_per_prompt
        name, sampler = self._sampler(chosen, eta)
        count = None if chosen.timesteps is not None else num_inference_steps
        self.scheduler.set_timesteps(
            count,
            chosen.timesteps,
            chosen.spacing,
            sampler,
            self.spectrum,
            self.chain_end(chosen),
        )
        process, steps = self.scheduler.process, self.scheduler.timesteps.tolist()
        field = variance = None
        if self.spectrum is not None:
            if len(set(process.image_size)) == 1:
                field = GaussianField(self.spectrum)
            if chosen.spectral_variance:
                variance = GaussianDenoiser(self.spectrum, process)  # raises if not square
        starts = range(0, batch_size, _CHAIN)
        total = len(starts) * len(steps)
        with progress_bar(total=total, desc="sample", shown=chosen.progress, unit="call") as bar:
            for start in starts:
                part = slice(start, min(start + _CHAIN, batch_size))
                own = generator[part] if isinstance(generator, Sequence) else generator
                denoise = self.denoiser(
                    None if classes is None else classes[part],
                    chosen.bf16,
                    chosen.max_batch,
                    chosen.guidance_scale,
                    chosen.guidance_interval,
                )
                x = self.scheduler.initial_state(
                    part.stop - part.start, self.unet.in_channels, own, self.device, field
                )
                chain = Chain(denoise, process, x, steps, sampler, own, self.spectrum, variance)
                for state in METHODS[name].states(chain):
                    bar.update()
                    yield state

    def chain_end(self, options: SamplingOptions) -> float | None:
        """Return the ``last_snr`` of a call with these options."""
        ends_itself = options.timesteps is not None or options.spacing == "planned"
        if options.last_snr is not None or ends_itself:
            return options.last_snr
        return self.last_snr

    @property
    def default_sampler(self) -> str:
        """Name of the sampler that a call without options uses."""
        return self._sampler(SamplingOptions(), 0.0)[0]

    def _sampler(self, options: SamplingOptions, eta: float) -> tuple[str, Sampler]:
        """Name and options of the sampler, from the options of a call."""
        if options.spectral_variance and self.spectrum is None:
            raise InputError("spectral_variance: needs the spectrum of the training data")
        sampler = Sampler(eta, 1, options.changes, options.spectral_variance)
        planned = options.spacing == "planned"
        name = choose_method(
            options.sampler, sampler, self.scheduler.process, self.spectrum, planned
        )
        return name, replace(sampler, order=METHODS[name].order)

    def class_indices(self, labels: Labels | None, count: int | None = None) -> Tensor | None:
        """Class index of each of ``count`` images, (count,) int64; None without labels.

        ``count`` is by default the number of labels. Errors as in
        `ssd_models.data.class_labels.class_indices`.
        """
        listed = label_list(labels)
        if listed is None:
            return None
        count = len(listed) if count is None else count
        return torch.tensor(class_indices(listed, count, self.unet.num_classes, self.class_names))

    @staticmethod
    def as_output(images: Tensor, output_type: str = "pil") -> PipelineOutput:
        """Clip images (N, C, H, W) to [-1, 1] and convert them to an output type of `__call__`."""
        images = images.clamp(-1, 1)
        if output_type == "pt":
            return PipelineOutput(images)
        array = to_uint8(images.permute(0, 2, 3, 1).cpu().numpy())
        if output_type == "np":
            return PipelineOutput(array)
        return PipelineOutput(pictures(array))
