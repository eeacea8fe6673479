"""All metrics of generated against real images, with a baseline of real against real images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from theory.support.errors import InputError
from theory.support.progress import progress_bar
from theory.support.tables import text_table

from ..training.batches import ImageArray
from .checks import check_pair
from .efficientnet import efficientnet_distances
from .estimates import Estimate
from .frechet import frechet_scattering
from .neighbours import NAMES, memorization
from .octaves import octave_decibels_estimate
from .sliced_wasserstein import pyramid_sides, sliced_wasserstein

LEAST = 20  # fewest images of each kind
_REFERENCE, _BASELINE, _SAMPLED, _HELD_OUT = range(4)  # streams of random numbers

Metric = Callable[[np.ndarray, np.ndarray, int], Estimate]
"""Function of generated images, real images (uint8 (N, R, R, C) each) and a seed."""

METRICS: dict[str, Metric] = {
    "frechet_scattering": lambda sampled, real, seed: frechet_scattering(sampled, real),
    "sliced_wasserstein": sliced_wasserstein,
    "octave_decibels": lambda sampled, real, seed: octave_decibels_estimate(sampled, real),
}
"""Metrics that are always computed, in the order of `table`."""


def evaluate_images(
    sampled: np.ndarray,
    reference: ImageArray,
    training: ImageArray | None = None,
    held_out: np.ndarray | None = None,
    seed: int = 0,
    progress: bool = False,
    features: bool = False,
    baseline: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Compute all metrics of generated against real images, and their baseline.

    Distances of finite sets depend on their sizes, so equal numbers of images are compared: a
    random subset of the larger set is used. The baseline is the same distances between two disjoint
    sets of real images of that size, or of half the real images each if there are too few.

    Parameters
    ----------
    sampled : (N, R, R, C) uint8
        Generated images, at least 20.
    reference : (M, R, R, C) uint8
        Real images, at least 40.
    training, held_out : arrays of images, optional
        Images that the generating network was and was not trained on, for
        `ssd_models.metrics.neighbours.memorization`; computed only if both are given.
    seed : int
        Seed of the drawn images and of the patches and directions of `sliced_wasserstein`.
    progress : bool
        Show a bar on standard error.
    features : bool
        Add distances of pretrained features (`ssd_models.metrics.efficientnet`).
    baseline : dict, optional
        Entry ``baseline`` of an earlier result with the same ``reference``, number of generated
        images, ``seed`` and ``features``, which is then not computed again.

    Returns
    -------
    dict
        JSON values. ``counts``: number of images of each kind. ``seed``. ``metrics`` and
        ``baseline``: for each metric its ``value``, ``standard_error`` and ``interval`` (both ends
        of the 95 % interval), each a number, a list over octaves or a mapping of names to numbers;
        None stands for numbers that are not finite.

    Raises
    ------
    InputError
        If images differ in size or channels, or are too few.
    """
    if len(sampled) < LEAST or len(reference) < 2 * LEAST:
        raise InputError(
            f"evaluation: needs at least {LEAST} generated and {2 * LEAST} real images, got "
            f"{len(sampled)} and {len(reference)}"
        )
    count = min(len(sampled), len(reference))
    real = _chosen(reference, count, [seed, _REFERENCE])
    check_pair(sampled, real, LEAST)
    # In random order: jackknife groups must not hold single classes of samples made in turn.
    own = _chosen(sampled, count, [seed, _SAMPLED])
    counts = {"sampled": count, "reference": count}
    half = min(count, len(reference) // 2)
    with progress_bar(total=3, desc="measure", unit="step", shown=progress) as bar:
        metrics = distances(own, real, seed, features)
        bar.update()
        if training is not None and held_out is not None:
            others = _chosen(held_out, len(held_out), [seed, _HELD_OUT])
            found = memorization(own, others, training)
            metrics["memorization"] = _named(found, NAMES)
            counts |= {"training": len(training), "held_out": len(held_out)}
        bar.update()
        if baseline is None:
            both = _chosen(reference, 2 * half, [seed, _BASELINE])
            baseline = distances(both[::2], both[1::2], seed, features)
        bar.update()
    return {
        "counts": {**counts, "baseline": half},
        "seed": seed,
        "metrics": metrics,
        "baseline": baseline,
    }


def distances(
    sampled: np.ndarray, real: np.ndarray, seed: int = 0, features: bool = False
) -> dict[str, Any]:
    """Distances between two sets of equally many images, in the format of `evaluate_images`."""
    found = {name: metric(sampled, real, seed) for name, metric in METRICS.items()}
    if features:
        found |= efficientnet_distances(sampled, real)
    names = {"sliced_wasserstein": [*map(str, pyramid_sides(real.shape[1])), "mean"]}
    return {
        name: _named(estimate, names[name]) if name in names else _plain(estimate)
        for name, estimate in found.items()
    }


def table(result: dict[str, Any]) -> str:
    """Text table of a result of `evaluate_images`, with 95 % intervals.

    The optional entries ``denoising`` and ``changes`` (rows of `ssd_models.metrics.denoising`) and
    ``inception`` (`ssd_models.metrics.inception`) of ``result`` are shown too.
    """
    counts = result["counts"]
    shown = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    lines = [f"images: {shown}; seed {result['seed']}"]
    if counts["baseline"] < counts["sampled"]:
        lines.append(
            f"real/real: of {counts['baseline']} images each, fewer than compared, so too large"
        )
    rows = [["metric", "value", "95 % from", "to", "real/real"]]
    for name, estimate in result["metrics"].items():
        for label, *values in metric_rows(name, estimate, result["baseline"].get(name)):
            rows.append([label, *("-" if v is None else f"{v:.3f}" for v in values)])
    lines += ["", text_table(rows)]
    if found := result.get("denoising"):
        rows = [["step", "level", "error", "± 1.96 se", "linear"]]
        for row in found:
            numbers = (row["error"], 1.96 * row["standard_error"], row.get("linear"))
            cells = ("-" if v is None else f"{v:.3g}" for v in numbers)
            rows.append([str(row["step"]), str(row["level"]), *cells])
        title = "error on held-out images, per value of a pixel; linear: best linear denoiser"
        lines += ["", title, text_table(rows)]
    if found := result.get("changes"):
        rows = [["step", "change", "all frequencies", "new octave"]]
        for row in found:
            parts = (row["all"], row["new_octave"])
            cells = (f"{p['over_linear']:.3f} ± {1.96 * p['standard_error']:.3f}" for p in parts)
            rows.append([str(row["step"]), f"{row['from']} -> {row['to']}", *cells])
        lines += [
            "",
            "error at changes of resolution, relative to the best linear denoiser's",
            text_table(rows),
        ]
    if found := result.get("inception"):
        lines += ["", "inception: " + ", ".join(f"{k} {v}" for k, v in found.items())]
    return "\n".join(lines)


def metric_rows(name: str, estimate: dict[str, Any], base: dict[str, Any] | None) -> list[tuple]:
    """Rows (label, value, lower end, upper end, real/real value), one for each number."""
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
    """Draw ``count`` of the images without replacement."""
    return images[np.random.default_rng(seed).permutation(len(images))[:count]]


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": _finite(estimate.value.tolist()),
        "standard_error": _finite(estimate.standard_error.tolist()),
        "interval": _finite(estimate.interval.tolist()),
    }


def _named(estimate: Estimate, names: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """`_plain` of a vector, as mappings of names to entries."""

    def by_name(values: np.ndarray) -> dict[str, Any]:
        return dict(zip(names, _finite(values.tolist()), strict=True))

    return {
        "value": by_name(estimate.value),
        "standard_error": by_name(estimate.standard_error),
        "interval": [by_name(end) for end in estimate.interval],
    }


def _finite(values: Any) -> Any:
    """Replace infinity and NaN, which JSON lacks, by None in a number or nested list."""
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if math.isfinite(values) else None
