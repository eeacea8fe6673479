from .images.operators import resize_matrix as resize_matrix
from .images.pyramid import (
    gaussian_pyramid as gaussian_pyramid,
    laplacian_pyramid as laplacian_pyramid,
)
from .information.bounds import (
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
from .oracle.plans import (
    SamplingPlan as SamplingPlan,
    pareto_front as pareto_front,
    plan_sampling as plan_sampling,
)
from .oracle.report import (
    OracleReport as OracleReport,
    dense_oracle_report as dense_oracle_report,
    oracle_errors as oracle_errors,
    oracle_report as oracle_report,
)
from .oracle.sampler import Sampler as Sampler
from .oracle.steps import plan_steps as plan_steps, select_steps as select_steps
from .schedule.derivation import (
    derive_schedule as derive_schedule,
    matched_resolution as matched_resolution,
)
from .schedule.noise import NoiseSchedule as NoiseSchedule
from .schedule.resolution import ResolutionSchedule as ResolutionSchedule
from .spectrum.diagnostics import spectrum_warnings as spectrum_warnings
from .spectrum.exponents import spectral_exponents as spectral_exponents
from .spectrum.spectrum import Spectrum as Spectrum
from .support.errors import InputError as InputError
