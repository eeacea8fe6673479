"""Scale-space diffusion models in torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
