"""What a benchmark reports: plain numbers, printed as tables and written as JSON from one source.

Imports no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from theory.support.errors import InputError
from theory.support.files import atomic_path, check_writable

FORMAT = "scale-space-bench/1"

Row = Mapping[str, Any]  # JSON values by column key


@dataclass(frozen=True)
class Column:
    """Values of one kind: their key in the JSON (with the unit), and how they are printed."""

    key: str
    title: str
    form: str | Callable[[Any], str] = "s"  # format specification, or a function

    def cell(self, row: Row) -> str:
        """Text of a row's value; a dash where it has none."""
        value = row.get(self.key)
        if value is None:
            return "-"
        return self.form(value) if callable(self.form) else format(value, self.form)


@dataclass(frozen=True)
class Table:
    """Rows of one kind under a key of the JSON; rows may hold more than the columns print."""

    key: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""

    def text(self) -> str:
        """Aligned columns, the first to the left, the others to the right."""
        cells = [[column.title for column in self.columns]]
        cells += [[column.cell(row) for column in self.columns] for row in self.rows]
        first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
        lines = [
            "  ".join([name.ljust(first), *map(str.rjust, values, others)]).rstrip()
            for name, *values in cells
        ]
        return "\n".join([self.caption, *lines] if self.caption else lines)


@dataclass(frozen=True)
class Report:
    """What was measured, how, and what was found.

    Parameters
    ----------
    benchmark : str
        Name of the command.
    heading : str
        What was measured and how, in words.
    setting : mapping
        The same for machines: options, machine, precision, schedules (JSON values only).
    tables : sequence of Table
    facts : mapping
        Single numbers by name (JSON values only).
    lines : sequence of str
        Sentences with the facts, as templates of `str.format`: ``"{rate:.1f} images/s"``.
    """

    benchmark: str
    heading: str
    setting: Mapping[str, Any]
    tables: Sequence[Table] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()

    def text(self) -> str:
        """All that is printed."""
        parts = [self.heading, *(table.text() for table in self.tables)]
        if self.lines:
            parts.append("\n".join(line.format(**self.facts) for line in self.lines))
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Content of the JSON file: tables and facts by name under ``results``."""
        tables = {table.key: [dict(row) for row in table.rows] for table in self.tables}
        return {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "heading": self.heading,
            "setting": dict(self.setting),
            "results": {**tables, **self.facts},
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, complete or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(
                json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8"
            )


def check_output(path: str | os.PathLike[str]) -> None:
    """Refuse a file that a report cannot be written to, before it is measured."""
    if Path(path).suffix != ".json":
        raise InputError(f"{path}: must end in .json")
    check_writable(path)


def publish(measure: Callable[[], Report], output: str | os.PathLike[str] | None = None) -> None:
    """Measure, write the JSON file if one is named, and print.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is measured then.
    """
    if output is not None:
        check_output(output)
    report = measure()
    if output is not None:
        report.save(output)
    print(report.text())
