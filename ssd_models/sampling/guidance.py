"""Network as a denoiser for samplers: batching, bfloat16 autocast, classifier-free guidance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from theory.schedule.resolution import ResolutionSchedule
from theory.support.errors import InputError

from ..diffusion.preconditioning import LinearPreconditioning
from ..network.embedding import time_values
from ..network.flexi_unet import FlexiUNet
from .samplers import Denoiser

# Values of the largest feature map of a batch on CPUs: 32 MiB of float32. The C library returns
# larger blocks to the system when they are freed, and the next layer waits for new pages.
_CPU_MAP = 2**23


def check_guidance(
    scale: float, interval: tuple[float, float] | None, has_labels: bool = True
) -> None:
    """Raise `InputError` unless the options of classifier-free guidance are valid.

    Parameters
    ----------
    scale : float
        At least 0; 1 is no guidance, other values need labels.
    interval : (float, float), optional
        Noise levels ``0 ≤ low < high``.
    has_labels : bool
        Whether there are class labels to guide to.
    """
    if not math.isfinite(scale) or scale < 0:
        raise InputError(f"guidance {scale}: must be a number of at least 0 (1 for none)")
    if scale != 1 and not has_labels:
        raise InputError("guidance: needs class labels to guide to")
    if interval is not None and not (len(interval) == 2 and 0 <= interval[0] < interval[1]):
        raise InputError(f"guidance interval {interval}: give two growing noise levels")


def guided_denoiser(
    unet: FlexiUNet,
    schedule: ResolutionSchedule,
    class_labels: Tensor | None = None,
    bf16: bool = False,
    max_batch: int = 64,
    guidance_scale: float = 1.0,
    guidance_interval: tuple[float, float] | None = None,
    preconditioning: LinearPreconditioning | None = None,
) -> Denoiser:
    """Make a denoiser ``denoise(x_t, t, out_resolution)`` from a network.

    Parameters
    ----------
    unet : FlexiUNet
    schedule : ResolutionSchedule
        Schedule whose steps the denoiser is called with.
    class_labels : (N,) integer tensor, optional
        Class indices, negative for no class. By default no class.
    bf16 : bool
        Run the network under bfloat16 autocast.
    max_batch : int
        Largest batch of the network; larger ones are split. On CPUs batches whose feature maps
        exceed 32 MiB are split as well.
    guidance_scale : float
        Scale ``w`` of classifier-free guidance (Ho & Salimans 2022): predictions are
        ``D + (w - 1)(D - D0)`` with ``D`` for the class and ``D0`` for no class; 1 for no guidance.
    guidance_interval : (float, float), optional
        Guide only at noise levels ``σ/α`` of the full-resolution chain in this closed interval
        (Kynkäänniemi et al. 2024); at all of them by default.
    preconditioning : LinearPreconditioning, optional
        What makes clean predictions of the network's outputs; needed by a network that was trained
        with it.

    Returns
    -------
    callable

    Raises
    ------
    InputError
        If the network's preconditioning is another, or an option is out of range; on use, if there
        are not as many labels as images.
    """
    check_guidance(guidance_scale, guidance_interval, class_labels is not None)
    if max_batch < 1:
        raise InputError("max_batch: must be at least 1")
    if (unet.preconditioning == "linear") != (preconditioning is not None):
        raise InputError(f"preconditioning: the network has {unet.preconditioning!r}")
    device = next(unet.parameters()).device
    low, high = guidance_interval or (0.0, math.inf)
    noise_levels = schedule.base_snr**-0.5
    labels = None if class_labels is None else class_labels.to(device)

    def network(x: Tensor, time: float, out_resolution: int, classes: Tensor | None) -> Tensor:
        parts = []
        most = max_batch
        if device.type == "cpu":
            # The widest map joins two of base_channels at the larger of both resolutions.
            enlarged = (out_resolution / min(x.shape[2:])) ** 2
            values = 2 * unet.base_channels * x.shape[2] * x.shape[3] * enlarged
            most = min(most, max(1, int(_CPU_MAP / values)))
        for i in range(0, len(x), most):
            chunk = x[i : i + most]
            part = None if classes is None else classes[i : i + most]
            n = len(chunk)
            if unet.is_compiled and n < most < len(x):
                # Pad the last chunk: a graph is compiled for every batch size.
                padded = torch.arange(most, device=device) % n
                chunk, part = chunk[padded], None if part is None else part[padded]
            times = torch.full((len(chunk),), time, device=device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                sample = unet(chunk, times, out_resolution, part).sample
            parts.append(sample[:n].to(x.dtype))
        return torch.cat(parts)

    def outputs(x: Tensor, t: int, out_resolution: int) -> Tensor:
        time = float(time_values(schedule, t, unet.time_input))
        if unet.num_classes is None:
            return network(x, time, out_resolution, None)
        none = torch.full((len(x),), -1, device=device)
        if labels is None:
            return network(x, time, out_resolution, none)
        if len(labels) != len(x):
            raise InputError(f"class_labels: {len(labels)} labels for {len(x)} images")
        if guidance_scale == 1 or not low <= noise_levels[t] <= high:
            return network(x, time, out_resolution, labels)
        both = network(torch.cat([x, x]), time, out_resolution, torch.cat([labels, none]))
        with_class, without = both.chunk(2)
        return torch.lerp(without, with_class, guidance_scale)

    def denoise(x: Tensor, t: int, out_resolution: int) -> Tensor:
        output = outputs(x, t, out_resolution)
        return output if preconditioning is None else preconditioning(output, x, t, out_resolution)

    return denoise
