"""One look for all figures: column width, readable type, colours safe for colour blindness."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLUMN = 3.4  # inches: one column of a paper
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
HERE = Path(__file__).parent


def new_figure(width: float = COLUMN, height: float = 2.5) -> Figure:
    """Return an empty figure in the common style, sizes in inches."""
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


def save(figure: Figure, name: str, folder: Path = HERE) -> None:
    """Write ``name``.png and ``name``.pdf."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=200)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})


def save_table(
    name: str, header: Sequence[str], rows: Iterable[Sequence[Any]], folder: Path = HERE
) -> None:
    """Write ``name``.csv: the numbers that the figure draws."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Lines of a Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
