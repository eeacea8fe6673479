"""From a dataset's spectrum to how much information noisy states hold, and to schedules.

Docstrings cite formulas as "mathematics §n": sections of ``mathematics.md`` in this folder, which
also says under which name each formula is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_attributes

if TYPE_CHECKING:
    from .derive import derive_schedule, matched_resolution
    from .discarded import discarded_information
    from .divergence import (
        ChangeDivergence,
        MeasuredDivergence,
        change_divergence,
        measured_divergence,
    )
    from .errors import InputError
    from .information import (
        gaussian_information,
        schedule_information,
        signal_dominated_fraction,
    )
    from .noise import NoiseSchedule
    from .operators import resize_matrix
    from .oracle import OracleReport, dense_oracle_report, oracle_errors, oracle_report
    from .planning import SamplingPlan, pareto_front, plan_sampling
    from .pyramid import gaussian_pyramid, laplacian_pyramid
    from .sampler import Sampler
    from .schedules import ResolutionSchedule
    from .spacing import plan_steps, select_steps
    from .spectral_fit import spectral_exponents, spectrum_warnings
    from .spectrum import Spectrum

__all__ = [
    "ChangeDivergence",
    "InputError",
    "MeasuredDivergence",
    "NoiseSchedule",
    "OracleReport",
    "ResolutionSchedule",
    "Sampler",
    "SamplingPlan",
    "Spectrum",
    "change_divergence",
    "dense_oracle_report",
    "derive_schedule",
    "discarded_information",
    "gaussian_information",
    "gaussian_pyramid",
    "laplacian_pyramid",
    "matched_resolution",
    "measured_divergence",
    "oracle_errors",
    "oracle_report",
    "pareto_front",
    "plan_sampling",
    "plan_steps",
    "resize_matrix",
    "schedule_information",
    "select_steps",
    "signal_dominated_fraction",
    "spectral_exponents",
    "spectrum_warnings",
]

# Importing scipy takes half a second; names load on first use.
_HOME = {
    "ChangeDivergence": "divergence",
    "MeasuredDivergence": "divergence",
    "InputError": "errors",
    "NoiseSchedule": "noise",
    "OracleReport": "oracle",
    "ResolutionSchedule": "schedules",
    "Sampler": "sampler",
    "SamplingPlan": "planning",
    "Spectrum": "spectrum",
    "change_divergence": "divergence",
    "measured_divergence": "divergence",
    "dense_oracle_report": "oracle",
    "derive_schedule": "derive",
    "discarded_information": "discarded",
    "gaussian_information": "information",
    "gaussian_pyramid": "pyramid",
    "laplacian_pyramid": "pyramid",
    "matched_resolution": "derive",
    "oracle_errors": "oracle",
    "oracle_report": "oracle",
    "pareto_front": "planning",
    "plan_sampling": "planning",
    "plan_steps": "spacing",
    "resize_matrix": "operators",
    "schedule_information": "information",
    "select_steps": "spacing",
    "signal_dominated_fraction": "information",
    "spectral_exponents": "spectral_fit",
    "spectrum_warnings": "spectral_fit",
}

__getattr__ = lazy_attributes(__name__, _HOME)
