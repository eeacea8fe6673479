"""Clean predictions as the best linear prediction plus what a network adds to it."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from theory.information.mmse import linear_errors
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .constants import Constants
from .gaussian import GaussianDenoiser
from .process import ScaleSpaceProcess


class LinearPreconditioning:
    """Clean prediction ``E_lin[x_0 | x_t] + s_t F`` from the output ``F`` of a network.

    ``E_lin`` is the Wiener filter of the data's spectrum and ``s_t²`` its mean squared error per
    pixel, so that the network is asked for a target of unit variance at every step: the part of the
    clean image that second-order statistics do not give. A network that outputs zero is the best
    linear denoiser. This is the preconditioning of EDM (Karras et al. 2022, section 5) with a skip
    connection for each frequency in place of one for all.

    Parameters
    ----------
    spectrum : Spectrum
        Of the training images.
    process : ScaleSpaceProcess
        Of square images; its schedule has no blur, and the operator `dct` or one level.

    Raises
    ------
    InputError
        If spectrum and process do not fit.
    """

    def __init__(self, spectrum: Spectrum, process: ScaleSpaceProcess):
        schedule = process.schedule
        if schedule.blurs or schedule.mixes_frequencies:
            raise InputError(
                "preconditioning 'linear': needs a schedule with operator 'dct' and without blur"
            )
        self._expected = GaussianDenoiser(spectrum, process)
        self._schedule, self._spectrum = schedule, spectrum
        self._constant = Constants()

    @classmethod
    def of(
        cls, name: str, spectrum: Spectrum | None, process: ScaleSpaceProcess
    ) -> LinearPreconditioning | None:
        """Preconditioning of a network by its option; None for "none".

        Raises `InputError` if "linear" has no spectrum or does not fit the process.
        """
        if name == "none":
            return None
        if spectrum is None:
            raise InputError(
                "preconditioning 'linear': needs the spectrum of the training images (at least two "
                "different ones)"
            )
        return cls(spectrum, process)

    def __call__(self, output: Tensor, x_t: Tensor, t: int | Tensor, resolution: int) -> Tensor:
        """Clean prediction at ``resolution``.

        Parameters
        ----------
        output : (N, C, q, q) tensor
            Of the network.
        x_t : (N, C, r, r) tensor
            State it was computed from.
        t : int or (N,) integer tensor on the host
            Step of the batch or of each image, all of one level.
        resolution : int
            q, in pixels.
        """

        def deviations() -> np.ndarray:
            return np.sqrt(linear_errors(self._schedule, self._spectrum, resolution))

        scales = self._constant(resolution, deviations, output)
        if not isinstance(t, Tensor):
            return self._expected(x_t, t, resolution) + scales[t] * output
        places = t.to(output.device, non_blocking=output.is_cuda)
        expected = self._expected.at_steps(x_t, t, resolution)
        return expected + scales[places, None, None, None] * output
