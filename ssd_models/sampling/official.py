"""Import of the paper's published checkpoints."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from theory.schedule.costs import PAPER_MULTIPLIERS, paper_architecture
from theory.schedule.paper import PAPER
from theory.support.errors import InputError
from theory.support.files import new_folder

from ..network.flexi_unet import FlexiUNet
from .pipeline import ScaleSpacePipeline
from .scheduler import ScaleSpaceScheduler

_ENTRY = "input_blocks.0.0.weight"  # first convolution
_TIME = "time_embed.0.weight"  # first layer of the time embedding


def load_official(
    path: str | os.PathLike[str],
    image_size: int = 64,
    num_levels: int = 4,
    schedule: str = PAPER,
) -> tuple[FlexiUNet, ScaleSpaceScheduler]:
    """Load a checkpoint of the public implementation (``{"model": state_dict, "step": n}``).

    Raw and averaged (EMA) weights have the same form. The base width, the channels of the image and
    the number of classes are inferred from the weights; multipliers and attention are the paper's
    for ``image_size``. The scheduler has the paper's defaults: linear betas, the paper's noise,
    bilinear resizing. Only tensors are unpickled.

    Parameters
    ----------
    path : path
    image_size : int
        Full resolution in pixels; `official_image_size` infers it from the weights.
    num_levels : int
        Number of resolutions that the checkpoint was trained at; the weights do not show it.
    schedule : str
        The paper's name of the resolution schedule.

    Returns
    -------
    unet : FlexiUNet
    scheduler : ScaleSpaceScheduler

    Raises
    ------
    InputError
        If the file is missing or no such checkpoint, or its weights do not fit the network.
    """
    path = Path(path)
    return _build(_read(path), path, image_size, num_levels, schedule)


def _build(
    weights: dict[str, torch.Tensor], path: Path, image_size: int, num_levels: int, schedule: str
) -> tuple[FlexiUNet, ScaleSpaceScheduler]:
    multipliers, attention = paper_architecture(image_size)
    labels = weights.get("label_emb.weight")
    unet = FlexiUNet(
        image_size=image_size,
        num_levels=num_levels,
        base_channels=weights[_TIME].shape[1],
        channel_mult=multipliers,
        attention_resolutions=attention,
        in_channels=weights[_ENTRY].shape[1],
        num_classes=None if labels is None else len(labels),
        variant="paper",
    )
    unet.load_state_dict(_by_width(weights, unet, path))
    return unet, ScaleSpaceScheduler.paper(image_size, num_levels, schedule)


def official_image_size(path: str | os.PathLike[str]) -> int:
    """Infer the full resolution of a checkpoint of the public implementation from its widths.

    Raises
    ------
    InputError
        If the file is no such checkpoint, or no network of the paper has these widths.
    """
    path = Path(path)
    return _image_size(_read(path), path)


def _image_size(weights: dict[str, torch.Tensor], path: Path) -> int:
    base = weights[_TIME].shape[1]
    widths = [weights[_ENTRY].shape[0] / base]  # per level, in base channels
    numbers = [re.match(r"input_blocks\.(\d{1,3})\.", name) for name in weights]
    for block in range(1, 1 + max(int(number[1]) for number in numbers if number)):
        if f"input_blocks.{block}.0.op.weight" in weights:  # the next level begins
            widths.append(0)
        elif (out := weights.get(f"input_blocks.{block}.0.out_layers.3.weight")) is not None:
            widths[-1] = out.shape[0] / base
    for size, multipliers in PAPER_MULTIPLIERS.items():
        if widths == list(multipliers):
            return size
    known = ", ".join(map(str, PAPER_MULTIPLIERS))
    raise InputError(f"{path}: no published network ({known} px) has level widths {widths}")


def import_official(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    image_size: int | None = None,
    num_levels: int | None = None,
    schedule: str = PAPER,
) -> ScaleSpacePipeline:
    """Convert a checkpoint of the public implementation into a model directory.

    Parameters
    ----------
    path, schedule
        As in `load_official`.
    folder : path
        The model directory; must be new.
    image_size : int, optional
        By default inferred from the weights.
    num_levels : int, optional
        By default read from the file name, as in ``…_4levels_….pt``.

    Returns
    -------
    ScaleSpacePipeline

    Raises
    ------
    InputError
        As in `load_official`; or if the number of levels is unknown, or the folder is not new.
    """
    path = Path(path)
    weights = _read(path)
    if num_levels is None:
        stated = re.search(r"(\d+)levels", path.name)
        if stated is None:
            raise InputError(
                f"{path}: its name does not say how many levels it was trained at; give --levels"
            )
        num_levels = int(stated[1])
    size = _image_size(weights, path) if image_size is None else image_size
    unet, scheduler = _build(weights, path, size, num_levels, schedule)
    pipeline = ScaleSpacePipeline(unet, scheduler)
    with new_folder(folder) as aside:
        pipeline.save_pretrained(aside)
    return pipeline


def _read(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a checkpoint, which must hold two parameters of a Flexi-UNet."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a checkpoint of the paper's code") from None
    except Exception as error:  # unpickling raises exceptions of many types
        raise InputError(
            f"{path}: is not a checkpoint of tensors ({type(error).__name__}); "
            "give a .pt file of the paper's code"
        ) from None
    weights = content.get("model", content) if isinstance(content, dict) else {}
    if not isinstance(weights, dict):
        weights = {}
    for name, dimensions in ((_ENTRY, 4), (_TIME, 2)):
        if not isinstance(found := weights.get(name), torch.Tensor) or found.ndim != dimensions:
            raise InputError(f"{path}: holds no Flexi-UNet ({name} is missing or misshapen)")
    if alien := [name for name, w in weights.items() if not isinstance(w, torch.Tensor)]:
        raise InputError(f"{path}: {alien[0]} is no tensor")
    return weights


def _by_width(
    weights: dict[str, torch.Tensor], unet: FlexiUNet, path: Path
) -> dict[str, torch.Tensor]:
    """Rename ``adapters_in.<resolution>`` to ``adapters_in.<width>``; check names and shapes."""
    renamed = {}
    for name, tensor in weights.items():
        if match := re.fullmatch(r"(adapters_(in|out))\.\d+\.(weight|bias)", name):
            other = weights.get(re.sub(r"bias$", "weight", name), tensor)
            width = other.shape[0] if match[2] == "in" or other.ndim < 2 else other.shape[1]
            name = f"{match[1]}.{width}.{match[3]}"
        renamed[name] = tensor
    expected = {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    kinds = {
        "missing": sorted(expected.keys() - found.keys()),
        "surplus": sorted(found.keys() - expected.keys()),
        "of another shape": sorted(
            f"{n} {found[n]} in place of {expected[n]}"
            for n in expected.keys() & found.keys()
            if expected[n] != found[n]
        ),
    }
    wrong = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for kind, names in kinds.items()
        if names
    ]
    if wrong:
        raise InputError(
            f"{path}: weights do not fit the network for {unet.image_size} px: {'; '.join(wrong)}"
        )
    return renamed
