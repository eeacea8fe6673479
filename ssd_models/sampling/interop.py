"""Conversion of single-level models for the pipelines and schedulers of diffusers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError

from ..network.embedding import time_values
from ..network.flexi_unet import FlexiUNet, FlexiUNetOutput
from .pipeline import ScaleSpacePipeline


class DiffusersUNet(nn.Module):
    """`FlexiUNet` with the call signature of a UNet of diffusers; predicts clean images.

    Use it with schedulers whose ``prediction_type`` is ``"sample"``.

    Parameters
    ----------
    unet : FlexiUNet
        Shared, not copied.
    schedule : ResolutionSchedule
        Schedule of a single level, without blur or attenuation.

    Attributes
    ----------
    config : namespace
        ``sample_size`` (pixels), ``in_channels`` and ``out_channels``.
    """

    def __init__(self, unet: FlexiUNet, schedule: ResolutionSchedule):
        super().__init__()
        self.unet = unet
        size, channels = unet.image_size, unet.in_channels
        self.config = SimpleNamespace(sample_size=size, in_channels=channels, out_channels=channels)
        times = time_values(schedule, np.arange(schedule.num_steps), unet.time_input)
        self._times = torch.from_numpy(times)  # not a buffer: must stay float32

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        return next(self.unet.parameters()).dtype

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> FlexiUNetOutput | tuple[Tensor]:
        """Predict clean images from noisy states.

        Parameters
        ----------
        sample : (N, C, R, R) tensor
            Noisy states.
        timestep : int or (N,) integer tensor
            Steps of the schedule.
        class_labels : (N,) integer tensor, optional
            Class indices, negative for no class. By default no class.
        return_dict : bool
            Return a `FlexiUNetOutput` rather than a tuple.

        Returns
        -------
        FlexiUNetOutput or tuple
            (N, C, R, R) tensor of clean images in ``.sample``, or the same in a tuple.
        """
        self._times = self._times.to(sample.device)
        steps = torch.as_tensor(timestep, device=sample.device).long()
        if class_labels is None and self.unet.num_classes is not None:
            class_labels = torch.full((len(sample),), -1, device=sample.device)
        predicted = self.unet(sample, self._times[steps], None, class_labels)
        return predicted if return_dict else (predicted.sample,)


def to_diffusers(pipe: ScaleSpacePipeline) -> Any:
    """Make a ``DDIMPipeline`` of diffusers from a single-level model.

    From the same noise at the same steps it draws the images of ``pipe(sampler="eta")``. Its
    scheduler may be replaced by any other scheduler of diffusers made from its ``config``.

    Parameters
    ----------
    pipe : ScaleSpacePipeline

    Returns
    -------
    diffusers.DDIMPipeline

    Raises
    ------
    InputError
        If diffusers is not installed, the schedule changes resolution, blurs or attenuates, or the
        network is preconditioned.
        Schedulers of diffusers assume states of one size and the same signal amplitude at every
        frequency.
    """
    schedule = pipe.scheduler.schedule
    if schedule.changes or schedule.blurs or schedule.attenuation is not None:
        what = "changes its resolution" if schedule.changes else "blurs or fades"
        raise InputError(
            f"schedule: {what}, which no scheduler of diffusers supports; sample with "
            "ScaleSpacePipeline, which takes the same arguments"
        )
    if pipe.unet.preconditioning != "none":
        raise InputError(
            "network: its outputs are added to a linear prediction, which diffusers does not "
            "do; sample with ScaleSpacePipeline, which takes the same arguments"
        )
    try:
        from diffusers import DDIMPipeline, DDIMScheduler
    except ImportError:
        raise InputError(
            'diffusers: is not installed; pip install "scale-space-diffusion[diffusers]"'
        ) from None
    signal = np.asarray(schedule.alpha, dtype=np.float64) ** 2  # diffusers: alphas_cumprod
    scheduler = DDIMScheduler(
        num_train_timesteps=schedule.num_steps,
        trained_betas=(1 - signal / np.append(1.0, signal[:-1])).tolist(),
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",  # chains start at the noisiest step
    )
    return DDIMPipeline(DiffusersUNet(pipe.unet, schedule), scheduler)
