"""How much the error at each diffusion step counts in the training loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from theory.support.errors import InputError

if TYPE_CHECKING:  # the command line needs the names alone, and starts sooner so
    from theory.schedule.resolution import ResolutionSchedule
    from theory.spectrum.spectrum import Spectrum

    from .config import TrainConfig


def _min_snr(
    schedule: ResolutionSchedule, config: TrainConfig, spectrum: Callable[[], Spectrum | None]
) -> np.ndarray:
    """``floor + min(snr_t, clip)`` (min-SNR, Hang et al. 2023).

    ``snr_t`` is that of the full-resolution chain (mathematics §7), so that the same content has
    the weight of DDPM at every level. Without a floor, very noisy states have almost no weight; as
    each batch is of one path, Adam then barely updates weights that only small levels use. A floor
    of ``1/σ_data²`` without clip is the weight of EDM (Karras et al. 2022, eq. 5 and table 1, for
    predictions of x0): 4 for pixels of standard deviation 0.5.
    """
    return config.snr_floor + np.minimum(schedule.base_snr, config.snr_clip)


def _relative(
    schedule: ResolutionSchedule, config: TrainConfig, spectrum: Callable[[], Spectrum | None]
) -> np.ndarray:
    """One over the error of the best linear denoiser, so that all noise levels count alike.

    The loss is then the network's error over the linear denoiser's. Learned uncertainties (EDM2,
    Karras et al. 2024, section 2.3) weigh likewise, by the network's own error.
    """
    from theory.information.mmse import linear_errors

    measured = spectrum()
    if measured is None:
        raise InputError("loss_weight 'relative': needs at least two different training images")
    return 1 / linear_errors(schedule, measured)


WEIGHTS: dict[str, Callable[..., np.ndarray]] = {"min-snr": _min_snr, "relative": _relative}
"""Every weight by name; arguments and value as those of `loss_weights`."""


def loss_weights(
    schedule: ResolutionSchedule, config: TrainConfig, spectrum: Callable[[], Spectrum | None]
) -> np.ndarray:
    """Weight of each step under ``config.loss_weight``, (T,) positive float64.

    Parameters
    ----------
    schedule : ResolutionSchedule
    config : TrainConfig
    spectrum : callable
        Returns the spectrum of the training images, or None if there is none; called only by
        weights that depend on the data.

    Raises
    ------
    InputError
        If "relative" is chosen and there is no spectrum.
    """
    return WEIGHTS[config.loss_weight](schedule, config, spectrum)
