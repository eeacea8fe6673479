"""A model of one level in the form of diffusers, for its pipelines and schedulers."""

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
    """A `FlexiUNet` as pipelines of diffusers call it: steps in, clean images out.

    Schedulers need ``prediction_type="sample"``.

    Parameters
    ----------
    unet : FlexiUNet
        Shared, not copied.
    schedule : ResolutionSchedule
        Of one level.

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
        self._times = torch.from_numpy(times)  # no buffer, as it stays float32

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.unet.parameters()).dtype

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> FlexiUNetOutput | tuple[Tensor]:
        """Predict the clean images of states.

        Parameters
        ----------
        sample : (N, C, R, R) tensor
            States.
        timestep : number or (N,) tensor
            Steps.
        class_labels : (N,) integer tensor, optional
            Negative for no class, which is the default of a model with classes.
        return_dict : bool
            Return the tensor in ``.sample``, else in a tuple.
        """
        self._times = self._times.to(sample.device)
        steps = torch.as_tensor(timestep, device=sample.device).long()
        if class_labels is None and self.unet.num_classes is not None:
            class_labels = torch.full((len(sample),), -1, device=sample.device)
        predicted = self.unet(sample, self._times[steps], None, class_labels)
        return predicted if return_dict else (predicted.sample,)


def to_diffusers(pipe: ScaleSpacePipeline) -> Any:
    """Make a ``DDIMPipeline`` of diffusers from a model of one level.

    It draws what ``pipe(sampler="eta")`` draws from the same noise at the same steps. Its scheduler
    may be replaced by any other of diffusers that is made from its ``config``.

    Raises
    ------
    InputError
        If diffusers is not installed, or the model's chain changes its resolution or blurs, which
        schedulers of diffusers cannot say: their states have one size, and every frequency of a
        state the same share of signal.
    """
    schedule = pipe.scheduler.schedule
    if schedule.changes or schedule.blurs or schedule.attenuation is not None:
        what = "changes its resolution" if schedule.changes else "blurs or fades"
        raise InputError(
            f"schedule: {what}, which no scheduler of diffusers can say; sample with "
            "ScaleSpacePipeline, whose call takes the same arguments"
        )
    try:
        from diffusers import DDIMPipeline, DDIMScheduler
    except ImportError:
        raise InputError(
            'diffusers: is not installed; pip install "scale-space-diffusion[diffusers]"'
        ) from None
    kept = np.asarray(schedule.alpha, dtype=np.float64) ** 2
    scheduler = DDIMScheduler(
        num_train_timesteps=schedule.num_steps,
        trained_betas=(1 - kept / np.append(1.0, kept[:-1])).tolist(),
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",  # chains begin where there is noise alone
    )
    return DDIMPipeline(DiffusersUNet(pipe.unet, schedule), scheduler)
