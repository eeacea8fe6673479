"""Attenuation along the rate-distortion curve: frequencies fade out before noise drowns them.

The optimal code for a Gaussian source at distortion θ spends no bits on components of power below θ
(reverse water-filling; Cover & Thomas, section 10.3.3). The forward process here does likewise:
besides adding noise it scales each DCT coefficient by

    λ_k(t) = max(0, 1 − τ / (snr_t P_k))^{p/2}

which is exactly zero where the water level ``θ_t = τ / snr_t`` lies above the envelope ``P_k`` of
the data's power. A change of resolution that leaves out only such coefficients loses no
information, whatever the data (mathematics §8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.errors import InputError
from ..support.reading import check_fields

if TYPE_CHECKING:
    from ..spectrum.spectrum import Spectrum

_ROUNDING = 1e-12  # relative error of a ratio computed from amplitudes read from a file


@dataclass(frozen=True, eq=False)
class Attenuation:
    """Gain of each DCT coefficient as a function of the full resolution's signal-to-noise ratio.

    Parameters
    ----------
    tolerance : float
        ``τ`` in (0, 1]: the signal-to-noise ratio ``snr_t P_k`` at which a coefficient vanishes.
    smoothness : float
        ``p`` at least 1: the larger, the more gradually a coefficient's gain rises from zero; at 1
        it rises like a square root.
    squared_radius : (n,) float64
        Radii ``k1² + k2²`` of DCT indices after which the envelope falls, rising.
    power : (n,) float64
        Envelope ``P_k`` up to and including each radius, strictly falling; zero beyond the last.

    Raises
    ------
    InputError
        If a value is out of range; the entry is named.
    """

    tolerance: float
    smoothness: float
    squared_radius: np.ndarray
    power: np.ndarray

    def __post_init__(self) -> None:
        check_attenuation(self.tolerance, self.smoothness)
        for name in ("squared_radius", "power"):
            array = np.array(getattr(self, name), np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        radius, power = self.squared_radius, self.power
        if radius.ndim != 1 or radius.shape != power.shape or not radius.size:
            raise InputError(
                "attenuation: the envelope needs as many powers as radii, at least one"
            )
        if not (np.isfinite(radius).all() and np.isfinite(power).all() and power[-1] > 0):
            raise InputError(
                "attenuation: the envelope's radii and powers must be finite, powers > 0"
            )
        for name, steps in (("squared_radius", np.diff(radius)), ("power", -np.diff(power))):
            if (steps <= 0).any():
                word = "rise" if name == "squared_radius" else "fall"
                raise InputError(
                    f"attenuation: {name}[{int(np.argmax(steps <= 0)) + 1}] must {word}"
                )
        if radius[0] < 0:
            raise InputError("attenuation: squared_radius[0] must not be negative")

    @classmethod
    def of(cls, spectrum: Spectrum, tolerance: float, smoothness: float) -> Attenuation:
        """Attenuation with the smallest envelope of a spectrum that never rises with ``|k|``.

        The envelope is at least the power of every colour component. Raises `InputError` if the
        spectrum has no power.
        """
        size = spectrum.resolution
        index = np.arange(size)
        squared = (index[:, None] ** 2 + index**2).ravel()
        largest = np.zeros(2 * (size - 1) ** 2 + 1)
        np.maximum.at(largest, squared, spectrum.power.max(axis=-1).ravel())
        beyond = np.maximum.accumulate(largest[::-1])[::-1]  # largest power at this radius or above
        falls = np.flatnonzero(beyond > np.append(beyond[1:], 0.0))
        if not falls.size:
            raise InputError("attenuation: the spectrum has no power")
        return cls(float(tolerance), float(smoothness), falls, beyond[falls])

    def envelope(self, squared_radius: np.ndarray | float) -> np.ndarray:
        """Envelope ``P_k`` at each ``k1² + k2²``; zero beyond the data's last frequency."""
        place = np.searchsorted(self.squared_radius, squared_radius, side="left")
        return np.append(self.power, 0.0)[place]

    def grid(self, height: int, width: int, scale: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
        """Envelope ``P_k`` of the lowest ``(height, width)`` DCT coefficients, of that shape.

        For a rectangular image of H by W pixels ``scale`` is ``(R / H, R / W)``, which converts
        its indices to those of an R by R image.
        """
        rows, columns = np.arange(height) * scale[0], np.arange(width) * scale[1]
        return self.envelope(rows[:, None] ** 2 + columns**2)

    def gain(self, snr: Any, envelope: Any) -> Any:
        """Gain ``λ_k`` (mathematics §8), for arrays of snr and ``P_k`` that broadcast.

        ``snr`` is that of the full resolution. The gain is exactly zero where
        ``snr P_k ≤ τ (1 + 1e-12)``.
        """
        return self._above(snr, envelope) ** (self.smoothness / 2)

    def snr_slope(self, snr: Any, envelope: Any) -> Any:
        """Derivative of a coefficient's own ``snr λ_k²`` by ``snr``; arguments as for `gain`."""
        above = self._above(snr, envelope)
        fading = self.smoothness * (1 - above) * above ** (self.smoothness - 1)
        return above**self.smoothness + np.where(above > 0, fading, 0.0)

    def _above(self, snr: Any, envelope: Any) -> Any:
        """``1 − τ / (snr P_k)`` where that is positive, else zero."""
        with np.errstate(divide="ignore"):
            above = 1 - self.tolerance / (np.asarray(snr) * envelope)
        return np.where(above > _ROUNDING, above, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Content of the entry ``attenuation`` of ``schedule.json``."""
        return {
            "tolerance": self.tolerance,
            "smoothness": self.smoothness,
            "squared_radius": self.squared_radius.tolist(),
            "power": self.power.tolist(),
        }

    @classmethod
    def from_json(cls, content: Any) -> Attenuation:
        """Attenuation from the entry of a file; `InputError` if it is not valid."""
        numbers, lists = ("tolerance", "smoothness"), ("squared_radius", "power")
        kinds = dict.fromkeys(numbers, float) | dict.fromkeys(lists, list[float])
        check_fields(content, kinds, "attenuation")
        return cls(
            float(content["tolerance"]),
            float(content["smoothness"]),
            np.array(content["squared_radius"], np.float64),
            np.array(content["power"], np.float64),
        )


def check_attenuation(tolerance: float, smoothness: float) -> None:
    """Raise `InputError` unless the parameters of an attenuation are in range."""
    if not 0 < tolerance <= 1:
        raise InputError(
            f"tolerance {tolerance}: must lie in (0, 1] for water-filling (0 is full resolution)"
        )
    if not 1 <= smoothness < np.inf:
        raise InputError(f"smoothness {smoothness}: must be a number of at least 1")
