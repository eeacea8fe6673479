"""Model card: README.md of a model directory, on what the model is and how to sample from it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath

import numpy as np

from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum

from ..data.forms import HUB_PREFIX
from ..network.flexi_unet import FlexiUNet

_PAPER = "https://arxiv.org/abs/2603.08709"
_NAMED = 20  # class names listed at most


def model_card(
    unet: FlexiUNet,
    schedule: ResolutionSchedule,
    spectrum: Spectrum | None = None,
    class_names: Sequence[str] | None = None,
    model: str = f"{HUB_PREFIX}OWNER/NAME",
) -> str:
    """Write a model card in Markdown, with the metadata that the Hugging Face hub reads.

    Parameters
    ----------
    unet, schedule, spectrum, class_names
        As in `ssd_models.sampling.pipeline.ScaleSpacePipeline`. Of a path of the data only the last
        component is shown.
    model : str
        Name of the model in the examples, a path or ``hf:OWNER/NAME``.

    Returns
    -------
    str
    """
    size, channels = schedule.resolution, unet.in_channels
    source = str((spectrum.meta if spectrum else schedule.derivation).get("source") or "")
    metadata = [
        "library_name: scale-space-diffusion",
        "pipeline_tag: unconditional-image-generation",
        "tags:",
        "- diffusion",
        "- scale-space-diffusion",
    ]
    if hub := re.match(rf"{HUB_PREFIX}([\w.-]+/[\w.-]+)(:|$)", source, re.ASCII):
        metadata += ["datasets:", f"- {json.dumps(hub[1])}"]
    parameters = sum(parameter.numel() for parameter in unet.parameters())
    rows = {
        "images": f"{size} × {size} pixels, {channels} channel{'s' * (channels > 1)}",
        "network": f"Flexi-UNet, {parameters / 1e6:.3g} million parameters",
        "resolutions": ", ".join(_stretches(schedule)),
        "schedule": _origin(schedule),
        "trained on": _data(source, spectrum),
    }
    if unet.preconditioning != "none":
        rows["network"] += "; its output is added to the best linear prediction"
    example = f"class_labels=[{json.dumps(class_names[0])}], " if class_names else ""
    if unet.num_classes is not None:
        names = class_names or [str(i) for i in range(unet.num_classes)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        rows["classes"] = _plain(", ".join(names[:_NAMED])) + more
        example = example or "class_labels=[0], "
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    front = "\n".join(metadata)
    return f"""---
{front}
---

# Scale-space diffusion, {size} pixels

A diffusion model whose noisy states are small where they hold no more than a small image
([paper]({_PAPER})): a denoiser that reads and writes several resolutions, and the schedule that
says at which step which of them is enough.

| | |
| --- | --- |
{table}

## Sampling

With the Python package `scale-space-diffusion`:

```python
import torch
from ssd_models import ScaleSpacePipeline

pipe = ScaleSpacePipeline.from_pretrained({json.dumps(model)})  # or the path of this folder
generator = torch.Generator().manual_seed(0)
images = pipe(batch_size=4, num_inference_steps=50, {example}generator=generator).images
```

On the command line: `ssd sample {model} -n 16 -o samples.png`.
"""


def _stretches(schedule: ResolutionSchedule) -> list[str]:
    """Describe each resolution with its range of steps, from step 0 on."""
    bounds = [0, *schedule.changes, schedule.num_steps]
    return [
        f"{schedule.resolutions[first]} (steps {first} to {after - 1})"
        for first, after in pairwise(bounds)
    ]


def _origin(schedule: ResolutionSchedule) -> str:
    derivation = schedule.derivation
    parts = [
        f"{name} {_plain(value)}"
        for name in ("criterion", "tolerance", "base")
        if (value := derivation.get(name)) is not None
    ]
    noise = "matched noise" if schedule.noise_mode == "matched" else "the paper's noise"
    return ", ".join([*parts, f"operator {schedule.operator}", noise])


def _data(source: str, spectrum: Spectrum | None) -> str:
    if not source:
        return "not recorded"
    name = source if source.startswith(HUB_PREFIX) else PurePath(source.replace("\\", "/")).name
    count = "" if spectrum is None else f" (spectrum of {np.round(spectrum.count):,.0f} images)"
    return _plain(name) + count


def _plain(text: object) -> str:
    """Text on one line, with the special characters of Markdown escaped."""
    return re.sub(r"([\\`*_<>|\[\]#])", r"\\\1", " ".join(str(text).split()))
