"""Scale-space diffusion models in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy_attributes

if TYPE_CHECKING:
    from .degradation import SeparableDegradation
    from .editing import inpaint, super_resolve, vary
    from .flexi_unet import FlexiUNet
    from .gaussian import GaussianDenoiser
    from .matrix_free import MatrixFreeDegradation
    from .official import load_official
    from .pipeline import ScaleSpacePipeline
    from .process import ScaleSpaceProcess
    from .samplers import sample_dpmpp_2m, sample_eta
    from .scheduler import ScaleSpaceScheduler
    from .whitened import sample_whitened

__all__ = [
    "FlexiUNet",
    "GaussianDenoiser",
    "MatrixFreeDegradation",
    "ScaleSpacePipeline",
    "ScaleSpaceProcess",
    "ScaleSpaceScheduler",
    "SeparableDegradation",
    "inpaint",
    "load_official",
    "sample_dpmpp_2m",
    "sample_eta",
    "sample_whitened",
    "super_resolve",
    "vary",
]

# Importing torch takes seconds; names load on first use.
_HOME = {
    "FlexiUNet": "flexi_unet",
    "GaussianDenoiser": "gaussian",
    "MatrixFreeDegradation": "matrix_free",
    "ScaleSpacePipeline": "pipeline",
    "ScaleSpaceProcess": "process",
    "ScaleSpaceScheduler": "scheduler",
    "SeparableDegradation": "degradation",
    "inpaint": "editing",
    "load_official": "official",
    "sample_dpmpp_2m": "samplers",
    "sample_eta": "samplers",
    "sample_whitened": "whitened",
    "super_resolve": "editing",
    "vary": "editing",
}

__getattr__ = lazy_attributes(__name__, _HOME)
