"""Resolution schedules: the resolution, signal amplitude and noise amplitude of every step.

Models are trained and sampled on a `ResolutionSchedule`. It is derived from a spectrum
(`theory.schedule.derivation`) or is one of the paper's named ones (`ResolutionSchedule.paper`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..images.axis_maps import DegradationPath, lambda_max
from ..images.operators import check_operator
from ..images.scale_space import heat_transfer
from ..support.errors import InputError
from ..support.files import write_json
from ..support.paths import user_path
from ..support.reading import read_json
from .attenuation import Attenuation
from .file_format import arguments_from_json, schedule_to_json
from .levels import are_whole, check_levels, halved_levels
from .noise import NoiseSchedule, check_noise_mode, matched_amplitudes
from .paper import paper_level_index
from .validity import check_attenuated_states, check_steps

if TYPE_CHECKING:
    from ..spectrum.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class ResolutionSchedule:
    """Resolution, signal amplitude and noise amplitude of every diffusion step.

    Schedules are equal if their `digest` is, wherever they come from.

    Parameters
    ----------
    resolutions : (T,) int
        Side ``r_t`` of the state in pixels; never grows with ``t``; ``r_0`` is full resolution.
    alpha, sigma : (T,) float64
        Signal and noise amplitude of the state, ``a_t² + σ_t² = 1``.
    operator : str
        How a change downsamples, see `theory.resize_matrix`.
    noise_mode : {"matched", "paper"}
        The noise after a change of resolution. "matched": the least that makes a valid step, so
        that the band that stays keeps its signal-to-noise ratio (mathematics §3). "paper": that of
        the full-resolution chain at the same step.
    levels : sequence of int
        Resolutions that the model must read and write, from full resolution down; by default those
        in ``resolutions``.
    derivation : mapping
        Where the schedule comes from (JSON values only).
    predicted : mapping
        Predicted cost and error (JSON values only), see `theory.oracle.predictions`.
    blur : (T,) float64, optional
        Variance of the Gaussian blur of the clean image behind each state, in squared pixels of the
        full resolution; never falls with ``t``. Where a step both blurs and resizes, it blurs
        first. By default nothing is blurred.
    attenuation : Attenuation, optional
        Gain of each DCT coefficient of the clean image behind each state, as a function of
        `base_snr`; every coefficient that a state leaves out must have gain zero there (mathematics
        §8). Needs the operator `dct` and matched noise, and no blur.

    Raises
    ------
    InputError
        If lengths differ, a resolution grows or is not a level, a blur falls, amplitudes are not on
        the unit circle, a step is not valid, ``σ_t² < (a_t/a_s)² σ_s² λ_max(M Mᵀ)`` (mathematics
        §2), or a state leaves out a coefficient that is not attenuated to zero. The first such
        entry is named.
    """

    resolutions: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    operator: str = "dct"
    noise_mode: str = "matched"
    levels: tuple[int, ...] = ()
    derivation: Mapping[str, Any] = field(default_factory=dict)
    predicted: Mapping[str, Any] = field(default_factory=dict)
    blur: np.ndarray = field(default_factory=lambda: np.zeros(0))
    attenuation: Attenuation | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.resolutions)
        if given.ndim != 1 or given.size == 0 or not are_whole(given):
            raise InputError("resolutions: needs at least one step, and whole numbers of pixels")
        frozen = {
            "resolutions": given.astype(np.int64),
            "alpha": np.array(self.alpha, dtype=np.float64),
            "sigma": np.array(self.sigma, dtype=np.float64),
            "blur": np.array(self.blur if np.size(self.blur) else np.zeros(given.size)),
        }
        for name, array in frozen.items():
            if array.shape != given.shape:
                raise InputError(
                    f"{name}: has shape {array.shape}, but there are {given.size} resolutions"
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        visited = dict.fromkeys(int(r) for r in self.resolutions)
        levels = self.levels if len(self.levels) else tuple(visited)
        object.__setattr__(self, "levels", check_levels(levels))
        check_operator(self.operator)
        check_noise_mode(self.noise_mode)
        check_steps(self)
        if self.attenuation is not None:
            check_attenuated_states(self, self.attenuation)

    def check_spectrum(self, spectrum: Spectrum) -> None:
        """Raise `InputError` unless a spectrum has the schedule's full resolution."""
        if spectrum.resolution != self.resolution:
            raise InputError(
                f"spectrum: has resolution {spectrum.resolution}, the schedule has "
                f"{self.resolution}; measure the spectrum at the schedule's resolution"
            )

    @property
    def resolution(self) -> int:
        """Full resolution R in pixels."""
        return self.levels[0]

    @property
    def num_steps(self) -> int:
        """Number of steps T."""
        return len(self.resolutions)

    def __len__(self) -> int:
        return self.num_steps

    @property
    def snr(self) -> np.ndarray:
        """Signal-to-noise ratio per pixel of the state, ``a_t²/σ_t²``, (T,)."""
        return self.alpha**2 / self.sigma**2

    @property
    def kept_band_snr(self) -> np.ndarray:
        """Signal-to-noise ratio of the band that each state keeps, ``snr_t (r_t/R)²``, (T,).

        Per unit of power at full resolution, so that states of all levels compare; equals
        `base_snr` with matched noise and `dct` or `box` halvings.
        """
        return self.snr * (self.resolutions / self.resolution) ** 2

    @property
    def blurs(self) -> bool:
        """Whether any state is blurred."""
        return bool(self.blur[-1] > 0)

    @property
    def is_lossless(self) -> bool:
        """Whether no change of resolution leaves out any signal, whatever the data."""
        return self.attenuation is not None or not self.changes

    @property
    def mixes_frequencies(self) -> bool:
        """Whether a coefficient of any state depends on several of the clean image."""
        return self.operator != "dct" and bool(self.changes)

    def with_operator(self, operator: str) -> ResolutionSchedule:
        """Copy with another resize operator: same base noise, resolutions and blurs.

        What was predicted for the old operator is left out.
        """
        if operator == self.operator:
            return self
        check_operator(operator)
        gains = _noise_gains(self.noise_mode, operator, self.resolutions, self.blur)
        alpha, sigma = matched_amplitudes(self.base_snr, gains)
        return replace(self, alpha=alpha, sigma=sigma, operator=operator, predicted={})

    def transfer(self, t: int) -> np.ndarray:
        """Gain ``λ`` of each DCT coefficient from the clean image to ``M_{1:t} x_0``.

        Returns
        -------
        (r_t, r_t) float64
            For each orthonormal DCT coefficient of the state: ``r_t / R``, times the gains of blur
            and attenuation.

        Raises
        ------
        InputError
            If the operator mixes DCT coefficients and the state is not at full resolution.
        """
        side, size = int(self.resolutions[t]), self.resolution
        if self.operator != "dct" and side != size:
            raise InputError(
                f"operator {self.operator!r}: mixes DCT coefficients, so that a state of {side} px "
                "has no gain of its own for each; use operator 'dct'"
            )
        heat = heat_transfer(size, float(self.blur[t]), "continuous")[:side]
        return side / size * heat[:, None] * heat * self.attenuation_gains(t)

    def attenuation_gains(self, t: int) -> np.ndarray:
        """Gain ``λ`` of the attenuation alone, for each DCT coefficient of a state, (r_t, r_t)."""
        side = int(self.resolutions[t])
        if self.attenuation is None:
            return np.ones((side, side))
        return self.attenuation.gain(self.base_snr[t], self.attenuation.grid(side, side))

    def signal_gains(self, t: int) -> np.ndarray:
        """Amplitude ``m_t`` of every DCT coefficient of the clean image in the state at ``t``.

        Returns
        -------
        (R, R) float64
            ``a_t`` times `transfer`; zero for coefficients that the state lacks. The noise has the
            amplitude ``sigma[t]`` in each of the state's ``r_t × r_t`` coefficients.

        Raises
        ------
        InputError
            As `transfer`.
        """
        gains = np.zeros((self.resolution, self.resolution))
        side = int(self.resolutions[t])
        gains[:side, :side] = self.alpha[t] * self.transfer(t)
        return gains

    @property
    def change_gains(self) -> np.ndarray:
        """``λ_max(M_t M_tᵀ)`` of the step from ``t − 1`` to ``t``, (T,); 1 without a change."""
        return _change_gains(self.operator, self.resolutions, self.blur)

    def path(self, s: int | None, t: int) -> DegradationPath:
        """Degradation ``M_{s+1:t}`` on one axis, from the state at ``s`` to the one at ``t``.

        With ``s = None`` it begins at the clean image: ``M_{1:t}``.
        """
        first = 0 if s is None else s
        starts = [first, *(u for u in self.changes if first < u <= t)]
        blur = self.blur
        bounds = np.append(blur[starts], blur[t])  # at each arrival, and at the end
        bounds[0] = 0.0 if s is None else blur[s]
        sides = self.resolutions[starts]
        variances = np.diff(bounds) * (sides / self.resolution) ** 2
        return DegradationPath(self.operator, tuple(sides.tolist()), tuple(variances.tolist()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResolutionSchedule) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of operator, noise, resolutions, blur and attenuation, in hexadecimal."""
        digest = hashlib.sha256(f"{self.operator} {self.noise_mode}".encode())
        for array in (self.resolutions, self.alpha, self.sigma, self.blur):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        if self.attenuation is not None:
            digest.update(json.dumps(self.attenuation.to_json()).encode())
        return digest.hexdigest()

    @cached_property
    def base_snr(self) -> np.ndarray:
        """``a²/σ²`` of the full-resolution chain that the schedule was made from, (T,).

        It does not jump at a change, in either noise mode, so it orders all states on one axis.
        """
        if self.noise_mode == "paper":
            return self.snr
        return self.snr * np.cumprod(self.change_gains)

    @property
    def base_noise(self) -> NoiseSchedule:
        """Noise schedule of the full-resolution chain that the schedule was made from."""
        alpha_bar = self.base_snr / (1 + self.base_snr)
        return NoiseSchedule(alpha_bar, str(self.derivation.get("base", "custom")))

    @cached_property
    def changes(self) -> dict[int, tuple[int, int]]:
        """``{t: (r_{t-1}, r_t)}`` for every step at which the resolution changes."""
        return _changes(self.resolutions)

    @property
    def change_sides(self) -> set[int]:
        """Steps just before and just after every change of resolution."""
        return {side for t in self.changes for side in (t - 1, t)}

    @property
    def output_resolutions(self) -> np.ndarray:
        """Resolution of the network's prediction at each step, (T,).

        That of the next state, ``r_{t-1}`` (``r_0`` at 0). With an attenuation the state's own, as
        the band that opens at a change then holds no signal yet.
        """
        if self.attenuation is not None:
            return self.resolutions
        return np.concatenate([self.resolutions[:1], self.resolutions[:-1]])

    def chain_cost(self, table: Mapping[tuple[int, int], float]) -> float:
        """Mean cost of a network call when all T steps run, in the unit of ``table``.

        Parameters
        ----------
        table : mapping
            ``{(resolution in, resolution out): cost}``, see `theory.schedule.costs.chain_costs`.

        Raises
        ------
        InputError
            If the table lacks a pair that the schedule needs.
        """
        pairs = zip(self.resolutions.tolist(), self.output_resolutions.tolist(), strict=True)
        try:
            return float(np.mean([table[pair] for pair in pairs]))
        except KeyError as error:
            raise InputError(f"cost table: has no entry for {error.args[0]}") from None

    @classmethod
    def from_noise(
        cls,
        resolutions: np.ndarray,
        noise: NoiseSchedule,
        noise_mode: str = "matched",
        operator: str = "dct",
        blur: np.ndarray | None = None,
        **rest: Any,
    ) -> Self:
        """Schedule with the given resolutions over the noise of a full-resolution chain.

        Parameters
        ----------
        resolutions : (T,) int
        noise : NoiseSchedule
            Of T steps.
        noise_mode : {"matched", "paper"}
            Whether a change multiplies ``σ²/a²`` by ``λ_max(M Mᵀ)``, the least noise that makes a
            valid step (mathematics §3), or keeps it.
        operator : str
        blur : (T,) float64, optional
        **rest
            Other parameters of the class.

        Raises
        ------
        InputError
            If lengths differ, or as the class does.
        """
        check_noise_mode(noise_mode)
        check_operator(operator)
        resolutions = np.asarray(resolutions)
        if resolutions.shape != noise.alpha_bar.shape:
            raise InputError(
                f"resolutions: {resolutions.size} steps, but the noise schedule has {len(noise)}"
            )
        blurs = np.zeros(len(noise)) if blur is None else np.asarray(blur, np.float64)
        if blurs.shape != resolutions.shape:
            raise InputError(
                f"blur: has shape {blurs.shape}, the noise schedule {len(noise)} steps"
            )
        gains = _noise_gains(noise_mode, operator, resolutions, blurs)
        alpha, sigma = matched_amplitudes(noise.snr, gains)
        return cls(
            resolutions=resolutions,
            alpha=alpha,
            sigma=sigma,
            operator=operator,
            noise_mode=noise_mode,
            blur=blurs,
            **rest,
        )

    @classmethod
    def full_resolution(
        cls, resolution: int, noise: NoiseSchedule, operator: str = "dct"
    ) -> ResolutionSchedule:
        """Schedule of one level without a change of resolution, as in DDPM."""
        derivation = {"criterion": "full resolution", "base": noise.name}
        steps = np.full(len(noise), resolution)
        return cls.from_noise(steps, noise, operator=operator, derivation=derivation)

    @classmethod
    def paper(
        cls,
        resolution: int,
        num_levels: int,
        name: str,
        noise: NoiseSchedule,
        noise_mode: str = "paper",
        operator: str = "bilinear",
    ) -> ResolutionSchedule:
        """One of the paper's named schedules (Mukhopadhyay et al., CVPR 2026).

        Parameters
        ----------
        resolution : int
            Full resolution R in pixels, divisible by ``2**(num_levels - 1)``.
        num_levels : int
            Number of resolutions R, R/2, R/4, …
        name : str
            "equal", "ConvexDecay_γ", "SigmoidLikeDecay_γ" or "TanhLikeDecay_γ" with a number γ > 0.
        noise : NoiseSchedule
            Of the full-resolution chain.
        noise_mode, operator : str
            The defaults are the paper's.

        Raises
        ------
        InputError
            If the name is unknown or the resolution cannot be halved that often.
        """
        levels = halved_levels(resolution, num_levels)
        index = paper_level_index(name, len(noise), num_levels)
        return cls.from_noise(
            np.array(levels)[index],
            noise,
            noise_mode,
            operator,
            levels=levels,
            derivation={"criterion": name, "base": noise.name},
        )

    def to_json(self) -> dict[str, Any]:
        """Content of ``schedule.json``, see `theory.schedule.file_format`."""
        return schedule_to_json(self)

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Schedule from the content of ``schedule.json``; `InputError` if it is not valid."""
        return cls(**arguments_from_json(content))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``schedule.json`` (complete or not at all)."""
        write_json(path, self.to_json(), indent=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a file written by `save`.

        Raises
        ------
        InputError
            If the file is missing, is not a schedule, or does not pass the checks of the class.
        """
        content = read_json(path, f"write one with `ssd derive SPECTRUM -o {user_path(path)}`")
        try:
            return cls.from_json(content)
        except InputError as error:
            raise InputError(f"{user_path(path)}: {error}") from None


def _changes(r: np.ndarray) -> dict[int, tuple[int, int]]:
    return {int(t): (int(r[t - 1]), int(r[t])) for t in np.flatnonzero(np.diff(r)) + 1}


def _noise_gains(
    noise_mode: str, operator: str, resolutions: np.ndarray, blur: np.ndarray
) -> np.ndarray:
    """Factors on ``σ²/a²`` of the full-resolution chain, (T,): see `matched_amplitudes`."""
    if noise_mode == "paper":
        return np.ones(len(resolutions))
    return np.cumprod(_change_gains(operator, resolutions, blur))


def _change_gains(operator: str, resolutions: np.ndarray, blur: np.ndarray) -> np.ndarray:
    gains = np.ones(len(resolutions))
    for t, (before, after) in _changes(resolutions).items():
        own = (blur[t] - blur[t - 1]) * (before / resolutions[0]) ** 2  # in the state's own pixels
        gains[t] = lambda_max(operator, before, after, float(own))
    return gains
