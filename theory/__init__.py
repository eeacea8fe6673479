"""From a dataset's spectrum to how much information noisy states hold, and to schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_attributes

if TYPE_CHECKING:
    from .derive import derive_schedule
    from .errors import InputError
    from .information import (
        discarded_information,
        gaussian_information,
        signal_dominated_fraction,
    )
    from .noise import NoiseSchedule
    from .operators import resize_matrix
    from .oracle import OracleReport, oracle_report
    from .pyramid import gaussian_pyramid, laplacian_pyramid
    from .schedules import ResolutionSchedule
    from .spectrum import Spectrum

__all__ = [
    "InputError",
    "NoiseSchedule",
    "OracleReport",
    "ResolutionSchedule",
    "Spectrum",
    "derive_schedule",
    "discarded_information",
    "gaussian_information",
    "gaussian_pyramid",
    "laplacian_pyramid",
    "oracle_report",
    "resize_matrix",
    "signal_dominated_fraction",
]

# Importing scipy takes half a second; names load on first use.
_HOME = {
    "InputError": "errors",
    "NoiseSchedule": "noise",
    "OracleReport": "oracle",
    "ResolutionSchedule": "schedules",
    "Spectrum": "spectrum",
    "derive_schedule": "derive",
    "discarded_information": "information",
    "gaussian_information": "information",
    "gaussian_pyramid": "pyramid",
    "laplacian_pyramid": "pyramid",
    "oracle_report": "oracle",
    "resize_matrix": "operators",
    "signal_dominated_fraction": "information",
}

__getattr__ = lazy_attributes(__name__, _HOME)
