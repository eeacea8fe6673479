"""Exact error of a schedule and sampler on Gaussian data, with no network and no sampling.

For Gaussian data the best denoiser is linear (Wiener), so every reverse step is linear and the
variance of what a sampler generates can be propagated exactly: one scalar per DCT coefficient.

The recursion runs on the relative error ``δ`` of a coefficient's variance, ``V = V* (1 + δ)`` with
``V*`` the forward marginal's. A reverse step with ``V_s = f² V_t + n`` maps

    δ_s = g δ_t + (g + n/V*_s − 1),    g = f² V*_t / V*_s

which is linear, so the error splits exactly by the steps that caused it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from .costs import chain_costs
from .errors import InputError
from .noise import NoiseSchedule
from .posterior import check_eta, reverse_gains
from .schedules import ResolutionSchedule
from .spectrum import Spectrum, octave_power

SOURCES = ("start", "steps", "changes", "end")
"""What can make a sampler's output differ from the data: see `OracleReport.sources`."""

_NODES = 64  # powers per band at which many schedules are evaluated; the rest is interpolated


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
    sources: dict[str, float]
    """Relative W2² if only one source of error acted: the variance that the chain ``start``s with;
    finite ``steps`` at one resolution; the ``changes`` of resolution; the ``end`` on the clean
    prediction, which lacks the variance that the last state leaves open. Signed errors of several
    sources may add up or cancel, so these need not sum to ``relative_w2``."""

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
    order: int = 1,
    spectral_variance: bool = False,
) -> OracleReport:
    """Propagate a sampler's output variance through a schedule (mathematics §6).

    Exact for the operator ``dct``. Schedules of other operators are evaluated with their noise and
    resolutions, their bands taken as ideal; `theory.oracle_dense` is exact for them at small R.

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
    order : {1, 2}
        2: the deterministic second-order multistep solver for predictions of x0, DPM-Solver++(2M)
        (Lu et al. 2022), in the log-snr of the full resolution. The previous prediction is lifted
        across a change, whose two sides count as one place: the prediction at its first side is not
        kept. A coefficient without a previous prediction takes a first-order step. ``eta`` must
        be 0.
    spectral_variance : bool
        Add, to the noise of a step, the variance that the spectrum leaves to the clean image given
        the state, up to what keeps the marginal; directions that a change opens get signal and
        noise, and the last step draws from that variance too instead of ending on the mean. With
        ``eta=1`` every step is then exact, however long.

    Raises
    ------
    InputError
        If the spectrum's resolution is not the schedule's, a step is out of range or repeated, or
        an option is out of range.
    """
    _check(schedule, spectrum, eta, start, order, spectral_variance)
    visited = visited_steps(schedule, steps)
    chains = Chains.of([schedule], [visited])
    data = spectrum.power
    flat, shell = _coefficients(spectrum)
    delta = propagate(chains, flat, shell, eta, start, order, spectral_variance, SOURCES)[:, 0]

    total = delta.sum(axis=0)
    power = np.zeros(data.size)
    kept = np.flatnonzero(data.ravel() > 0)
    power[kept[np.argsort(_shell_index(data).ravel()[kept], kind="stable")]] = flat * (1 + total)
    power = power.reshape(data.shape).clip(min=0)
    return OracleReport(
        power=power,
        relative_w2=_relative_w2(total, flat),
        kl=_kl(power, data),
        octave_db=octave_decibels(power, data),
        num_calls=len(visited),
        sources={name: _relative_w2(part, flat) for name, part in zip(SOURCES, delta, strict=True)},
    )


def oracle_errors(
    schedules: Sequence[ResolutionSchedule],
    spectrum: Spectrum,
    steps: Sequence[Sequence[int]] | None = None,
    eta: float = 1.0,
    start: str = "marginal",
    order: int = 1,
    spectral_variance: bool = False,
) -> np.ndarray:
    """Relative W2² of many schedules at once, as `oracle_report` gives it for one.

    All chains are propagated together, at 64 powers in each band between the resolutions that
    occur; the other coefficients are interpolated (relative difference to `oracle_report` below
    1e-3).

    Parameters
    ----------
    schedules : sequence of B ResolutionSchedule
    spectrum : Spectrum
    steps : sequence of B sequences of int, optional
        Steps that each sampler visits; all by default.
    eta, start, order, spectral_variance
        As in `oracle_report`.

    Returns
    -------
    (B,) float64
    """
    if not schedules:
        return np.empty(0)
    for schedule in schedules:
        _check(schedule, spectrum, eta, start, order, spectral_variance)
    chosen = steps if steps is not None else [None] * len(schedules)
    visited = [visited_steps(s, own) for s, own in zip(schedules, chosen, strict=True)]
    return _errors(Chains.of(schedules, visited), spectrum, eta, start, order, spectral_variance)


@dataclass(frozen=True)
class Chains:
    """States that B samplers visit, (n, B) each; shorter chains repeat their last state."""

    resolution: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    logsnr: np.ndarray  # of the full resolution, continuous across matched changes
    full: int

    @classmethod
    def of(
        cls, schedules: Sequence[ResolutionSchedule], visited: Sequence[Sequence[int]]
    ) -> Chains:
        """Look the visited steps up in their schedules."""
        longest = max(len(steps) for steps in visited)
        padded = np.array([[*steps, *[steps[-1]] * (longest - len(steps))] for steps in visited]).T
        unique: dict[int, int] = {}  # schedules occur many times with other steps
        row = np.array([unique.setdefault(id(s), len(unique)) for s in schedules])
        distinct = [schedules[int(np.argmax(row == i))] for i in range(len(unique))]

        def look_up(name: str) -> np.ndarray:
            if len({len(s) for s in distinct}) == 1:
                return np.stack([getattr(s, name) for s in distinct])[row, padded]
            columns = [getattr(s, name)[p] for s, p in zip(schedules, padded.T, strict=True)]
            return np.stack(columns, axis=1)

        return cls(
            look_up("resolutions"),
            look_up("alpha"),
            look_up("sigma"),
            np.log(look_up("base_snr")),
            schedules[0].resolution,
        )


def propagate(
    chains: Chains,
    power: np.ndarray,
    shell: np.ndarray,
    eta: float,
    start: str,
    order: int,
    spectral_variance: bool,
    sources: Sequence[str] = (),
) -> np.ndarray:
    """Relative error ``δ`` of the generated variances, split by ``sources`` if any are named.

    ``power`` (K,) is positive and sorted by ``shell`` (K,), the larger index of a coefficient.
    Returns (len(sources) or 1, B, K).
    """
    count = len(sources) or 1
    index = {name: i for i, name in enumerate(sources)} if sources else dict.fromkeys(SOURCES, 0)
    steps, batch = chains.resolution.shape
    active = np.searchsorted(shell, chains.resolution.max(axis=1))  # coefficients of any chain
    delta = np.zeros((count, batch, len(power)))
    # Order 2: the previous prediction, as a multiple of the full-size x0, and its log-snr.
    history = np.full((batch, len(power)), np.nan)
    history_logsnr = chains.logsnr[0]
    amplitude = np.empty(0)  # signed, of the one random number behind each coefficient (order 2)

    def state(i: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        r, sigma = chains.resolution[i][:, None], chains.sigma[i][:, None]
        scale = chains.alpha[i][:, None] * r / chains.full
        return r, scale, sigma, scale**2 * power[:n] + sigma**2

    n = active[0]
    r, scale, sigma, marginal = state(0, n)
    if start == "white":
        delta[index["start"], :, :n] = sigma**2 / marginal - 1
    for i in range(1, steps):
        m = active[i]
        r_s, scale_s, sigma_s, marginal_s = state(i, m)
        lift = r / r_s
        gain, noise = reverse_gains(
            (chains.alpha[i - 1][:, None], sigma), (chains.alpha[i][:, None], sigma_s), lift, eta
        )
        # x̂0 of the next state is scale_s times the clean coefficient's estimate, `wiener` x_t.
        wiener = scale * power[:n] / marginal
        inside = shell[:n] < r
        if order == 2:
            if i == 1:
                amplitude = np.sqrt(marginal * (1 + delta[:, :, :n].sum(axis=0)))
            estimate = wiener * amplitude
            ratio = half_step_ratio(history_logsnr, chains.logsnr[i - 1], chains.logsnr[i])
            before = history[:, :n]
            slope = np.where(np.isfinite(before), estimate - before, 0.0)
            extrapolated = estimate + ratio[:, None] * slope
            new = scale_s * extrapolated + gain * (amplitude - scale * extrapolated)
            with np.errstate(divide="ignore", invalid="ignore"):
                growth = (new / amplitude) ** 2 * (marginal / marginal_s[:, :n])
            local = growth - 1
        else:
            factor = scale_s * wiener + gain * (1 - scale * wiener)
            growth = factor**2 * (marginal / marginal_s[:, :n])
            if spectral_variance:
                local = np.maximum(growth - 1, 0.0)  # noise fills up to the marginal
            else:
                local = growth - 1 + noise / marginal_s[:, :n]
        changed = r_s != r
        for d in delta[:, :, :n]:
            d *= np.where(inside, growth, 0.0)
        if count == 1:
            delta[0, :, :n] += np.where(inside, local, 0.0)
        else:
            delta[index["steps"], :, :n] += np.where(inside & ~changed, local, 0.0)
            delta[index["changes"], :, :n] += np.where(inside & changed, local, 0.0)
        if changed.any():
            opened = shell[:m] < r_s
            opened[:, :n] &= ~inside
            fresh = np.zeros_like(marginal_s) if spectral_variance else sigma_s**2 / marginal_s - 1
            delta[index["changes"], :, :m] += np.where(opened, fresh, 0.0)
        if order == 2:
            keep = inside & ~changed  # both sides of a change are one place
            history[:, :n] = np.where(keep, estimate, history[:, :n])
            history_logsnr = np.where(changed[:, 0], history_logsnr, chains.logsnr[i - 1])
            amplitude = np.concatenate(
                [np.where(inside, new, sigma_s), np.broadcast_to(sigma_s, (batch, m - n))], axis=1
            )
        n, r, scale, sigma, marginal = m, r_s, scale_s, sigma_s, marginal_s

    kept = np.zeros((batch, len(power)))  # share of the data's variance in the clean prediction
    kept[:, :n] = np.where(shell[:n] < r, scale**2 * power[:n] / marginal, 0.0)
    delta *= kept
    if not spectral_variance:
        delta[index["end"]] += kept - 1
    return delta


def half_step_ratio(before: np.ndarray, logsnr_t: np.ndarray, logsnr_s: np.ndarray) -> np.ndarray:
    """Weight of ``x̂0(t) − x̂0(before)`` in a second-order step from ``t`` to ``s``.

    Half the ratio of the step's length in log-snr to that of the one before; 0 at a chain's start
    and past its end.
    """
    length, earlier = logsnr_s - logsnr_t, logsnr_t - before
    return np.divide(length, 2 * earlier, out=np.zeros_like(length), where=earlier != 0)


def _errors(
    chains: Chains,
    spectrum: Spectrum,
    eta: float,
    start: str,
    order: int,
    spectral_variance: bool,
) -> np.ndarray:
    """Relative W2² of each chain, from a few powers in each band between resolutions."""
    power, shell = _coefficients(spectrum)
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
    delta = propagate(
        chains, np.concatenate(nodes), np.concatenate(shells), eta, start, order, spectral_variance
    )[0]
    # Errors are interpolated as amplitudes, which the distance squares.
    amplitude = np.sqrt(np.maximum(1 + delta, 0)) - 1
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


def _coefficients(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Positive powers and their shells ``max(k1, k2)``, sorted by shell: (K,) and (K,)."""
    power, shell = spectrum.power.ravel(), _shell_index(spectrum.power).ravel()
    kept = np.flatnonzero(power > 0)
    kept = kept[np.argsort(shell[kept], kind="stable")]
    return power[kept], shell[kept]


def _shell_index(power: np.ndarray) -> np.ndarray:
    index = np.arange(len(power))
    return np.broadcast_to(np.maximum(index[:, None], index)[:, :, None], power.shape)


def _relative_w2(delta: np.ndarray, power: np.ndarray) -> float:
    error = np.sqrt(np.maximum(1 + delta, 0)) - 1
    return float((power * error**2).sum() / power.sum())


def _check(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    eta: float,
    start: str,
    order: int,
    spectral_variance: bool,
) -> None:
    if spectrum.resolution != schedule.resolution:
        raise InputError(
            f"spectrum: has resolution {spectrum.resolution}, the schedule has "
            f"{schedule.resolution}; measure the spectrum at the schedule's resolution"
        )
    check_sampler(eta, order, spectral_variance)
    if start not in ("marginal", "white"):
        raise InputError(f"start {start!r}: must be 'marginal' or 'white'")
    if not (spectrum.power > 0).any():
        raise InputError("spectrum: all power is zero; there is nothing to generate")


def check_sampler(eta: float, order: int, spectral_variance: bool) -> None:
    """Raise `InputError` unless the options describe a sampler."""
    check_eta(eta)
    if order not in (1, 2):
        raise InputError(f"order {order}: must be 1 or 2")
    if order == 2 and (eta != 0 or spectral_variance):
        raise InputError("order 2: is deterministic; use eta=0 and no spectral variance")


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

    Cost: the mean call of the full ancestral chain over a full-resolution call, counted as
    `theory.costs.chain_costs` does. Errors: relative W2² of the full ancestral chain, and of the
    same base noise at full resolution.
    """
    model, table = chain_costs(schedule.levels)
    full = full_resolution_twin(schedule)
    return replace(
        schedule,
        predicted={
            **schedule.predicted,
            "chain_cost_ratio": schedule.chain_cost(table),
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


def _kl(power: np.ndarray, data: np.ndarray) -> float:
    """KL of independent Gaussians with equal means; infinite where only one has no variance."""
    both = (power > 0) & (data > 0)
    if ((power > 0) != (data > 0)).any():
        return float("inf")
    ratio = power[both] / data[both]
    return float(0.5 * (ratio - 1 - np.log(ratio)).sum())
