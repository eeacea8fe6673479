"""Common style of all figures: widths, font sizes, colours safe for colour blindness."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

COLUMN, PAGE = 3.4, 7.0  # widths in inches: one column of a paper, two columns
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
FULL, PAPER, MATCHED, DERIVED = "#666666", "#D55E00", "#E69F00", "#0072B2"  # colours of schedules
FOLDER = Path(__file__).parent  # output folder


def new_figure(width: float = COLUMN, height: float = 2.5) -> Figure:
    """Return an empty figure in the common style; sizes in inches."""
    import matplotlib as mpl

    mpl.rcParams.update(
        {
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "legend.fontsize": 7,
            "lines.linewidth": 1.3,
            "pdf.fonttype": 42,
        }
    )
    return Figure(figsize=(width, height), layout="constrained")


def decibel_label(value: float, sign: str = "-") -> str:
    """Format a value as whole decibels; with ``sign`` "+" positive values get a plus sign."""
    return f"{value:{sign}.0f} dB".replace("-", "\N{MINUS SIGN}")


def save(figure: Figure, name: str) -> None:
    """Write ``name``.png and ``name``.pdf."""
    figure.savefig(FOLDER / f"{name}.png", dpi=200)
    figure.savefig(FOLDER / f"{name}.pdf", metadata={"CreationDate": None})


def save_table(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write ``name``.csv, the numbers of a figure, to six digits."""
    with open(FOLDER / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])


def save_curves(name: str, curves: Mapping[str, np.ndarray], every: int = 20) -> None:
    """Write ``name``.csv of curves over steps: each ``every``-th step and the last."""
    steps = len(next(iter(curves.values())))
    shown = sorted({*range(0, steps, every), steps - 1})
    rows = ([t, *(float(values[t]) for values in curves.values())] for t in shown)
    save_table(name, ["t", *curves], rows)
