"""Deriving a resolution schedule from a spectrum by a criterion (mathematics §5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..information.bounds import check_snr, shell_information, signal_dominated_fraction
from ..information.measured import MeasuredInformation
from ..spectrum.bands import shell_index
from ..spectrum.spectrum import Spectrum, check_power
from ..support.errors import InputError
from .attenuation import Attenuation, check_attenuation
from .budget import budget_resolutions
from .levels import check_first_level, choose_levels
from .noise import NoiseSchedule
from .resolution import ResolutionSchedule

# What a state of r pixels lacks at each snr, for r = 1 … R, in the criterion's unit: (R, T), never
# rising with r.
_Lack = Callable[[Spectrum, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Criterion:
    lack: _Lack
    takes_tolerance: bool = True


def _discarded_snr(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """Largest ``snr S_k`` among the discarded coefficients."""
    shell = shell_index(spectrum.resolution)
    largest = np.zeros(spectrum.resolution + 1)
    np.maximum.at(largest, shell.ravel(), spectrum.power.max(axis=-1).ravel())
    beyond = np.maximum.accumulate(largest[::-1])[::-1][1:]  # of the shells from r on
    return beyond[:, None] * snr


def _discarded_bits(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """Discarded information in bits per pixel of the full image, summed over colours."""
    return _beyond(shell_information(spectrum, snr))


def _discarded_share(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """Discarded information as a share of the state's information."""
    return _share_beyond(shell_information(spectrum, snr))


def _beyond(shells: np.ndarray) -> np.ndarray:
    """Bits per pixel at frequencies from r = 1 … R on, from bits by frequency: (T, R) to (R, T)."""
    discarded = np.cumsum(shells.T[::-1], axis=0)[::-1]
    return np.vstack([discarded[1:], np.zeros(len(shells))]) / shells.shape[1] ** 2


def _share_beyond(shells: np.ndarray) -> np.ndarray:
    lost = _beyond(shells)
    total = shells.sum(axis=1) / shells.shape[1] ** 2
    return np.divide(lost, total, out=np.zeros_like(lost), where=total > 0)


def _divergence_bound(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """Bound on the divergence of leaving out the band, ``½ Σ snr S_k`` nats (mathematics §8)."""
    shell = shell_index(spectrum.resolution)
    power = np.bincount(shell.ravel(), spectrum.power.sum(axis=-1).ravel())
    beyond = np.append(np.cumsum(power[::-1])[::-1][1:], 0.0)
    return 0.5 * beyond[:, None] * snr


def _dominated_over_area(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """Share of signal-dominated coefficients, minus the share of pixels ``(r/R)²``."""
    share = np.asarray(signal_dominated_fraction(spectrum, snr, "coefficients"))
    area = (np.arange(1, spectrum.resolution + 1) / spectrum.resolution) ** 2
    return share - area[:, None]


def _unattenuated(spectrum: Spectrum, snr: np.ndarray) -> np.ndarray:
    """Largest ``snr P_k`` outside each resolution, with the envelope ``P_k`` of `Attenuation`."""
    outside = np.arange(1.0, spectrum.resolution + 1) ** 2  # the nearest frequency is (r, 0)
    envelope = Attenuation.of(spectrum, 1.0, 1.0).envelope(outside)
    envelope[-1] = 0.0
    return envelope[:, None] * snr


_OF_MEASURED = {"information": _share_beyond, "bits": _beyond}

_CRITERIA = {
    "water-filling": _Criterion(_unattenuated),
    "snr": _Criterion(_discarded_snr),
    "information": _Criterion(_discarded_share),
    "bits": _Criterion(_discarded_bits),
    "divergence": _Criterion(_divergence_bound),
    "signal-fraction": _Criterion(_dominated_over_area, takes_tolerance=False),
}

CRITERIA = (*_CRITERIA, "budget")
"""Names of the criteria."""


def derive_schedule(
    spectrum: Spectrum,
    noise: NoiseSchedule,
    levels: int | Sequence[int] | None = None,
    criterion: str = "water-filling",
    tolerance: float | None = None,
    smoothness: float = 2.0,
    noise_mode: str = "matched",
    operator: str = "dct",
    measured: MeasuredInformation | None = None,
) -> ResolutionSchedule:
    """Schedule of the smallest resolutions that a criterion allows (mathematics §5).

    A level ``r`` is sufficient at step ``t`` of the full-resolution chain if what a state of ``r``
    pixels lacks is at most ``tolerance``. A level is used from the first step from which on it is
    sufficient at every step, so resolutions never grow with ``t``. The criteria treat every
    operator as `dct`; `theory.information.discarded.discarded_bound` gives what another operator
    discards.

    Parameters
    ----------
    spectrum : Spectrum
        Of the dataset, at full resolution.
    noise : NoiseSchedule
        Of the full-resolution chain.
    levels : int or sequence of int, optional
        Allowed resolutions in pixels, falling from the spectrum's; or their number, each half of
        the one before. By default as many as the networks of `ssd_models` read and write.
    criterion : str
        See the table below.
    tolerance : float, optional
        Limit of the quantity in the table, in its unit, at least 0; for criterion "budget" this is
        the mean cost of a call, not an error. By default 1 for "water-filling", else 0.1.
    smoothness : float
        ``p`` of `theory.schedule.attenuation.Attenuation`, at least 1; for "water-filling".
    noise_mode : {"matched", "paper"}
        "water-filling" and "budget" need "matched".
    operator : {"dct", "box", "bilinear", "lanczos"}
        How a change downsamples; "water-filling" needs "dct".
    measured : MeasuredInformation, optional
        Information measured with a trained denoiser, used in place of the Gaussian's; for
        "information" and "bits".

    Returns
    -------
    ResolutionSchedule

    Notes
    -----
    | criterion | what is at most ``tolerance`` |
    | --- | --- |
    | water-filling | ``snr_t P_k`` outside the level, from 0 (full resolution) to 1 |
    | snr | the largest ``snr_t S_k`` of the discarded band |
    | divergence | the bound for any data ``½ Σ snr_t S_k`` of the discarded band, nats per image |
    | bits | the discarded band's information, bits per pixel of the full image |
    | information | the discarded band's information, as a share of ``I_G(t)`` |
    | signal-fraction | no tolerance: the share of ``snr_t S_k > 1`` is at most the level's area |
    | budget | the mean cost of a call, in full-resolution calls |

    With "water-filling" states are attenuated to zero outside the level, so that changes lose
    nothing, whatever the data (`theory.schedule.attenuation`). "budget" takes the schedule with the
    least oracle error within the cost (`theory.schedule.budget`).

    Raises
    ------
    InputError
        For an unknown criterion, a negative tolerance, a budget below the cheapest chain, levels
        that do not begin with the spectrum's resolution, options that do not go together, or a
        spectrum without power.
    """
    check_power(spectrum)
    levels = choose_levels(spectrum.resolution, levels)
    if tolerance is None:
        tolerance = default_tolerance(criterion)
    _check_criterion(criterion, tolerance)
    check_first_level(levels, spectrum.resolution)
    used: float | None = float(tolerance)
    notes: dict[str, object] = {}
    attenuation = None
    if criterion == "water-filling" and tolerance > 0:
        check_attenuation(tolerance, smoothness)
        if noise_mode != "matched" or operator != "dct":
            raise InputError(
                "criterion 'water-filling': needs matched noise and operator 'dct'; choose "
                "another criterion, such as 'snr'"
            )
        attenuation = Attenuation.of(spectrum, tolerance, smoothness)
        notes["smoothness"] = float(smoothness)
    if measured is not None:
        if criterion not in _OF_MEASURED:
            raise InputError(
                f"criterion {criterion!r}: does not use measured information; choose from "
                f"{', '.join(_OF_MEASURED)}"
            )
        if measured.spectrum.sha256 != spectrum.sha256:
            raise InputError("measured: was measured against another spectrum; measure it again")
        shells = measured.shell_bits(noise.snr).clip(min=0)
        lack = _OF_MEASURED[criterion](shells)[np.array(levels) - 1]
        resolutions = _staircase(lack > used, levels)
        notes["measured_on"] = measured.meta.get("source")
    elif criterion == "budget":
        if noise_mode != "matched":
            raise InputError("criterion 'budget': needs matched noise")
        resolutions = budget_resolutions(spectrum, noise, levels, tolerance)
    else:
        known = _CRITERIA[criterion]
        used = used if known.takes_tolerance else None
        lack = known.lack(spectrum, noise.snr)[np.array(levels) - 1]
        resolutions = _staircase(lack > (used or 0.0), levels)
    return ResolutionSchedule.from_noise(
        resolutions,
        noise,
        noise_mode,
        operator,
        levels=levels,
        derivation={**derivation(spectrum, noise, criterion, used), **notes},
        attenuation=attenuation,
    )


def default_tolerance(criterion: str) -> float:
    """Tolerance of a criterion if none is given."""
    return 1.0 if criterion == "water-filling" else 0.1


def derivation(
    spectrum: Spectrum, noise: NoiseSchedule, criterion: str, tolerance: float | None
) -> dict[str, object]:
    """Entry ``derivation`` of a schedule's file: where it comes from."""
    return {
        "criterion": criterion,
        "tolerance": tolerance,
        "base": noise.name,
        "spectrum_sha256": spectrum.sha256,
        "source": spectrum.meta.get("source"),
    }


def matched_resolution(
    spectrum: Spectrum,
    snr: np.ndarray,
    criterion: str = "snr",
    tolerance: float = 0.1,
) -> np.ndarray:
    """Smallest sufficient resolution ``r*`` without levels, as a continuous curve over snr.

    Between whole resolutions the criterion's quantity is interpolated linearly (mathematics §5).

    Parameters
    ----------
    spectrum : Spectrum
    snr : (T,) array
        ``a²/σ²`` of the full-resolution chain.
    criterion : str
        As in `derive_schedule`; not "budget".
    tolerance : float
        As in `derive_schedule`.

    Returns
    -------
    (T,) float64
        Pixels, from 1 to the spectrum's resolution.

    Raises
    ------
    InputError
        For an unknown criterion or "budget", a negative tolerance or a negative snr.
    """
    _check_criterion(criterion, tolerance)
    if criterion == "budget":
        raise InputError(
            "criterion 'budget': concerns the whole chain, not single steps; choose another"
        )
    known = _CRITERIA[criterion]
    allowed = tolerance if known.takes_tolerance else 0.0
    lack = known.lack(spectrum, np.atleast_1d(check_snr(snr)))
    sizes = np.arange(1.0, spectrum.resolution + 1)
    first = np.argmax(lack <= allowed, axis=0)  # at full resolution nothing is lacking
    column = np.arange(lack.shape[1])
    after, before = lack[first, column], lack[np.maximum(first - 1, 0), column]
    part = np.divide(
        allowed - after, before - after, out=np.zeros_like(after), where=(before > after)
    )
    return np.where(first == 0, 1.0, sizes[first] - part)


def _staircase(lacking: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Resolution of each step, from whether each level is insufficient there: (L, T) to (T,)."""
    steps = lacking.shape[1]
    resolutions = np.full(steps, levels[0])
    for level, lacks in zip(levels[1:], lacking[1:], strict=True):
        first = steps - int(np.argmax(lacks[::-1])) if lacks.any() else 0
        # The chain ends at full resolution, at step 0, whatever the criterion allows.
        entered = np.arange(steps) >= max(first, 1)
        resolutions = np.where(entered, level, resolutions)
    return resolutions


def _check_criterion(criterion: str, tolerance: float) -> None:
    if criterion not in (known := (*_CRITERIA, "budget")):
        raise InputError(f"criterion {criterion!r}: unknown; choose from {', '.join(known)}")
    if not 0 <= tolerance < np.inf:
        raise InputError(f"tolerance {tolerance}: must be a number of at least 0")
