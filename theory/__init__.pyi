from .images.operators import resize_matrix as resize_matrix
from .images.pyramid import (
    gaussian_pyramid as gaussian_pyramid,
    laplacian_pyramid as laplacian_pyramid,
)
from .images.scale_space import resized_stack as resized_stack
from .information.bounds import (
    band_information as band_information,
    gaussian_information as gaussian_information,
    schedule_information as schedule_information,
    signal_dominated_fraction as signal_dominated_fraction,
)
from .information.discarded import discarded_information as discarded_information
from .information.divergence import (
    ChangeDivergence as ChangeDivergence,
    MeasuredDivergence as MeasuredDivergence,
    change_divergence as change_divergence,
    measured_divergence as measured_divergence,
)
from .information.mmse import (
    binary_information as binary_information,
    gaussian_mmse as gaussian_mmse,
)
from .information.thumbnails import (
    THUMBNAIL_FORMATS as THUMBNAIL_FORMATS,
    matching_thumbnail as matching_thumbnail,
    thumbnail_bits as thumbnail_bits,
)
from .oracle.plans import (
    SamplingPlan as SamplingPlan,
    pareto_front as pareto_front,
    plan_sampling as plan_sampling,
)
from .oracle.predictions import with_predictions as with_predictions
from .oracle.report import (
    OracleReport as OracleReport,
    dense_oracle_report as dense_oracle_report,
    octave_decibels as octave_decibels,
    oracle_errors as oracle_errors,
    oracle_report as oracle_report,
)
from .oracle.sampler import Sampler as Sampler
from .oracle.steps import plan_steps as plan_steps, select_steps as select_steps
from .plots.schedule import save_report as save_report, water_level as water_level
from .schedule.costs import chain_costs as chain_costs
from .schedule.derivation import (
    derive_schedule as derive_schedule,
    matched_resolution as matched_resolution,
)
from .schedule.noise import NoiseSchedule as NoiseSchedule
from .schedule.paper import PAPER as PAPER
from .schedule.resolution import ResolutionSchedule as ResolutionSchedule
from .spectrum.bands import band_power as band_power
from .spectrum.convergence import convergence as convergence
from .spectrum.diagnostics import (
    chroma_ratio as chroma_ratio,
    high_frequency_share as high_frequency_share,
    spectrum_warnings as spectrum_warnings,
)
from .spectrum.exponents import spectral_exponents as spectral_exponents
from .spectrum.spectrum import Spectrum as Spectrum
from .support.errors import InputError as InputError
