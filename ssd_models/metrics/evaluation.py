"""All distances between generated and real images at once, with what two real sets give."""

from __future__ import annotations

from typing import Any

import numpy as np

from theory.errors import InputError

from ..training.batches import ImageArray
from .checks import check_pair
from .estimates import Estimate
from .frechet import frechet_scattering
from .neighbours import NAMES, memorization
from .octaves import octave_decibels_estimate
from .sliced_wasserstein import pyramid_sides, sliced_wasserstein

LEAST = 20  # images of each kind
_REFERENCE, _BASELINE = range(2)  # streams of random numbers


def evaluate_images(
    sampled: np.ndarray,
    reference: ImageArray,
    training: ImageArray | None = None,
    held_out: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure generated images against real ones.

    As many real images as generated ones are drawn, as distances of finite sets depend on their
    sizes; the baseline is the same distances between two disjoint sets of real images of that size,
    or of half the real images where there are too few.

    Parameters
    ----------
    sampled : (N, R, R, C) uint8
    reference : (M, R, R, C) uint8
        Real images, 40 or more.
    training, held_out : arrays of images, optional
        For `memorization`: what the generating network was trained on, and what it never saw.
    seed : int
        Of the choice, and of patches and directions.

    Returns
    -------
    dict
        Plain numbers: ``counts``, ``seed``, ``metrics`` and ``baseline``, by the name of the metric
        its ``value``, ``standard_error`` and ``interval`` (95 %), each a number, a list over
        octaves or an object.

    Raises
    ------
    InputError
        If images do not fit, or are fewer than 20 of either kind.
    """
    if len(sampled) < LEAST or len(reference) < 2 * LEAST:
        raise InputError(
            f"evaluation: needs at least {LEAST} generated and {2 * LEAST} real images, got "
            f"{len(sampled)} and {len(reference)}"
        )
    count = min(len(sampled), len(reference))
    real = _chosen(reference, count, [seed, _REFERENCE])
    check_pair(sampled, real, LEAST)
    metrics = distances(sampled[:count], real, seed)
    counts = {"sampled": count, "reference": count}
    if training is not None and held_out is not None:
        found = memorization(sampled[:count], held_out, training)
        metrics["memorization"] = _named(found, NAMES)
        counts |= {"training": len(training), "held_out": len(held_out)}
    half = min(count, len(reference) // 2)
    both = _chosen(reference, 2 * half, [seed, _BASELINE])
    return {
        "counts": {**counts, "baseline": half},
        "seed": seed,
        "metrics": metrics,
        "baseline": distances(both[::2], both[1::2], seed),
    }


def distances(sampled: np.ndarray, real: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Every distance between two sets of as many images, as `evaluate_images` returns them."""
    sides = [str(side) for side in pyramid_sides(real.shape[1])]
    return {
        "frechet_scattering": _plain(frechet_scattering(sampled, real)),
        "sliced_wasserstein": _named(sliced_wasserstein(sampled, real, seed), [*sides, "mean"]),
        "octave_decibels": _plain(octave_decibels_estimate(sampled, real)),
    }


def table(result: dict[str, Any]) -> str:
    """The numbers of `evaluate_images` for reading, with 95 % intervals."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in
                       result["counts"].items())  # fmt: skip
    lines = [f"images: {counts}; seed {result['seed']}", ""]
    lines.append(f"{'metric':34s} {'value':>9s} {'95 % interval':>21s} {'real/real':>10s}")
    for name, estimate in result["metrics"].items():
        base = result["baseline"].get(name)
        for label, value, low, high, real in _rows(name, estimate, base):
            shown = "" if real is None else f"{real:10.3f}"
            lines.append(f"{label:34s} {value:9.3f} {low:10.3f} {high:10.3f} {shown}".rstrip())
    if rows := result.get("denoising"):
        lines += [
            "",
            "error on held-out images, per value of a pixel, beside the best linear one's",
        ]
        lines.append(
            f"{'step':>6s} {'level':>6s} {'error':>10s} {'± 1.96 se':>10s} {'linear':>10s}"
        )
        for row in rows:
            linear = f"{row['linear']:10.3g}" if "linear" in row else ""
            lines.append(
                f"{row['step']:6d} {row['level']:6d} {row['error']:10.3g} "
                f"{1.96 * row['standard_error']:10.2g} {linear}".rstrip()
            )
    if found := result.get("inception"):
        lines += ["", "inception: " + ", ".join(f"{k} {v}" for k, v in found.items())]
    return "\n".join(lines)


def _rows(name: str, estimate: dict[str, Any], base: dict[str, Any] | None) -> list[tuple]:
    label, value = name.replace("_", " "), estimate["value"]
    low, high = estimate["interval"]
    real = None if base is None else base["value"]
    if isinstance(value, dict):
        return [
            (
                f"{label}, {key}",
                value[key],
                low[key],
                high[key],
                None if real is None else real[key],
            )
            for key in value
        ]
    if isinstance(value, list):
        return [
            (f"{label}, octave {i + 1}", *cells, None if real is None else real[i])
            for i, cells in enumerate(zip(value, low, high, strict=True))
        ]
    return [(label, value, low, high, real)]


def _chosen(images: ImageArray, count: int, seed: list[int]) -> np.ndarray:
    """So many of the images, at random."""
    return images[np.random.default_rng(seed).permutation(len(images))[:count]]


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value.tolist(),
        "standard_error": estimate.standard_error.tolist(),
        "interval": estimate.interval.tolist(),
    }


def _named(estimate: Estimate, names: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """`_plain` with the entries of a vector by name."""

    def by_name(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return {
        "value": by_name(estimate.value),
        "standard_error": by_name(estimate.standard_error),
        "interval": [by_name(end) for end in estimate.interval],
    }
