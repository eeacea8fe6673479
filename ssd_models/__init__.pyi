from .devices import use_bf16 as use_bf16
from .diffusion.degradation import SeparableDegradation as SeparableDegradation
from .diffusion.gaussian import GaussianDenoiser as GaussianDenoiser
from .diffusion.matrix_free import MatrixFreeDegradation as MatrixFreeDegradation
from .diffusion.process import ScaleSpaceProcess as ScaleSpaceProcess
from .network.flexi_unet import FlexiUNet as FlexiUNet
from .network.path_costs import (
    path_flops as path_flops,
    path_name as path_name,
    path_parameters as path_parameters,
)
from .sampling.editing import inpaint as inpaint, super_resolve as super_resolve, vary as vary
from .sampling.interop import to_diffusers as to_diffusers
from .sampling.official import load_official as load_official
from .sampling.pictures import image_grid as image_grid, save_animation as save_animation
from .sampling.pipeline import ScaleSpacePipeline as ScaleSpacePipeline
from .sampling.samplers import sample_dpmpp_2m as sample_dpmpp_2m, sample_eta as sample_eta
from .sampling.scheduler import ScaleSpaceScheduler as ScaleSpaceScheduler
from .sampling.whitened import sample_whitened as sample_whitened
