"""The paper's published checkpoints as our network and scheduler."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from theory.costs import paper_architecture
from theory.errors import InputError

from .flexi_unet import FlexiUNet
from .scheduler import ScaleSpaceScheduler


def load_official(
    path: str | os.PathLike[str], image_size: int = 64, num_levels: int = 4
) -> tuple[FlexiUNet, ScaleSpaceScheduler]:
    """Load a checkpoint of the public implementation (``{"model": state_dict, "step": n}``).

    The base width is read off the weights; multipliers and attention are the paper's for
    ``image_size``. The scheduler has the paper's defaults (ConvexDecay_0.5, linear betas). Nothing
    but tensors is unpickled.

    Raises
    ------
    InputError
        If the file is missing, is something else, or holds other weights than the network needs.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a checkpoint of the paper's code") from None
    except Exception as error:  # unpickling fails in as many ways as there are files
        raise InputError(
            f"{path}: is not a checkpoint of tensors ({type(error).__name__}); "
            "give a .pt file of the paper's code"
        ) from None
    weights = content.get("model", content) if isinstance(content, dict) else None
    weights = weights if isinstance(weights, dict) else {}
    first, time = weights.get("input_blocks.0.0.weight"), weights.get("time_embed.0.weight")
    if not (isinstance(first, torch.Tensor) and isinstance(time, torch.Tensor)):
        raise InputError(
            f"{path}: holds no Flexi-UNet (input_blocks.0.0.weight or time_embed.0.weight is "
            "missing)"
        )
    multipliers, attention = paper_architecture(image_size)
    unet = FlexiUNet(
        image_size=image_size,
        num_levels=num_levels,
        base_channels=time.shape[1],
        channel_mult=multipliers,
        attention_resolutions=attention,
        in_channels=first.shape[1],
        variant="paper",
    )
    unet.load_state_dict(_by_width(weights, unet, path))
    return unet, ScaleSpaceScheduler.paper(image_size, num_levels)


def _by_width(
    weights: dict[str, torch.Tensor], unet: FlexiUNet, path: Path
) -> dict[str, torch.Tensor]:
    """Rename ``adapters_in.<resolution>`` to our ``adapters_in.<width>``, and check every name."""
    renamed = {}
    for name, tensor in weights.items():
        if match := re.fullmatch(r"(adapters_(in|out))\.\d+\.(weight|bias)", name):
            other = tensor if match[3] == "weight" else weights[name.replace("bias", "weight")]
            width = other.shape[0] if match[2] == "in" else other.shape[1]
            name = f"{match[1]}.{width}.{match[3]}"
        renamed[name] = tensor
    expected = {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        named = ", ".join(f"{n} {found.get(n, 'missing')}" for n in wrong[:5])
        raise InputError(
            f"{path}: {len(wrong)} weights do not fit the network for {unet.image_size} px: {named}"
        )
    return renamed
