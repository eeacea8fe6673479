"""Scale-space diffusion models in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy_attributes

if TYPE_CHECKING:
    from .flexi_unet import FlexiUNet
    from .official import load_official
    from .pipeline import ScaleSpacePipeline
    from .process import ScaleSpaceProcess
    from .scheduler import ScaleSpaceScheduler

__all__ = [
    "FlexiUNet",
    "ScaleSpacePipeline",
    "ScaleSpaceProcess",
    "ScaleSpaceScheduler",
    "load_official",
]

# Importing torch takes seconds; names load on first use.
_HOME = {
    "FlexiUNet": "flexi_unet",
    "ScaleSpacePipeline": "pipeline",
    "ScaleSpaceProcess": "process",
    "ScaleSpaceScheduler": "scheduler",
    "load_official": "official",
}

__getattr__ = lazy_attributes(__name__, _HOME)
