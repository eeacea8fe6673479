"""The oracle's recursion: the variance of a sampler's state from step to step (mathematics §6).

It is written for the relative error ``δ`` of a coefficient's variance, ``V = V* (1 + δ)`` with
``V*`` the forward marginal's. A reverse step with ``V_s = f² V_t + n`` maps

    δ_s = g δ_t + (g + n/V*_s − 1),    g = f² V*_t / V*_s

which is linear, so the error splits exactly by the steps that cause it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..schedule.attenuation import Attenuation
from ..schedule.resolution import ResolutionSchedule
from ..schedule.reverse_step import reverse_gains
from .sampler import Sampler

SOURCES = ("steps", "changes", "end")
"""Sources of error of a sampler's output, see `theory.OracleReport`."""


@dataclass(frozen=True)
class Chains:
    """States that B samplers visit, (n, B) each; shorter chains repeat their last state."""

    resolution: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    snr: np.ndarray  # of the full-resolution chain
    full: int  # full resolution, pixels
    blur: np.ndarray | None = None  # variance in squared full-resolution pixels; None: no blur
    attenuations: tuple[Attenuation | None, ...] = ()  # of each chain; empty: no attenuation

    @cached_property
    def logsnr(self) -> np.ndarray:
        """Log of the full resolution's signal-to-noise ratio, (n, B)."""
        return np.log(self.snr)

    @property
    def by_power_alone(self) -> bool:
        """Whether coefficients of equal power in the same states have equal errors."""
        return self.blur is None and not self.attenuations

    @classmethod
    def of(
        cls, schedules: Sequence[ResolutionSchedule], visited: Sequence[Sequence[int]]
    ) -> Chains:
        """Take the visited steps of each schedule."""
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
            look_up("base_snr"),
            schedules[0].resolution,
            look_up("blur") if any(s.blurs for s in distinct) else None,
            tuple(s.attenuation for s in schedules)
            if any(s.attenuation is not None for s in distinct)
            else (),
        )


class _Transfer:
    """Gain from each clean coefficient to its place in the states of B chains."""

    def __init__(self, chains: Chains, squared_radius: np.ndarray | None):
        self._chains = chains
        self._radius = np.empty(0) if squared_radius is None else squared_radius
        if squared_radius is None and not chains.by_power_alone:
            raise ValueError("blur and attenuation need the coefficients' radii")
        distinct = {id(a): a for a in chains.attenuations if a is not None}
        of_chain = np.array([id(a) for a in chains.attenuations])
        self._attenuations = [
            (a, np.flatnonzero(of_chain == key), a.envelope(self._radius))
            for key, a in distinct.items()
        ]

    def __call__(self, i: int, n: int) -> np.ndarray:
        """Gains of the first ``n`` coefficients in state ``i``, without ``a``: (B, 1) or (B, n)."""
        chains = self._chains
        factor: np.ndarray = chains.resolution[i][:, None] / chains.full
        if chains.blur is not None:
            decay = (np.pi / chains.full) ** 2 / 2 * self._radius[:n]
            factor = factor * np.exp(-chains.blur[i][:, None] * decay)
        if self._attenuations:
            gain = np.ones((chains.resolution.shape[1], n))
            for attenuation, rows, envelope in self._attenuations:
                gain[rows] = attenuation.gain(chains.snr[i][rows, None], envelope[:n])
            factor = factor * gain
        return factor


def propagate(
    chains: Chains,
    power: np.ndarray,
    shell: np.ndarray,
    samplers: Sampler | Sequence[Sampler],
    sources: Sequence[str] = (),
    squared_radius: np.ndarray | None = None,
) -> np.ndarray:
    """Relative error ``δ`` of the variances that B samplers generate (mathematics §6).

    Parameters
    ----------
    chains : Chains
    power : (K,) array
        Variances of the data's coefficients, positive.
    shell : (K,) array
        ``max(k1, k2)`` of each coefficient, rising.
    samplers : Sampler or sequence of B Sampler
        They may differ in ``changes`` only.
    sources : sequence of str
        Those of `SOURCES` by which the error is split; by default it is not.
    squared_radius : (K,) array, optional
        ``k1² + k2²``; needed with blur or attenuation.

    Returns
    -------
    (len(sources) or 1, B, K) float64
        The entries of all sources add up to ``δ``.
    """
    each = [samplers] if isinstance(samplers, Sampler) else list(samplers)
    eta, order, spectral_variance = each[0].eta, each[0].order, each[0].spectral_variance
    count = len(sources) or 1
    index = {name: i for i, name in enumerate(sources)} if sources else dict.fromkeys(SOURCES, 0)
    steps, batch = chains.resolution.shape
    active = np.searchsorted(shell, chains.resolution.max(axis=1))  # coefficients of any chain
    delta = np.zeros((count, batch, len(power)))
    # Order 2: the previous prediction, in units of the full-resolution x0, and its log-snr.
    history = np.full((batch, len(power)), np.nan)
    history_logsnr = chains.logsnr[0]
    amplitude = np.empty(0)  # signed, of the one random number behind each coefficient (order 2)
    transfers = _Transfer(chains, squared_radius)
    kinds = np.array([sampler.changes or "network" for sampler in each])[:, None]
    free, corrects = kinds == "free", bool((kinds == "corrected").any())
    uncorrected = np.zeros((batch, 0), bool)  # in a band that a corrected change has just opened

    def state(i: int, transfer: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
        r, sigma = chains.resolution[i][:, None], chains.sigma[i][:, None]
        scale = chains.alpha[i][:, None] * transfer
        return r, scale, sigma, scale**2 * power[:n] + sigma**2

    n = active[0]
    transfer = transfers(0, n)
    r, scale, sigma, marginal = state(0, transfer, n)
    for i in range(1, steps):
        m = active[i]
        transfer_s = transfers(i, m)
        r_s, scale_s, sigma_s, marginal_s = state(i, transfer_s, m)
        changed = r_s != r
        # Singular values of the degradation between the states; zero where the noisier has none.
        before, after = np.broadcast_arrays(transfer, transfer_s[:, : transfer.shape[1]])
        lift = np.divide(before, after, out=np.zeros(before.shape), where=before > 0)
        gain, noise = reverse_gains(
            (chains.alpha[i - 1][:, None], sigma), (chains.alpha[i][:, None], sigma_s), lift, eta
        )
        # x̂0 of the next state is scale_s times the clean coefficient's estimate, `wiener` x_t.
        wiener = scale * power[:n] / marginal
        inside = shell[:n] < r
        pull = -scale  # of the state on its prediction
        late = np.zeros((batch, n), bool)
        if corrects:
            moves = chains.snr[i] != chains.snr[i - 1]  # shorter chains have ended
            late[:, : uncorrected.shape[1]] = uncorrected & ~changed & moves[:, None]
            pull = np.where(late, -scale / 2, pull)  # half the prediction was added to the state
        if order == 2:
            if i == 1:
                amplitude = np.sqrt(marginal * (1 + delta[:, :, :n].sum(axis=0)))
            estimate = wiener * amplitude
            ratio = half_step_ratio(history_logsnr, chains.logsnr[i - 1], chains.logsnr[i])
            before = history[:, :n]
            slope = np.where(np.isfinite(before), estimate - before, 0.0)
            extrapolated = estimate + ratio[:, None] * slope
            new = scale_s[:, :n] * extrapolated + gain * (amplitude - scale * extrapolated)
            if corrects:
                new += gain * (pull + scale) * estimate
            with np.errstate(divide="ignore", invalid="ignore"):
                growth = (new / amplitude) ** 2 * (marginal / marginal_s[:, :n])
            local = growth - 1
        else:
            factor = scale_s[:, :n] * wiener + gain * (1 + pull * wiener)
            growth = factor**2 * (marginal / marginal_s[:, :n])
            if spectral_variance:
                local = np.maximum(growth - 1, 0.0)  # noise fills up to the marginal
            else:
                local = growth - 1 + noise / marginal_s[:, :n]
        for d in delta[:, :, :n]:
            d *= np.where(inside, growth, 0.0)
        if count == 1:
            delta[0, :, :n] += np.where(inside, local, 0.0)
        else:
            of_change = changed | late
            delta[index["steps"], :, :n] += np.where(inside & ~of_change, local, 0.0)
            delta[index["changes"], :, :n] += np.where(inside & of_change, local, 0.0)
        uncorrected = np.zeros((batch, m if corrects else 0), bool)
        if changed.any():
            opened = shell[:m] < r_s
            opened[:, :n] &= ~inside
            fresh = np.zeros_like(marginal_s) if spectral_variance else sigma_s**2 / marginal_s - 1
            delta[index["changes"], :, :m] += np.where(opened, fresh, 0.0)
            if corrects:
                uncorrected = opened & (kinds == "corrected") & changed
        if order == 2:
            # Of the two sides of a change with its own call the second's prediction is kept.
            passed = changed & ~free
            history[:, :n] = np.where(inside & ~passed, estimate, history[:, :n])
            history_logsnr = np.where(passed[:, 0], history_logsnr, chains.logsnr[i - 1])
            amplitude = np.concatenate(
                [np.where(inside, new, sigma_s), np.broadcast_to(sigma_s, (batch, m - n))], axis=1
            )
        n, transfer = m, transfer_s
        r, scale, sigma, marginal = r_s, scale_s, sigma_s, marginal_s

    kept = np.zeros((batch, len(power)))  # share of the data's variance in the clean prediction
    kept[:, :n] = np.where(shell[:n] < r, scale**2 * power[:n] / marginal, 0.0)
    delta *= kept
    if not spectral_variance:
        delta[index["end"]] += kept - 1
    return delta


def half_step_ratio(before: np.ndarray, logsnr_t: np.ndarray, logsnr_s: np.ndarray) -> np.ndarray:
    """Weight of ``x̂0(t) − x̂0(before)`` in a second-order step from ``t`` to ``s`` (mathematics §2).

    Half the ratio of the step's length in log-snr to that of the step before it; 0 where that one
    has no length, as at the start of a chain and beyond its end.
    """
    length, earlier = logsnr_s - logsnr_t, logsnr_t - before
    return np.divide(length, 2 * earlier, out=np.zeros_like(length), where=earlier != 0)


def amplitude_error(delta: np.ndarray) -> np.ndarray:
    """``√(V/V*) − 1`` from ``δ = V/V* − 1``: squared, times the power, a squared W2."""
    return np.sqrt(np.maximum(1 + delta, 0)) - 1
