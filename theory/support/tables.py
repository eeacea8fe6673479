"""Tables as aligned text and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any

Form = Callable[[Any], str] | None  # how a value is shown; None leaves its column out


def cells(
    rows: Sequence[Mapping[str, Any]], forms: Mapping[str, Form] | None = None
) -> list[list[str]]:
    """Cells of a table of rows; the first row is its head.

    Parameters
    ----------
    rows : sequence of mappings
        Values by key. Keys are the titles, with spaces for underscores; a row without a value, or
        with None, gets a dash.
    forms : mapping, optional
        By key, a function from value to text, or None to leave the column out. By default numbers
        have four significant digits.
    """
    forms = forms or {}
    keys = [key for key in dict.fromkeys(k for row in rows for k in row) if forms.get(key, cell)]
    head = [key.replace("_", " ") for key in keys]
    return [head, *([_shown(row.get(key), forms.get(key, cell)) for key in keys] for row in rows)]


def cell(value: Any) -> str:
    """A value as text: numbers of four significant digits, yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shown(value: Any, form: Form) -> str:
    return (form(value) if form and value is not None else "") or "-"


def text_table(rows: Sequence[Sequence[str]], longest: int = 12) -> str:
    """Aligned columns, the first to the left, the others to the right.

    Parameters
    ----------
    rows : sequence of rows of cells
        The first row is the head.
    longest : int
        Characters of a line of the head; longer titles are wrapped between words.
    """
    titles = [wrap(title, longest, break_long_words=False)[::-1] for title in rows[0]]
    head = list(zip_longest(*titles, fillvalue=""))[::-1]  # aligned at the last line
    lines = [*head, *rows[1:]]
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([name.ljust(first), *map(str.rjust, values, others)]).rstrip()
        for name, *values in lines
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Lines of a Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
