"""Cost of one path of a Flexi-UNet: floating-point operations and parameters.

Both are counted on the meta device, which computes and stores nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from .flexi_unet import FlexiUNet


def path_flops(
    unet: FlexiUNet, resolution_in: int, resolution_out: int, training: bool = False
) -> int:
    """Count the FLOP (2 per multiply-add) of a network call for one image.

    Only convolutions and matrix products count, not normalization, activations and resizing.

    Parameters
    ----------
    unet : FlexiUNet
    resolution_in, resolution_out : int
        Of the state and of the prediction, in pixels.
    training : bool
        Add the backward pass.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If the network has no such path.
    """
    with torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
        sample, _ = _call(unet, resolution_in, resolution_out)
        if training:
            sample.sum().backward()
    return counter.get_total_flops()


def path_name(path: tuple[int, int]) -> str:
    """Name of a path in tables and logs: ``32``, or ``16->32`` if the resolution rises."""
    return f"{path[0]}" if path[0] == path[1] else f"{path[0]}->{path[1]}"


def path_parameters(unet: FlexiUNet, resolution_in: int, resolution_out: int) -> list[str]:
    """Names of the parameters that a path uses: those that its gradient reaches.

    They include weights of which the path leaves out the part for a missing skip connection.
    """
    sample, weights = _call(unet, resolution_in, resolution_out)
    sample.sum().backward()
    return [name for name, weight in weights.items() if weight.grad is not None]


def _call(
    unet: FlexiUNet, resolution_in: int, resolution_out: int
) -> tuple[Tensor, dict[str, Tensor]]:
    weights = {n: p.detach().to("meta").requires_grad_() for n, p in unet.named_parameters()}
    x_t = torch.empty(1, unet.in_channels, resolution_in, resolution_in, device="meta")
    labels = None
    if unet.num_classes is not None:
        labels = torch.zeros(1, dtype=torch.long, device="meta")
    return functional_call(unet, weights, (x_t, 0, resolution_out, labels)).sample, weights
