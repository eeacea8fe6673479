"""Base noise schedules: the signal and noise amplitudes of the full-resolution chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..support.errors import InputError

if TYPE_CHECKING:
    from ..spectrum.spectrum import Spectrum

NOISE_MODES = ("matched", "paper")
"""How a change of resolution treats the noise, see `ResolutionSchedule`."""
_EIGHT_BIT = (2 / 255) ** 2 / 12  # variance of rounding images in [-1, 1] to 8 bits


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Variance-preserving noise schedule of a chain that stays at full resolution.

    Parameters
    ----------
    alpha_bar : (T,) float64
        Squared signal amplitude ``a_t²`` per step, in (0, 1), strictly decreasing; ``t = 0`` is the
        least noisy step. The noise amplitude is ``σ_t² = 1 − a_t²``.
    name : str
        Where the schedule comes from; recorded in the files derived from it.

    Raises
    ------
    InputError
        If ``alpha_bar`` is empty, leaves (0, 1) or does not decrease.
    """

    alpha_bar: np.ndarray
    name: str = "custom"

    def __post_init__(self) -> None:
        alpha_bar = np.array(self.alpha_bar, dtype=np.float64)
        if alpha_bar.ndim != 1 or alpha_bar.size == 0:
            raise InputError(f"alpha_bar: needs shape (T,) with T >= 1, got {alpha_bar.shape}")
        outside = ~((alpha_bar > 0) & (alpha_bar < 1))
        if outside.any():
            t = int(np.argmax(outside))
            raise InputError(f"alpha_bar[{t}] = {alpha_bar[t]}: must lie strictly between 0 and 1")
        rising = np.diff(alpha_bar) >= 0
        if rising.any():
            t = int(np.argmax(rising)) + 1
            raise InputError(f"alpha_bar[{t}]: must be smaller than alpha_bar[{t - 1}]")
        alpha_bar.setflags(write=False)
        object.__setattr__(self, "alpha_bar", alpha_bar)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoiseSchedule) and np.array_equal(self.alpha_bar, other.alpha_bar)

    def __hash__(self) -> int:
        return hash(self.alpha_bar.tobytes())

    @classmethod
    def linear(cls, num_steps: int = 1000) -> NoiseSchedule:
        """Betas linear from 1e-4 to 0.02, scaled by 1000/T (Ho et al. 2020, section 4).

        The scaled betas stay below 1 for ``num_steps > 20``; fewer raise `InputError`.
        """
        scale = 1000 / _at_least_one(num_steps)
        betas = np.linspace(1e-4 * scale, 0.02 * scale, num_steps)
        if betas.max() >= 1:
            raise InputError(f"linear schedule: needs more than 20 steps, got {num_steps}")
        return cls(np.cumprod(1 - betas), "linear")

    @classmethod
    def cosine(cls, num_steps: int = 1000) -> NoiseSchedule:
        """Squared-cosine schedule with betas of at most 0.999 (Nichol & Dhariwal 2021, eq. 17)."""
        edges = np.arange(_at_least_one(num_steps) + 1) / num_steps
        curve = np.cos((edges + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - curve[1:] / curve[:-1], 0.999)
        return cls(np.cumprod(1 - betas), "cosine")

    @classmethod
    def from_spectrum(cls, spectrum: Spectrum, num_steps: int = 1000) -> NoiseSchedule:
        """Steps even in log-snr over the range in which the data can be told from noise.

        At the smallest snr the strongest coefficient has the power of the noise, so that
        water-filling at tolerance 1 attenuates all coefficients to zero and a chain begins with
        exactly white noise. At the largest snr the noise has the variance of rounding to 8 bits,
        ``(2/255)²/12``.

        Parameters
        ----------
        spectrum : Spectrum
            Of the data, in [-1, 1], at the chain's full resolution.
        num_steps : int

        Raises
        ------
        InputError
            If the spectrum has no power above that rounding.
        """
        largest = float(spectrum.power.max())
        if not largest > _EIGHT_BIT:
            raise InputError("spectrum: has no power above the rounding of 8-bit images")
        first, last = np.log(1 / _EIGHT_BIT - 1), -np.log(largest)
        logsnr = np.linspace(first, last, _at_least_one(num_steps))
        return cls(1 / (1 + np.exp(-logsnr)), "spectrum")

    @classmethod
    def named(
        cls, name: str, num_steps: int = 1000, spectrum: Spectrum | None = None
    ) -> NoiseSchedule:
        """Return the schedule of a name: "linear", "cosine", or "spectrum" if one is given.

        Raises `InputError` for another name or number of steps.
        """
        if name == "spectrum" and spectrum is not None:
            return cls.from_spectrum(spectrum, num_steps)
        if name not in _NAMED:
            known = ", ".join([*_NAMED, "spectrum"])
            raise InputError(
                f"noise schedule {name!r}: choose from {known} (needs the data's spectrum)"
            )
        return _NAMED[name](num_steps)

    def below(self, largest_snr: float) -> NoiseSchedule:
        """Return the steps of a signal-to-noise ratio of at most ``largest_snr``.

        A chain then ends at that noise; its last prediction is the image.

        Raises
        ------
        InputError
            If that leaves no step.
        """
        kept = self.snr <= largest_snr
        if not kept.any():
            raise InputError(
                f"largest_snr {largest_snr:g}: is below the schedule's range of "
                f"{self.snr[-1]:.3g} to {self.snr[0]:.3g}"
            )
        return NoiseSchedule(self.alpha_bar[kept], self.name)

    def __len__(self) -> int:
        return len(self.alpha_bar)

    @property
    def alpha(self) -> np.ndarray:
        """Signal amplitude ``a_t``, (T,)."""
        return np.sqrt(self.alpha_bar)

    @property
    def sigma(self) -> np.ndarray:
        """Noise amplitude ``σ_t``, (T,)."""
        return np.sqrt(1 - self.alpha_bar)

    @property
    def snr(self) -> np.ndarray:
        """Per-pixel signal-to-noise ratio of the amplitudes, ``a_t²/σ_t²``, (T,)."""
        return self.alpha_bar / (1 - self.alpha_bar)


def matched_amplitudes(snr: np.ndarray, gain: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Signal and noise amplitude after changes of resolution (mathematics §3).

    ``σ²/a² = gain / snr`` with ``a² + σ² = 1``.

    Parameters
    ----------
    snr : array
        ``a²/σ²`` of the full-resolution chain.
    gain : array or float
        With matched noise the product of ``λ_max(M_i M_iᵀ)`` over all changes so far, which is
        ``(r/R)²`` for `dct`; 1 where changes keep the noise. Broadcasts with ``snr``.

    Returns
    -------
    (a, σ)
    """
    noise_to_signal = 1 / snr * gain
    return np.sqrt(1 / (1 + noise_to_signal)), np.sqrt(noise_to_signal / (1 + noise_to_signal))


def check_noise_mode(noise_mode: str) -> str:
    """Return ``noise_mode`` if it is known; raise `InputError` otherwise."""
    if noise_mode not in NOISE_MODES:
        raise InputError(
            f"noise mode {noise_mode!r}: unknown; choose from {', '.join(NOISE_MODES)}"
        )
    return noise_mode


_NAMED: dict[str, Callable[[int], NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "cosine": NoiseSchedule.cosine,
}


def _at_least_one(num_steps: int) -> int:
    if num_steps < 1:
        raise InputError(f"noise schedule: needs at least one step, got {num_steps}")
    return num_steps
