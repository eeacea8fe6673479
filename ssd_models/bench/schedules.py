"""Schedules that benchmarks compare: one level (DDPM), the paper's, and a derived one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from theory.oracle.sampler import Sampler
from theory.schedule.derivation import derive_schedule
from theory.schedule.levels import halved_levels
from theory.schedule.noise import NoiseSchedule
from theory.schedule.paper import PAPER
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

PathSize = tuple[int, int]  # resolution of the state and of the prediction, pixels

ONE_LEVEL = "one level (DDPM)"
PAPERS = "paper's schedule, its noise"
_TOLERANCE = 0.1
DERIVED = f"derived, snr <= {_TOLERANCE:g}"

# Variance of a pixel of the built-in photographs: 0.24 in each of three channels, nearly all of it
# in one colour component. With a power law of exponent 2 this gives changes at 351, 486, 606 for
# 64 px; the photographs' own spectrum gives 365, 515, 628.
_PIXEL_VARIANCE = 0.7


def one_level(resolution: int) -> ResolutionSchedule:
    """DDPM: all 1000 steps at full resolution."""
    return ResolutionSchedule.full_resolution(resolution, NoiseSchedule.linear())


def paper(resolution: int, levels: int) -> ResolutionSchedule:
    """The paper's schedule with its noise, of 1000 steps."""
    return ResolutionSchedule.paper(resolution, levels, PAPER, NoiseSchedule.linear())


def derived(spectrum: Spectrum, levels: int, tolerance: float = _TOLERANCE) -> ResolutionSchedule:
    """Schedule of criterion "snr" with matched noise, of 1000 steps."""
    sizes = halved_levels(spectrum.resolution, levels)
    return derive_schedule(
        spectrum, NoiseSchedule.linear(), sizes, tolerance=tolerance, criterion="snr"
    )


def photograph_like(resolution: int, exponent: float) -> Spectrum:
    """Power-law spectrum with the power of photographs' strongest colour component."""
    return Spectrum.power_law(resolution, exponent, _PIXEL_VARIANCE)


def loaded(path: str, resolution: int) -> ResolutionSchedule:
    """Schedule of a file; `InputError` if it has another resolution."""
    schedule = ResolutionSchedule.load(path)
    if schedule.resolution != resolution:
        raise InputError(
            f"{path}: has resolution {schedule.resolution}, not {resolution}; give --resolution "
            f"{schedule.resolution}"
        )
    return schedule


def network_levels(levels: int, chains: Iterable[ResolutionSchedule]) -> int:
    """Number of levels of a network for all of ``chains``, at least ``levels``."""
    lowest = (chain.resolution // min(chain.levels) for chain in chains)  # powers of two
    return max(levels, *(factor.bit_length() for factor in lowest))


def path_calls(
    schedule: ResolutionSchedule, steps: Sequence[int], changes: str | None = None
) -> Counter[PathSize]:
    """Count the network calls on each path of a chain through falling ``steps``.

    ``changes`` as in `theory.Sampler`; by default what fits the schedule.
    """
    sides = schedule.resolutions[list(steps)].tolist()
    if Sampler(changes=changes).on(schedule).free:
        return Counter((side, side) for side in sides)
    return Counter(pairwise([*sides, schedule.resolution]))


def total_cost(calls: Mapping[PathSize, float], costs: Mapping[PathSize, float]) -> float:
    """Sum over paths of the number (or share) of calls times the cost of a call."""
    return float(sum(count * costs[path] for path, count in calls.items()))


def changes_text(schedule: ResolutionSchedule) -> str:
    """Changes of resolution as text, such as ``438: 64->32, 750: 32->16``."""
    changes = schedule.changes.items()
    return ", ".join(f"{t}: {a}->{b}" for t, (a, b) in changes) or "no changes"


def changes_json(schedule: ResolutionSchedule) -> dict[str, list[int]]:
    """Changes of resolution as a JSON value, ``{"438": [64, 32], …}``."""
    return {str(t): list(sides) for t, sides in schedule.changes.items()}
