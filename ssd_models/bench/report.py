"""Report of a benchmark, printed as text tables and written as JSON.

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
from theory.support.tables import Form, cell, cells, text_table

FORMAT = "scale-space-bench/1"

Row = Mapping[str, Any]  # JSON values; keys include the unit


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Parameters
    ----------
    key : str
        Key of the table in the JSON file.
    rows : sequence of mappings
        JSON values.
    caption : str
    forms : mapping
        How columns other than numbers and texts are printed, see `theory.support.tables.cells`;
        None for columns that are only written to the JSON file.
    """

    key: str
    rows: Sequence[Row]
    caption: str = ""
    forms: Mapping[str, Form] = field(default_factory=dict)

    def text(self) -> str:
        """Caption and aligned columns."""
        lines = text_table(cells(self.rows, self.forms))
        return f"{self.caption}\n{lines}" if self.caption else lines


@dataclass(frozen=True)
class Report:
    """Setting and results of a benchmark.

    Parameters
    ----------
    benchmark : str
        Name of the command.
    heading : str
        Text that says what was measured and how.
    setting : mapping
        Options, machine, precision and schedules (JSON values only).
    tables : sequence of Table
    facts : mapping
        Single numbers by name (JSON values only).
    """

    benchmark: str
    heading: str
    setting: Mapping[str, Any]
    tables: Sequence[Table] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Heading, tables and facts as text."""
        facts = "\n".join(f"{key.replace('_', ' ')}: {cell(v)}" for key, v in self.facts.items())
        return "\n\n".join(filter(None, [self.heading, *(t.text() for t in self.tables), facts]))

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
        """Write the JSON file (complete or not at all)."""
        with atomic_path(path) as temporary:
            temporary.write_text(
                json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8"
            )


def check_output(path: str | os.PathLike[str]) -> None:
    """Raise `InputError` unless a report can be written to the file."""
    if Path(path).suffix != ".json":
        raise InputError(f"{path}: must end in .json")
    check_writable(path)


def publish(measure: Callable[[], Report], output: str | os.PathLike[str] | None = None) -> None:
    """Measure, write the JSON file if ``output`` is given, and print the report.

    Raises
    ------
    InputError
        If the file cannot be written. This is checked before measuring.
    """
    if output is not None:
        check_output(output)
    report = measure()
    if output is not None:
        report.save(output)
    print(report.text())
