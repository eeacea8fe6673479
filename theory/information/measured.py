"""Information of noisy states, measured by a denoiser's error at each frequency (I-MMSE).

A network's squared error at a step is at least the minimum (mmse), so its integral over snr is, up
to quadrature and sampling errors, at least the information that the states hold; an ideal denoiser
attains it (`theory.information.mmse`). For Gaussian data it is `gaussian_information`. By as much
as a network's value is lower, images have structure beyond second-order statistics.

States of all levels are compared at ``u = snr_t (r_t / R)²``, `ResolutionSchedule.kept_band_snr`.
With an attenuation a coefficient's own snr is ``u λ_k²``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..spectrum.bands import octave_edges, shell_sums
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from ..support.files import write_json
from ..support.paths import user_path
from ..support.reading import check_fields, read_json
from .bounds import channel_bits, check_snr, shell_information
from .discarded import discarded_information

if TYPE_CHECKING:  # schedules are derived from information
    from ..schedule.resolution import ResolutionSchedule

FORMAT = "scale-space-information/1"
_ARRAYS = ("steps", "resolutions", "snr", "bits", "bound", "standard_error")


@dataclass(frozen=True, eq=False)
class MeasuredInformation:
    """Information measured by a denoiser at several steps, noisiest first.

    Raises
    ------
    InputError
        If shapes do not fit together or ``snr`` does not rise.
    """

    steps: np.ndarray  # (S,) t
    resolutions: np.ndarray  # (S,) of the states, pixels
    snr: np.ndarray  # (S,) ``u``, rising
    bits: np.ndarray  # (S, R) per image and frequency max(k1, k2); 0 beyond the state's resolution
    bound: np.ndarray  # (S, R) the same for Gaussian data with the spectrum
    standard_error: np.ndarray  # (S,) of the sum of ``bits``, from the spread over images
    spectrum: Spectrum  # of the data
    count: int  # number of images
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.spectrum.resolution
        shapes = {"bits": (size,), "bound": (size,)}
        for name in _ARRAYS:
            array = np.asarray(getattr(self, name))
            if array.shape != (len(self.steps), *shapes.get(name, ())):
                needed = (len(self.steps), *shapes.get(name, ()))
                raise InputError(f"{name}: has shape {array.shape}, needs {needed}")
            if not np.isfinite(array).all():
                raise InputError(f"{name}: has values that are not finite")
            object.__setattr__(self, name, array)
        if len(self.steps) < 2 or not (np.diff(self.snr) > 0).all() or self.snr[0] <= 0:
            raise InputError("snr: needs at least two rising positive numbers")

    def shell_bits(self, snr: np.ndarray) -> np.ndarray:
        """Bits at each frequency for any snr of the full resolution: (T,) snr to (T, R) bits.

        The Gaussian's bits times the ratio of measured to Gaussian bits. The ratio of a frequency
        is interpolated in the logarithm of its Gaussian bits, constant beyond those of the measured
        steps, and 1 at frequencies that were not measured.
        """
        gaussian = shell_information(self.spectrum, check_snr(snr))
        found = np.ones_like(gaussian)
        at = np.log(np.maximum(gaussian, 1e-300))
        for k, (bits, bound) in enumerate(zip(self.bits.T, self.bound.T, strict=True)):
            there = bound > 0
            if there.any():
                position = np.maximum.accumulate(np.log(bound[there]))
                found[:, k] = np.interp(at[:, k], position, bits[there] / bound[there])
        return found * gaussian

    def octaves(self) -> tuple[np.ndarray, np.ndarray]:
        """``bits`` and ``bound`` summed over octaves, (S, octaves) each, lowest first."""
        first = octave_edges(self.spectrum.resolution)[:-1]
        return np.add.reduceat(self.bits, first, axis=1), np.add.reduceat(self.bound, first, axis=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file (complete or not at all); of the spectrum it holds the digest only."""
        content: dict[str, Any] = {name: getattr(self, name).tolist() for name in _ARRAYS}
        content |= {"format": FORMAT, "count": self.count, "meta": self.meta}
        content["spectrum_sha256"] = self.spectrum.sha256
        write_json(path, content, indent=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str], spectrum: Spectrum) -> MeasuredInformation:
        """Read a file written by `save`; ``spectrum`` must be the one it was measured against.

        Raises
        ------
        InputError
            If the file is missing, is damaged or of another kind, or belongs to another spectrum.
        """
        path = user_path(path)
        content = read_json(path, "write it with `ssd information`")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(
                f"{path}: is not measured information; write it with `ssd information`"
            )
        if content.get("spectrum_sha256") != spectrum.sha256:
            raise InputError(f"{path}: was measured against another spectrum; measure it again")
        try:
            check_fields(content, {"count": int, "meta": dict})
            arrays = {name: np.array(content[name], np.float64) for name in _ARRAYS}
            arrays |= {name: arrays[name].astype(int) for name in ("steps", "resolutions")}
            return cls(**arrays, spectrum=spectrum, count=content["count"], meta=content["meta"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: is damaged ({error}); measure it again") from None


def measured_information(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    steps: Sequence[int],
    errors: Sequence[np.ndarray],
    linear: Sequence[np.ndarray] | None = None,
    meta: dict[str, Any] | None = None,
) -> MeasuredInformation:
    """Integrate the squared errors of a denoiser along the chain of a schedule.

    The difference of the error to the best linear denoiser's is integrated by the trapezoidal rule
    in log-snr and added to the information that the state has for Gaussian data, which is known in
    closed form (mathematics §4). For a frequency that the noisiest states lack the integral begins
    at the first state that has it, with the Gaussian's information. Exact for Gaussian data with an
    ideal denoiser.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Without blur.
    spectrum : Spectrum
        Of the data at full resolution.
    steps : sequence of S ints
        Distinct.
    errors : sequence of S arrays (N, r_t)
        Squared error of the prediction of the clean image at the state's resolution from ``x_t``,
        summed over colours and over the DCT coefficients of each frequency ``max(k1, k2)``, with
        the weights of `error_weights`; one row an image.
    linear : sequence of S arrays (N, r_t), optional
        Errors of the best linear denoiser (`ssd_models.diffusion.gaussian.GaussianDenoiser`) on the
        same states. Most of their sampling error is the same as that of ``errors`` and cancels in
        the difference. By default their expectation.
    meta : dict, optional
        What a reader should know.

    Raises
    ------
    InputError
        If the schedule blurs its states, a step is not of the schedule, or shapes do not fit.
    """
    if schedule.blurs:
        raise InputError("schedule: blurs its states; their information is not computed here")
    schedule.check_spectrum(spectrum)
    last = schedule.num_steps - 1
    if not len(steps) or min(steps) < 0 or max(steps) > last:
        raise InputError(f"steps: needs at least one, between 0 and {last}")
    for name, rows in (("errors", errors), ("linear", linear)):
        if rows is not None and len(rows) != len(steps):
            raise InputError(f"{name}: has {len(rows)} arrays for {len(steps)} steps")
    size = schedule.resolution
    sides = schedule.resolutions[list(steps)]
    equivalent = schedule.kept_band_snr[list(steps)]
    order = np.argsort(equivalent)
    count = len(errors[0])
    weights = error_weights(schedule, steps)
    levels = {
        int(r): spectrum.at_resolution(int(r), schedule.operator) if r < size else spectrum
        for r in np.unique(sides)
    }
    difference = np.zeros((len(order), count, size))  # to the linear error, per du
    bound = np.zeros((len(order), size))
    for i, j in enumerate(order):
        r = int(sides[j])
        if errors[j].shape != (count, r) or (linear is not None and linear[j].shape != (count, r)):
            raise InputError(f"errors[{j}]: have shape {errors[j].shape}, need ({count}, {r})")
        power = levels[r].power
        gains = schedule.attenuation_gains(steps[j])[..., None]
        own = schedule.snr[steps[j]] * gains**2 * power
        mmse = weights[j][..., None] * power / (1 + own)
        known = shell_sums(mmse) if linear is None else linear[j]
        difference[i, :, :r] = (errors[j] - known) * (size / r) ** 2
        bound[i, :r] = shell_sums(0.5 * np.log2(1 + own))
    snr, sides = equivalent[order], sides[order]
    found = np.zeros_like(difference)
    half = np.diff(np.log(snr))[:, None, None] / 2
    both = np.arange(size) < np.minimum(sides[1:], sides[:-1])[:, None]  # measured at both ends
    rate = snr[:, None, None] * difference * (0.5 / np.log(2))
    found[1:] = np.cumsum(half * (rate[1:] + rate[:-1]) * both[:, None, :], axis=0)
    total = found.sum(axis=2)
    return MeasuredInformation(
        steps=np.asarray(steps)[order],
        resolutions=sides,
        snr=snr,
        bits=(bound + found.mean(axis=1)) * (bound > 0),
        bound=bound,
        standard_error=(
            total.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(len(order))
        ),
        spectrum=spectrum,
        count=count,
        meta=meta or {},
    )


def error_weights(schedule: ResolutionSchedule, steps: Sequence[int]) -> list[np.ndarray]:
    """Weight of each coefficient's squared error in the sums of `measured_information`.

    It is the derivative of the coefficient's own signal-to-noise ratio by that of the full
    resolution: information changes by ``½ Σ mse_k d(snr λ_k²)``, in nats. Without attenuation all
    weights are 1.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Without blur.
    steps : sequence of S ints

    Returns
    -------
    list of S arrays (r_t, r_t) float64
    """
    weights = []
    for t in steps:
        side = int(schedule.resolutions[t])
        weight = np.ones((side, side))
        if (attenuation := schedule.attenuation) is not None:
            weight = attenuation.snr_slope(schedule.base_snr[t], attenuation.grid(side, side))
        weights.append(weight)
    return weights


@dataclass(frozen=True)
class ChangeLoss:
    """Information that one change of resolution discards at constant base noise, bits per image."""

    step: int  # t, the first at the lower resolution
    before: int  # side in pixels, of the state at t − 1
    after: int  # of that at t
    gaussian: float  # for Gaussian data; a bound for all data where noise is matched
    found: float  # measured by the denoiser


def losses_at_changes(
    schedule: ResolutionSchedule, measured: MeasuredInformation
) -> list[ChangeLoss]:
    """Information that each change of a schedule discards: for Gaussian data and as measured.

    It is that of the discarded band and, with the paper's noise, what the kept band loses to the
    added noise; zero with an attenuation, whose discarded band holds no signal. ``measured`` should
    come from a network of full resolution: one trained on the schedule itself has no errors in the
    band beyond the change, which then counts as Gaussian.

    Parameters
    ----------
    schedule : ResolutionSchedule
    measured : MeasuredInformation
        At the schedule's full resolution.

    Returns
    -------
    list of ChangeLoss, by rising step

    Raises
    ------
    InputError
        If the resolutions differ.
    """
    spectrum, size = measured.spectrum, schedule.resolution
    schedule.check_spectrum(spectrum)
    if schedule.is_lossless:
        return [ChangeLoss(t, *sides, 0.0, 0.0) for t, sides in schedule.changes.items()]
    losses = []
    for t, (before, after) in schedule.changes.items():
        base = schedule.base_snr
        kept = schedule.snr[t - 1] * base[t] / base[t - 1]  # of the larger state at t
        level = spectrum.at_resolution(before, schedule.operator) if before < size else spectrum
        lower = spectrum.at_resolution(after, schedule.operator)
        band = float(discarded_information(level, kept, after, schedule.operator))
        matched = kept * (before / after) ** 2
        noise = float(channel_bits(lower.power, matched)) - float(
            channel_bits(lower.power, schedule.snr[t])
        )
        axis = np.array([kept * (before / size) ** 2, schedule.snr[t] * (after / size) ** 2])
        bits = measured.shell_bits(axis)
        found = float(bits[0, :before].sum() - bits[1, :after].sum())
        losses.append(ChangeLoss(t, before, after, band + noise, found))
    return losses
