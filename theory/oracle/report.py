"""Exact error of a schedule and sampler on Gaussian data, with no network and no sampling.

For Gaussian data the best denoiser is linear (Wiener), so every reverse step is linear and the
variance of what a sampler generates can be propagated exactly: one scalar per DCT coefficient, see
`theory.oracle.recursion`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ..schedule.resolution import ResolutionSchedule
from ..spectrum.bands import octave_power, shell_index, squared_radius
from ..spectrum.spectrum import Spectrum
from ..support.errors import InputError
from .dense import LARGEST, compare_with_data, dense_covariance
from .recursion import SOURCES, Chains, amplitude_error, propagate
from .sampler import ANCESTRAL, Sampler

_NODES = 64  # powers per band at which many schedules are evaluated; the rest is interpolated


@dataclass(frozen=True, eq=False)
class OracleReport:
    """How far the generated distribution is from the data's.

    Both are Gaussian with the same mean; the data's DCT coefficients are independent.
    """

    power: np.ndarray  # (R, R, C): variance of each generated coefficient
    relative_w2: float  # squared Wasserstein-2 distance over the data's total power
    kl: float  # KL(generated ‖ data), nats per image
    octave_db: np.ndarray  # (octaves,): generated over data power, decibel, lowest octave first
    num_calls: int  # network calls
    sources: dict[str, float]  # empty where the operator mixes coefficients
    """Relative W2² if only one source of error acted: finite ``steps`` at one resolution; the
    ``changes`` of resolution; the ``end`` on the clean prediction, which lacks the variance that
    the last state leaves open. Errors have signs, so these need not sum to ``relative_w2``."""

    def __str__(self) -> str:
        bands = " ".join(f"{value:+.2f}" for value in self.octave_db)
        return (
            f"relative W2² {self.relative_w2:.2g}, KL {self.kl:.3g} nats, "
            f"power {bands} dB per octave, {self.num_calls} calls"
        )


def oracle_report(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    steps: Sequence[int] | None = None,
    eta: float = 1.0,
    order: int = 1,
    spectral_variance: bool = False,
    changes: str | None = None,
) -> OracleReport:
    """Propagate a sampler's output variance through a schedule (mathematics §6).

    Exact for the schedule's own operator: one variance for each DCT coefficient where states do not
    mix them (operator ``dct``, or one resolution); else `dense_oracle_report`, up to 32 pixels.

    Parameters
    ----------
    schedule : ResolutionSchedule
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.
    steps : sequence of int, optional
        Steps that the sampler visits, in any order; all of them by default. The sampler starts at
        the noisiest and ends on the clean prediction from the least noisy.
    eta, order, spectral_variance, changes
        Options of the sampler, see `theory.oracle.sampler.Sampler`; ancestral by default.

    Returns
    -------
    OracleReport

    Raises
    ------
    InputError
        If the spectrum's resolution is not the schedule's, a step is out of range or repeated, an
        option is out of range, or the operator mixes coefficients and the schedule is larger than
        32 pixels (`ResolutionSchedule.with_operator` has a twin that can be evaluated).
    """
    sampler = Sampler(eta, order, changes, spectral_variance).on(schedule)
    _check(schedule, spectrum)
    if schedule.mixes_frequencies:
        return dense_oracle_report(schedule, spectrum, steps, sampler)
    visited = visited_steps(schedule, steps)
    chains = Chains.of([schedule], [visited])
    data = spectrum.power
    flat, shell, place = _coefficients(spectrum)
    radius = squared_radius(spectrum.power)[place]
    delta = propagate(chains, flat, shell, sampler, SOURCES, radius)[:, 0]
    total = delta.sum(axis=0)
    power = np.zeros(data.size)
    power[place] = flat * (1 + total)
    power = power.reshape(data.shape).clip(min=0)
    return OracleReport(
        power=power,
        relative_w2=_relative_w2(total, flat),
        kl=_kl(power, data),
        octave_db=octave_decibels(power, data),
        num_calls=len(visited),
        sources={name: _relative_w2(part, flat) for name, part in zip(SOURCES, delta, strict=True)},
    )


def dense_oracle_report(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    steps: Sequence[int] | None = None,
    sampler: Sampler = ANCESTRAL,
) -> OracleReport:
    """`oracle_report` by dense matrices, for operators that mix DCT coefficients.

    Parameters
    ----------
    schedule : ResolutionSchedule
        Of at most 32 pixels, without attenuation.
    spectrum, steps
        As in `oracle_report`.
    sampler : Sampler

    Returns
    -------
    OracleReport
        ``relative_w2`` and ``kl`` are those of the full covariances; ``power`` holds the variances
        of the generated DCT coefficients. ``sources`` is empty: errors in different directions do
        not split.

    Raises
    ------
    InputError
        As `oracle_report`, or if the schedule is larger or attenuated.
    """
    sampler = sampler.on(schedule)
    _check(schedule, spectrum)
    if schedule.attenuation is not None:
        raise InputError("dense oracle: takes no attenuation; oracle_report is exact for it")
    if schedule.resolution > LARGEST:
        raise InputError(
            f"oracle: resolution {schedule.resolution} is above {LARGEST}, too large for operator "
            f"{schedule.operator!r}; use its twin schedule.with_operator('dct'), or a spectrum at "
            f"{LARGEST} pixels or less"
        )
    visited = visited_steps(schedule, steps)
    power = np.empty_like(spectrum.power)
    distances = []
    for component in range(spectrum.channels):
        data = spectrum.power[:, :, component]
        generated = dense_covariance(schedule, data.ravel(), visited, sampler)
        power[:, :, component] = np.diag(generated).reshape(data.shape)
        distances.append(compare_with_data(generated, data.ravel()))
    w2, kl = (float(sum(parts)) for parts in zip(*distances, strict=True))
    power = power.clip(min=0)
    return OracleReport(
        power=power,
        relative_w2=w2 / float(spectrum.power.sum()),
        kl=kl,
        octave_db=octave_decibels(power, spectrum.power),
        num_calls=len(visited),
        sources={},
    )


def oracle_errors(
    schedules: Sequence[ResolutionSchedule],
    spectrum: Spectrum,
    steps: Sequence[Sequence[int]] | None = None,
    sampler: Sampler = ANCESTRAL,
) -> np.ndarray:
    """Relative W2² of many schedules at once, as `oracle_report` gives it for one.

    All chains are propagated together. Without blur and attenuation this is done for 64 powers in
    each band between the resolutions that occur, and interpolated for the other coefficients; the
    relative difference to `oracle_report` is below 1e-3.

    Parameters
    ----------
    schedules : sequence of B ResolutionSchedule
    spectrum : Spectrum
    steps : sequence of B sequences of int, optional
        Steps that each sampler visits; all by default.
    sampler : Sampler
        The same for all.

    Returns
    -------
    (B,) float64

    Raises
    ------
    InputError
        As `oracle_report`, or if an operator mixes DCT coefficients.
    """
    if not schedules:
        return np.empty(0)
    samplers = [sampler.on(schedule) for schedule in schedules]
    for schedule in schedules:
        _check(schedule, spectrum)
        if schedule.mixes_frequencies:
            raise InputError(
                f"oracle_errors: operator {schedule.operator!r} mixes coefficients; use "
                "oracle_report, or the schedule's with_operator('dct')"
            )
    chosen = steps if steps is not None else [None] * len(schedules)
    visited = [visited_steps(s, own) for s, own in zip(schedules, chosen, strict=True)]
    chains = Chains.of(schedules, visited)
    return _errors(chains, spectrum, samplers)


def _errors(chains: Chains, spectrum: Spectrum, samplers: Sequence[Sampler]) -> np.ndarray:
    """Relative W2² of each chain, interpolated in the power where errors depend on it alone."""
    power, shell, place = _coefficients(spectrum)
    if not chains.by_power_alone:
        radius = squared_radius(spectrum.power)[place]
        delta = propagate(chains, power, shell, samplers, squared_radius=radius)[0]
        return amplitude_error(delta) ** 2 @ power / power.sum()
    edges = [0, *np.unique(chains.resolution).tolist(), spectrum.resolution]
    groups, nodes, shells = [], [], []
    for low, high in itertools.pairwise(edges):
        own = np.unique(power[(shell >= low) & (shell < high)])
        if own.size:
            few = own.size <= _NODES
            grid = own if few else np.geomspace(own[0], own[-1], _NODES)
            groups.append((low, high, len(grid), few))
            nodes.append(grid)
            shells.append(np.full(len(grid), low))
    delta = propagate(chains, np.concatenate(nodes), np.concatenate(shells), samplers)[0]
    # Errors are interpolated as amplitudes, which the distance squares.
    amplitude = amplitude_error(delta)
    total = np.zeros(len(amplitude))
    begin = 0
    for (low, high, size, few), grid in zip(groups, nodes, strict=True):
        part = amplitude[:, begin : begin + size]
        begin += size
        own, weight = np.unique(power[(shell >= low) & (shell < high)], return_counts=True)
        if not few:
            part = CubicSpline(np.log(grid), part, axis=1)(np.log(own))
        total += (part**2) @ (own * weight)
    return total / power.sum()


def _coefficients(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positive powers, their shells ``max(k1, k2)`` and places, sorted by shell: (K,) each."""
    power = spectrum.power.ravel()
    shell = np.repeat(shell_index(spectrum.resolution).ravel(), spectrum.channels)
    kept = np.flatnonzero(power > 0)
    kept = kept[np.argsort(shell[kept], kind="stable")]
    return power[kept], shell[kept], kept


def _relative_w2(delta: np.ndarray, power: np.ndarray) -> float:
    return float((power * amplitude_error(delta) ** 2).sum() / power.sum())


def _check(schedule: ResolutionSchedule, spectrum: Spectrum) -> None:
    """Raise `InputError` unless a spectrum has the schedule's resolution and some power."""
    schedule.check_spectrum(spectrum)
    if not (spectrum.power > 0).any():
        raise InputError("spectrum: all power is zero; there is nothing to generate")


def visited_steps(schedule: ResolutionSchedule, steps: Sequence[int] | None) -> list[int]:
    """Sort steps from noisiest to least noisy; all for None. `InputError` if they are not valid."""
    if steps is None:
        return list(range(schedule.num_steps - 1, -1, -1))
    visited = sorted((int(t) for t in steps), reverse=True)
    if not visited or visited[0] >= schedule.num_steps or visited[-1] < 0:
        raise InputError(f"steps: needs at least one, between 0 and {schedule.num_steps - 1}")
    if len(set(visited)) != len(visited):
        raise InputError("steps: a step must not be repeated")
    return visited


def octave_decibels(power: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Ratio of two power spectra (R, R, C) in each octave, in decibel, lowest octave first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(octave_power(power) / octave_power(data))


def _kl(power: np.ndarray, data: np.ndarray) -> float:
    """KL of independent Gaussians with equal means; infinite where only one has no variance."""
    both = (power > 0) & (data > 0)
    if ((power > 0) != (data > 0)).any():
        return float("inf")
    ratio = power[both] / data[both]
    return float(0.5 * (ratio - 1 - np.log(ratio)).sum())
