"""Exact error of a schedule and sampler on Gaussian data, with no network and no sampling.

For Gaussian data the best denoiser is linear (Wiener), so every reverse step is linear and the
variance of what a sampler generates can be propagated exactly: one scalar per DCT coefficient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .costs import cost_table, is_halving
from .errors import InputError
from .noise import NoiseSchedule
from .posterior import check_eta, reverse_step
from .schedules import ResolutionSchedule
from .spectrum import Spectrum, octave_power


@dataclass(frozen=True)
class OracleReport:
    """How far the generated distribution is from the data's.

    Both are Gaussian with the same mean and independent DCT coefficients.
    """

    power: np.ndarray  # (R, R, C): variance of each generated coefficient
    relative_w2: float  # squared Wasserstein-2 distance over the data's total power
    kl: float  # KL(generated ‖ data), nats per image
    octave_db: np.ndarray  # (octaves,): generated over data power, decibel, lowest octave first
    num_calls: int  # network calls

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
    start: str = "marginal",
) -> OracleReport:
    """Propagate a sampler's output variance through a schedule (mathematics §6).

    Exact for the operator ``dct``. Schedules of other operators are evaluated with their noise and
    resolutions, their bands taken as ideal.

    Parameters
    ----------
    schedule : ResolutionSchedule
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.
    steps : sequence of int, optional
        Steps that the sampler visits, in any order; all of them by default. The sampler starts at
        the noisiest and ends on the clean prediction from the least noisy.
    eta : float
        From 0 (deterministic) to 1 (ancestral).
    start : {"marginal", "white"}
        Variance at the first step: the forward marginal's, or white noise ``σ²``.

    Raises
    ------
    InputError
        If the spectrum's resolution is not the schedule's, a step is out of range or repeated, or
        ``eta`` is not in [0, 1].
    """
    full = schedule.resolution
    if spectrum.resolution != full:
        raise InputError(
            f"spectrum: has resolution {spectrum.resolution}, the schedule has {full}; "
            "measure the spectrum at the schedule's resolution"
        )
    visited = visited_steps(schedule, steps)
    check_eta(eta)
    if start not in ("marginal", "white"):
        raise InputError(f"start {start!r}: must be 'marginal' or 'white'")

    data = spectrum.power
    t = visited[0]
    r_t, a_t, sigma_t = _state(schedule, t)
    band = data[:r_t, :r_t]
    signal = (a_t * r_t / full) ** 2 * band if start == "marginal" else 0.0
    variance = np.broadcast_to(sigma_t**2 + signal, band.shape)
    for s in visited[1:]:
        r_s, a_s, sigma_s = _state(schedule, s)
        gain = r_t / r_s  # amplitude of a DCT coefficient after downsampling
        wiener = _wiener(data, r_t, r_s, full, a_t, sigma_t)
        k, noise = reverse_step(schedule, t, s, gain, eta)
        new = np.full((r_s, r_s, data.shape[2]), sigma_s**2)  # outside the old band: noise alone
        factor = a_s * wiener + k * (1 - a_t * gain * wiener)
        new[:r_t, :r_t] = factor**2 * variance + noise
        t, r_t, a_t, sigma_t, variance = s, r_s, a_s, sigma_s, new
    power = np.zeros_like(data)
    power[:r_t, :r_t] = _wiener(data, r_t, full, full, a_t, sigma_t) ** 2 * variance
    return OracleReport(
        power=power,
        relative_w2=float(((np.sqrt(data) - np.sqrt(power)) ** 2).sum() / data.sum()),
        kl=_kl(power, data),
        octave_db=octave_decibels(power, data),
        num_calls=len(visited),
    )


def visited_steps(schedule: ResolutionSchedule, steps: Sequence[int] | None) -> list[int]:
    """Return ``steps`` from the noisiest to the least noisy, checked; all of them for None."""
    if steps is None:
        return list(range(schedule.num_steps - 1, -1, -1))
    visited = sorted((int(t) for t in steps), reverse=True)
    if not visited or visited[0] >= schedule.num_steps or visited[-1] < 0:
        raise InputError(f"steps: must be between 0 and {schedule.num_steps - 1}, at least one")
    if len(set(visited)) != len(visited):
        raise InputError("steps: a step must not be repeated")
    return visited


def octave_decibels(power: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Ratio of two spectra (R, R, C) in decibel per octave, lowest octave first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(octave_power(power) / octave_power(data))


def with_predictions(schedule: ResolutionSchedule, spectrum: Spectrum) -> ResolutionSchedule:
    """Copy of a schedule with its predicted cost and error filled in.

    Cost: the mean call of the full ancestral chain over a full-resolution call, counted on the
    paper's network where the levels are halvings, else as the number of pixels predicted. Errors:
    relative W2² of the full ancestral chain, and of the same base noise at full resolution.
    """
    levels = schedule.levels
    if all(is_halving(levels[0], level) for level in levels):
        model, table = "FLOP of the paper's network", cost_table(levels)
    else:
        model, table = "pixels", {(r, q): float(q**2) for r in levels for q in levels}
    full = full_resolution_twin(schedule)
    return replace(
        schedule,
        predicted={
            "chain_cost_ratio": schedule.chain_cost(table) / table[levels[0], levels[0]],
            "cost_model": model,
            "oracle_error": oracle_report(schedule, spectrum).relative_w2,
            "oracle_error_full_resolution": oracle_report(full, spectrum).relative_w2,
        },
    )


def full_resolution_twin(schedule: ResolutionSchedule) -> ResolutionSchedule:
    """The full-resolution schedule over the same base noise."""
    snr = schedule.base_snr
    base = NoiseSchedule(snr / (1 + snr), str(schedule.derivation.get("base", "custom")))
    return ResolutionSchedule.full_resolution(schedule.resolution, base, schedule.operator)


def _state(schedule: ResolutionSchedule, t: int) -> tuple[int, float, float]:
    return int(schedule.resolutions[t]), float(schedule.alpha[t]), float(schedule.sigma[t])


def _wiener(
    data: np.ndarray, r_t: int, r_s: int, full: int, a_t: float, sigma_t: float
) -> np.ndarray:
    """Coefficients of E[M x_0 | x_t]: the clean image at ``r_s`` from the state at ``r_t``."""
    amplitude = a_t * r_t / full
    band = data[:r_t, :r_t]
    return amplitude * (r_s / full) * band / (amplitude**2 * band + sigma_t**2)


def _kl(power: np.ndarray, data: np.ndarray) -> float:
    """KL of independent Gaussians with equal means; infinite where only one has no variance."""
    both = (power > 0) & (data > 0)
    if ((power > 0) != (data > 0)).any():
        return float("inf")
    ratio = power[both] / data[both]
    return float(0.5 * (ratio - 1 - np.log(ratio)).sum())
