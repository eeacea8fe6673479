"""Resolution schedules: at which resolution, with which signal and noise, each step runs.

A `ResolutionSchedule` is the file that models consume. It is derived from a spectrum
(`theory.schedule.derivation`) or is one of the paper's named ones (`ResolutionSchedule.paper`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from ..images.axis_maps import DegradationPath, lambda_max
from ..images.operators import check_operator
from ..images.scale_space import heat_transfer
from ..support.errors import InputError
from ..support.files import atomic_path
from ..support.paths import user_path
from ..support.reading import parse_json
from .attenuation import Attenuation
from .costs import network_levels
from .noise import NoiseSchedule
from .paper import paper_level_index

FORMAT = "scale-space-schedule/1"
NOISE_MODES = ("matched", "paper")
_ROUNDING = 1e-9  # relative; a matched change by box or dct meets the validity bound with equality


@dataclass(frozen=True)
class ResolutionSchedule:
    """Resolution, signal amplitude and noise amplitude of every diffusion step.

    Parameters
    ----------
    resolutions : (T,) int
        Side ``r_t`` of the state in pixels; never grows with ``t``; ``r_0`` is full resolution.
    alpha, sigma : (T,) float64
        Signal and noise amplitude of the state, ``a_t² + σ_t² = 1``.
    operator : str
        How a change downsamples, see `theory.resize_matrix`.
    noise_mode : {"matched", "paper"}
        Whether a change keeps the information of the band that it keeps (mathematics §3), or keeps
        the noise of the full-resolution chain, as the paper does.
    levels : sequence of int
        Resolutions that the model must know, from full resolution down; by default those visited.
    derivation : mapping
        Where the schedule comes from (JSON values only).
    predicted : mapping
        Predicted cost and error (JSON values only), see `theory.oracle.report.with_predictions`.
    blur : (T,) float64, optional
        Gaussian blur of the clean image behind each state: variance in squared pixels of the full
        resolution; never falls with ``t``. What a step adds is applied before its resize. Without
        it nothing is blurred.
    attenuation : Attenuation, optional
        Gain of each DCT coefficient of the clean image behind each state, by the full resolution's
        signal-to-noise ratio; every coefficient that a state leaves out must have gain zero there
        (mathematics §8). Needs the operator `dct` and matched noise, and no blur.

    Raises
    ------
    InputError
        If lengths differ, a resolution grows or is no level, a blur falls, amplitudes are not on
        the unit circle, a step is not valid: ``σ_t² < (a_t/a_s)² σ_s² λ_max(M Mᵀ)``, or a state
        leaves out a coefficient that is not attenuated to zero. The entry is named.
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
        if given.ndim != 1 or given.size == 0 or not _whole_numbers(given):
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
        self._check_steps()
        if self.attenuation is not None:
            self._check_attenuation(self.attenuation)

    def _check_attenuation(self, attenuation: Attenuation) -> None:
        if self.operator != "dct" or self.noise_mode != "matched" or self.blurs:
            raise InputError("attenuation: needs operator 'dct', matched noise and no blur")
        snr, r = self.base_snr, self.resolutions
        _refuse_first(
            np.append(False, np.diff(snr) > 0),
            lambda t: f"alpha[{t}]: the signal-to-noise ratio must not rise with an attenuation",
        )
        # The largest envelope outside a state is at its nearest frequency, (r, 0).
        outside = np.where(r < self.resolution, attenuation.envelope(r.astype(float) ** 2), 0.0)
        _refuse_first(
            attenuation.gain(snr, outside) > 0,
            lambda t: (
                f"resolutions[{t}] = {r[t]}: leaves out coefficients that the attenuation has not "
                "brought to zero"
            ),
        )

    def _check_steps(self) -> None:
        r, a, sigma = self.resolutions, self.alpha, self.sigma
        if r[0] != self.levels[0]:
            raise InputError(
                f"resolutions[0] = {r[0]}: the least noisy step must have full resolution, "
                f"{self.levels[0]}"
            )
        _refuse_first(
            ~np.isin(r, self.levels),
            lambda t: f"resolutions[{t}] = {r[t]}: is none of the levels {list(self.levels)}",
        )
        _refuse_first(
            np.diff(r, prepend=r[:1]) > 0,
            lambda t: (
                f"resolutions[{t}] = {r[t]}: must not be larger than resolutions[{t - 1}] = "
                f"{r[t - 1]}"
            ),
        )
        blur = self.blur
        _refuse_first(
            ~np.isfinite(blur) | (np.diff(blur, prepend=0.0) < 0),
            lambda t: f"blur[{t}] = {blur[t]}: must be finite, and not smaller than the one before",
        )
        with np.errstate(invalid="ignore"):
            off_circle = ~(np.abs(a**2 + sigma**2 - 1) < 1e-8) | ~(a > 0) | ~(sigma > 0)
        _refuse_first(
            off_circle,
            lambda t: (
                f"alpha[{t}] = {a[t]}, sigma[{t}] = {sigma[t]}: both must be positive, "
                "with alpha² + sigma² = 1"
            ),
        )
        least = (a[1:] / a[:-1]) ** 2 * sigma[:-1] ** 2 * self.change_gains[1:]
        _refuse_first(
            np.append(False, sigma[1:] ** 2 < least * (1 - _ROUNDING)),
            lambda t: (
                f"step {t - 1} -> {t} ({r[t - 1]} -> {r[t]} pixels): is not a valid step, "
                f"sigma² = {sigma[t] ** 2:.6g} where at least {least[t - 1]:.6g} is needed"
            ),
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
        """``a_t²/σ_t²`` per pixel of the state, (T,)."""
        return self.alpha**2 / self.sigma**2

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
        """Whether any state mixes DCT coefficients of the clean image."""
        return self.operator != "dct" and bool(self.changes)

    def with_operator(self, operator: str) -> ResolutionSchedule:
        """The same base noise, resolutions and blurs with another operator, nothing predicted."""
        if operator == self.operator:
            return self
        noise = NoiseSchedule(self.base_snr / (1 + self.base_snr))
        return ResolutionSchedule.from_noise(
            self.resolutions,
            noise,
            self.noise_mode,
            operator,
            self.blur,
            levels=self.levels,
            derivation=self.derivation,
            attenuation=self.attenuation,
        )

    def transfer(self, t: int) -> np.ndarray:
        """Factor of each DCT coefficient from the clean image to ``M_{1:t} x_0``.

        Returns
        -------
        (r_t, r_t) float64
            Of the orthonormal DCT coefficients that the state has, ``r_t / R`` times blur and
            attenuation.

        Raises
        ------
        InputError
            If the state is made by an operator that mixes DCT coefficients.
        """
        side, size = int(self.resolutions[t]), self.resolution
        if self.operator != "dct" and side != size:
            raise InputError(
                f"operator {self.operator!r}: mixes DCT coefficients, so that a state of {side} px "
                "has no gain of its own for each; use operator 'dct'"
            )
        heat = heat_transfer(size, float(self.blur[t]), "continuous")[:side]
        factor = side / size * heat[:, None] * heat
        if self.attenuation is not None:
            envelope = self.attenuation.grid(side, side)
            factor = factor * self.attenuation.gain(self.base_snr[t], envelope)
        return factor

    def signal_gains(self, t: int) -> np.ndarray:
        """Amplitude ``m_t`` of every DCT coefficient of the clean image in the state at ``t``.

        Returns
        -------
        (R, R) float64
            Zero where the state has none. The state's noise has the amplitude ``sigma[t]`` in
            each of its ``r_t × r_t`` coefficients.

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
        """``λ_max(M_t M_tᵀ)`` of the change into each step, (T,); 1 where there is none."""
        return _change_gains(self.operator, self.resolutions, self.blur)

    def path(self, s: int | None, t: int) -> DegradationPath:
        """``M_{s+1:t}``, from the state at ``s`` (None: the clean image) to the one at ``t``."""
        first = 0 if s is None else s
        starts = [first, *(u for u in self.changes if first < u <= t)]
        blur = self.blur
        bounds = np.append(blur[starts], blur[t])  # at each arrival, and at the end
        bounds[0] = 0.0 if s is None else blur[s]
        sides = self.resolutions[starts]
        variances = np.diff(bounds) * (sides / self.resolution) ** 2
        return DegradationPath(self.operator, tuple(sides.tolist()), tuple(variances.tolist()))

    @property
    def digest(self) -> str:
        """SHA-256 of what a chain depends on: noise, resolutions and degradation; hexadecimal."""
        digest = hashlib.sha256(f"{self.operator} {self.noise_mode}".encode())
        for array in (self.resolutions, self.alpha, self.sigma, self.blur):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        if self.attenuation is not None:
            digest.update(json.dumps(self.attenuation.to_json()).encode())
        return digest.hexdigest()

    @cached_property
    def base_snr(self) -> np.ndarray:
        """``a²/σ²`` of the full-resolution chain that the schedule was made from, (T,).

        Continuous across a change in both noise modes: it orders all states on one axis.
        """
        if self.noise_mode == "paper":
            return self.snr
        return self.snr * np.cumprod(self.change_gains)

    @cached_property
    def changes(self) -> dict[int, tuple[int, int]]:
        """``{t: (r_{t-1}, r_t)}`` for every step at which the resolution changes."""
        return _changes(self.resolutions)

    @property
    def change_sides(self) -> set[int]:
        """The steps on both sides of every change: those that a sampler must visit."""
        return {side for t in self.changes for side in (t - 1, t)}

    @property
    def output_resolutions(self) -> np.ndarray:
        """Resolution that the network predicts at each step, (T,).

        That of the next state, ``r_{t-1}`` (``r_0`` at 0); with an attenuation the state's own, as
        what a change opens then holds no signal yet.
        """
        if self.attenuation is not None:
            return self.resolutions
        return np.concatenate([self.resolutions[:1], self.resolutions[:-1]])

    def chain_cost(self, table: Mapping[Any, float]) -> float:
        """Mean cost of a step when all T steps run, in the unit of ``table``.

        Parameters
        ----------
        table : mapping
            Either ``{(resolution in, resolution out): cost}``, as
            `theory.schedule.costs.cost_table` gives it, which charges a change what it costs; or
            ``{resolution: cost}``, which charges each step as one that keeps its resolution.
        """
        pairs = list(zip(self.resolutions.tolist(), self.output_resolutions.tolist(), strict=True))
        try:
            if any(isinstance(key, tuple) for key in table):
                return float(np.mean([table[pair] for pair in pairs]))
            return float(np.mean([table[pair[0]] for pair in pairs]))
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
        """Schedule with the given resolutions, and blurs if any, over a base noise schedule.

        In mode "paper" the state keeps the base noise; in mode "matched" (mathematics §3)
        ``σ_t²/a_t² = (σ²/a²)_base Π λ_max(M_i M_iᵀ)``, the least noise that valid steps allow.
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
        noise_to_signal = 1 / noise.snr
        if noise_mode == "matched":
            noise_to_signal *= np.cumprod(_change_gains(operator, resolutions, blurs))
        return cls(
            resolutions=resolutions,
            alpha=np.sqrt(1 / (1 + noise_to_signal)),
            sigma=np.sqrt(noise_to_signal / (1 + noise_to_signal)),
            operator=operator,
            noise_mode=noise_mode,
            blur=blurs,
            **rest,
        )

    @classmethod
    def full_resolution(
        cls, resolution: int, noise: NoiseSchedule, operator: str = "dct"
    ) -> ResolutionSchedule:
        """The schedule of DDPM: one level, no change."""
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
        """One of the schedules that the paper sets by hand (Mukhopadhyay et al., CVPR 2026).

        Parameters
        ----------
        resolution : int
            Full resolution R in pixels, divisible by ``2**(num_levels - 1)``.
        num_levels : int
            Number of resolutions R, R/2, R/4, …
        name : str
            "equal", "ConvexDecay_γ", "SigmoidLikeDecay_γ" or "TanhLikeDecay_γ" with a number γ > 0.
        noise : NoiseSchedule
        noise_mode, operator : str
            The defaults are the paper's.
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
        """Content of ``schedule.json``; ``attenuation`` and ``blur`` only where there is one."""
        content = {
            "format": FORMAT,
            "resolution": self.resolution,
            "levels": list(self.levels),
            "operator": self.operator,
            "noise": self.noise_mode,
            "derivation": dict(self.derivation),
            "predicted": dict(self.predicted),
            "resolutions": self.resolutions.tolist(),
            "alpha": self.alpha.tolist(),
            "sigma": self.sigma.tolist(),
        }
        if self.attenuation is not None:
            content["attenuation"] = self.attenuation.to_json()
        return content | ({"blur": self.blur.tolist()} if self.blurs else {})

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Schedule from the content of ``schedule.json``; see the class for what is checked."""
        if not isinstance(content, dict):
            raise InputError("is not a schedule; write one with `ssd derive`")
        if content.get("format") != FORMAT:
            raise InputError(f"has format {content.get('format')!r}, expected {FORMAT!r}")
        needed = ("resolution", "levels", "operator", "noise", "resolutions", "alpha", "sigma")
        if missing := [key for key in needed if key not in content]:
            raise InputError(f"lacks the entries {', '.join(missing)}")
        lists = ("levels", "resolutions", "alpha", "sigma")
        for key in (*lists, "blur") if "blur" in content else lists:
            _check_numbers(key, content[key])
        for key in ("derivation", "predicted"):
            if not isinstance(content.get(key, {}), dict):
                raise InputError(f"{key}: must be an object")
        derivation = content.get("derivation", {})
        if not isinstance(derivation.get("source"), str | None):
            raise InputError("derivation: source must be a text")
        _check_plan(derivation.get("plan"))
        if not content["levels"] or content["levels"][0] != content["resolution"]:
            raise InputError(
                f"levels: must begin with the resolution, {content['resolution']}, "
                f"not {content['levels'][:1]}"
            )
        attenuation = content.get("attenuation")
        return cls(
            resolutions=np.array(content["resolutions"]),
            alpha=np.array(content["alpha"], np.float64),
            sigma=np.array(content["sigma"], np.float64),
            operator=content["operator"],
            noise_mode=content["noise"],
            levels=tuple(content["levels"]),
            derivation=derivation,
            predicted=content.get("predicted", {}),
            blur=np.array(content.get("blur", []), np.float64),
            attenuation=None if attenuation is None else Attenuation.from_json(attenuation),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``schedule.json`` (complete or not at all)."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.to_json()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a file written by `save`.

        Raises
        ------
        InputError
            If the file is missing, is not a schedule, or does not pass the checks of the class.
        """
        path = user_path(path)
        try:
            return cls.from_json(parse_json(path.read_text(encoding="utf-8")))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except FileNotFoundError:
            raise InputError(
                f"{path}: no such file; write one with `ssd derive SPECTRUM -o {path}`"
            ) from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
        except ValueError as error:  # not JSON, or not text
            raise InputError(f"{path}: is not a schedule file ({error})") from None


def choose_levels(resolution: int, levels: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Levels of a schedule at full resolution R.

    Parameters
    ----------
    resolution : int
        R in pixels.
    levels : int or sequence of int, optional
        Their number, each half of the one before; or the resolutions themselves, falling. By
        default as many halvings as the network for R takes
        (`theory.schedule.costs.network_levels`).

    Raises
    ------
    InputError
        If R cannot be halved so often, or the resolutions do not fall.
    """
    if levels is None:
        levels = network_levels(resolution)
    if isinstance(levels, int | np.integer):
        return halved_levels(resolution, int(levels))
    return check_levels(levels)


def halved_levels(resolution: int, num_levels: int) -> tuple[int, ...]:
    """Levels R, R/2, R/4, …; `InputError` if R cannot be halved so often."""
    if num_levels < 1 or resolution < 1:
        raise InputError(f"levels {num_levels}, resolution {resolution}: give 1 or more of each")
    most = (resolution & -resolution).bit_length()  # one more than the twos in it
    if num_levels > most:
        raise InputError(
            f"levels {num_levels}: {resolution} px cannot be halved {num_levels - 1} times; give "
            f"--levels {most} or fewer, the pixels of each, or another --resolution"
        )
    return tuple(resolution >> i for i in range(num_levels))


def check_levels(levels: Sequence[int]) -> tuple[int, ...]:
    """Return ``levels`` as a tuple if they are positive and strictly falling; else raise."""
    given = np.asarray(levels)
    if given.ndim != 1 or not given.size or not _whole_numbers(given):
        raise InputError(f"levels {list(levels)}: must be a list of whole numbers of pixels")
    if given[-1] < 1 or (np.diff(given) >= 0).any():
        raise InputError(
            f"levels {list(levels)}: must be positive resolutions from the largest to the smallest"
        )
    return tuple(int(level) for level in given)


def check_noise_mode(noise_mode: str) -> str:
    """Return ``noise_mode`` if it is known; raise `InputError` otherwise."""
    if noise_mode not in NOISE_MODES:
        raise InputError(
            f"noise mode {noise_mode!r}: unknown; choose from {', '.join(NOISE_MODES)}"
        )
    return noise_mode


def _changes(resolutions: np.ndarray) -> dict[int, tuple[int, int]]:
    r = resolutions
    return {int(t): (int(r[t - 1]), int(r[t])) for t in np.flatnonzero(np.diff(r)) + 1}


def _change_gains(operator: str, resolutions: np.ndarray, blur: np.ndarray) -> np.ndarray:
    gains = np.ones(len(resolutions))
    for t, (before, after) in _changes(resolutions).items():
        own = (blur[t] - blur[t - 1]) * (before / resolutions[0]) ** 2
        gains[t] = lambda_max(operator, before, after, float(own))
    return gains


def _check_numbers(key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise InputError(f"{key}: must be a list of numbers")
    for i, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{key}[{i}]: must be a number, not {value!r}")


def _check_plan(plan: Any) -> None:
    """Refuse a plan of sampling (`theory.plan_sampling`) that holds something else than one."""
    if plan is None:
        return
    if not isinstance(plan, dict):
        raise InputError("derivation: plan must be an object")
    steps = plan.get("steps", [])
    _check_numbers("derivation: plan: steps", steps)
    if not _whole_numbers(np.asarray(steps)):
        raise InputError("derivation: plan: steps must be whole numbers")
    if not isinstance(plan.get("changes", ""), str):
        raise InputError("derivation: plan: changes must be a text")


def _whole_numbers(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.number) and bool((values == np.rint(values)).all())


def _refuse_first(wrong: np.ndarray, message: Any) -> None:
    if wrong.any():
        raise InputError(message(int(np.argmax(wrong))))
