from .diffusion.degradation import SeparableDegradation as SeparableDegradation
from .diffusion.gaussian import GaussianDenoiser as GaussianDenoiser
from .diffusion.matrix_free import MatrixFreeDegradation as MatrixFreeDegradation
from .diffusion.process import ScaleSpaceProcess as ScaleSpaceProcess
from .network.flexi_unet import FlexiUNet as FlexiUNet
from .sampling.editing import inpaint as inpaint, super_resolve as super_resolve, vary as vary
from .sampling.interop import to_diffusers as to_diffusers
from .sampling.official import load_official as load_official
from .sampling.pipeline import ScaleSpacePipeline as ScaleSpacePipeline
from .sampling.samplers import sample_dpmpp_2m as sample_dpmpp_2m, sample_eta as sample_eta
from .sampling.scheduler import ScaleSpaceScheduler as ScaleSpaceScheduler
from .sampling.whitened import sample_whitened as sample_whitened
