"""HTML page of an evaluation: samples beside real images, metrics, power by octave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from theory.plots import html
from theory.spectrum.bands import octave_edges

from ..training.batches import ImageArray
from .estimates import half_width
from .evaluation import metric_rows

_SHOWN = 36  # most images of each kind
_BUDGET = 1_200_000  # characters for the images of one kind, about
_COLUMNS = 6
_TOLD: tuple[str, ...] = ("model", "images", "data", "seed")
_BLUE, _GREY = "#0072B2", "#666666"


def evaluation_page(result: dict[str, Any], samples: np.ndarray, real: ImageArray) -> str:
    """Self-contained HTML page of an evaluation, below 3 MB.

    Parameters
    ----------
    result : dict
        Result of `ssd_models.metrics.evaluation.evaluate_images`, with the entries that
        `ssd evaluate` adds.
    samples : (N, R, R, C) uint8
        Generated images; at most the first 36 are shown.
    real : (M, R, R, C) uint8
        Real images; at most 36, at evenly spaced indices, are shown.
    """
    what = str(result.get("model") or result.get("images") or "generated images")
    data, counts = str(result.get("data", "real images")), result["counts"]
    sections = {"summary": ("In short", _summary(result))}
    sections["images"] = ("Samples beside real images", _images(samples, real, data))
    sections["metrics"] = ("Distances and their floors", _metrics(result))
    sections["octaves"] = ("Power per octave", octaves_chart({"samples": result}, samples.shape[1]))
    if result.get("denoising"):
        sections["denoising"] = ("Errors on held-out images", _denoising(result["denoising"]))
    if result.get("changes"):
        sections["changes"] = ("Errors at changes of resolution", _changes(result["changes"]))
    if found := result.get("inception"):
        rows = [[str(name), _shown(value)] for name, value in found.items()]
        sections["inception"] = ("Inception metrics", html.table(["metric", "value"], rows))
    sections["setting"] = ("Setting", _setting(result))
    return html.page(
        f"Evaluation of {what}",
        f"{counts['sampled']:,} generated images against as many real ones of {data}.",
        sections,
        "Made by scale-space-diffusion.",
    )


def gallery_uris(images: np.ndarray) -> list[str]:
    """Data URIs of the first images, as many as fit a page."""
    uris: list[str] = []
    for image in images[:_SHOWN]:
        uris.append(html.data_uri(image))
        if sum(map(len, uris)) > _BUDGET:
            break
    return uris


def octaves_chart(results: Mapping[str, dict[str, Any]], resolution: int) -> str:
    """Chart of the power of samples relative to real images in each octave, one curve per result.

    ``results`` maps the name of a curve to a result of
    `ssd_models.metrics.evaluation.evaluate_images`.
    """
    edges = octave_edges(resolution)
    names = [f"{low}–{high - 1}" for low, high in pairwise(edges)]
    floor = next(iter(results.values())).get("baseline", {}).get("octave_decibels")

    def draw(figure: Any, axes: Any) -> None:
        places = np.arange(len(names))
        axes.axhline(0, color=_GREY, lw=0.8)
        if floor is not None:
            low, high = (floats(end) for end in floor["interval"])
            axes.fill_between(places, low, high, color=_GREY, alpha=0.25, lw=0, label="real/real")
        for i, (name, result) in enumerate(results.items()):
            found = result["metrics"]["octave_decibels"]
            value = floats(found["value"])
            spread = half_width(np.nan_to_num(floats(found["standard_error"])))
            moved = places + (i - (len(results) - 1) / 2) * 0.05
            axes.errorbar(moved, value, spread, fmt="o-", ms=3.5, lw=1, color=f"C{i}", label=name)
        axes.set_xticks(places, names)
        axes.set(xlabel="octave, DCT index", ylabel="dB over the data's")
        html.legend_above(axes)

    return html.chart(
        draw,
        "Power of the samples over that of the real images, octave by octave, with 95 % intervals; "
        "0 dB is right. Grey: the interval of two sets of real images.",
    )


def metric_table(result: dict[str, Any]) -> str:
    """HTML table of all metrics with 95 % intervals and the real/real baseline."""
    rows = []
    for name, estimate in result["metrics"].items():
        for label, value, low, high, real in metric_rows(
            name, estimate, result["baseline"].get(name)
        ):
            rows.append([label, _shown(value), f"{_shown(low)} … {_shown(high)}", _shown(real)])
    return html.table(["metric", "value", "95 % interval", "real/real"], rows)


def _summary(result: dict[str, Any]) -> str:
    metrics, baseline = result["metrics"], result["baseline"]
    frechet, floor = metrics["frechet_scattering"], baseline["frechet_scattering"]
    sliced = metrics["sliced_wasserstein"]["value"]["mean"]
    values = {
        "Fréchet distance of scattering features": _shown(frechet["value"]),
        "the same between two sets of real images": _shown(floor["value"]),
        "sliced Wasserstein distance, mean over levels": _shown(sliced),
    }
    octaves = [v for v in metrics["octave_decibels"]["value"] if v is not None]
    if octaves:
        values["octave whose power is farthest off"] = html.decibels(max(octaves, key=abs))
    if "memorization" in metrics:
        ratio = metrics["memorization"]["value"]["ratio"]
        values["distance to the nearest training image over held-out images'"] = _shown(ratio)
    return html.tiles(values)


def _images(samples: np.ndarray, real: ImageArray, data: str) -> str:
    places = np.unique(np.linspace(0, len(real) - 1, min(_SHOWN, len(real))).astype(int))
    size = f"{samples.shape[1]} × {samples.shape[1]} px"
    made, found = gallery_uris(samples), gallery_uris(np.asarray(real[places]))
    return html.blocks(
        [
            html.gallery("samples", "Samples", f"{size}, the first {len(made)}", made, _COLUMNS),
            html.gallery("real", "Real images", f"{size}, of {data}", found, _COLUMNS),
        ]
    )


def _metrics(result: dict[str, Any]) -> str:
    counts = result["counts"]
    note = (
        "Real/real is the same distance between two disjoint sets of "
        f"{counts['baseline']:,} real images each: the floor, as finite sets always differ."
    )
    if counts["baseline"] < counts["sampled"]:
        note += " They are fewer than the images compared, which makes the floor too high."
    return html.paragraph(note) + metric_table(result)


def _denoising(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            str(row["step"]),
            f"{row['level']} px",
            f"{row['error']:.3g}",
            f"{1.96 * row['standard_error']:.2g}",
            f"{row['linear']:.3g}" if "linear" in row else "",
            f"{row['error'] / row['linear']:.3f}" if row.get("linear") else "",
        ]
        for row in rows
    ]
    head = ["step", "level", "error", "± 95 %", "best linear", "error over linear"]
    return html.paragraph(
        "Squared error of the clean prediction, per value of a pixel, beside the best linear "
        "denoiser's. A network that has learned more than the spectrum lies below 1 in the last "
        "column."
    ) + html.table(head, cells)


def _changes(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            f"{row['from']} → {row['to']} px",
            str(row["step"]),
            *(
                f"{row[band]['over_linear']:.3f} ± {1.96 * row[band]['standard_error']:.3f}"
                for band in ("all", "new_octave")
            ),
        ]
        for row in rows
    ]
    return html.paragraph(
        "Squared error over the best linear denoiser's on the same states, with 95 % intervals."
    ) + html.table(["change", "step", "all frequencies", "the new octave"], cells)


def _setting(result: dict[str, Any]) -> str:
    told: dict[str, Any] = {name: result[name] for name in _TOLD if name in result}
    told |= result.get("sampling", {})
    told |= {f"{name.replace('_', ' ')} images": n for name, n in result["counts"].items()}
    rows = [[name, "default" if value is None else str(value)] for name, value in told.items()]
    return html.table(["setting", "value"], rows)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return html.signed(f"{value:.3f}") if isinstance(value, float) else str(value)


def floats(values: Sequence[float | None]) -> np.ndarray:
    """Array of numbers read from JSON, with NaN for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)
