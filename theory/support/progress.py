"""Progress on standard error: a bar in a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

_SECONDS = 30.0  # between lines if standard error is not a terminal
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} gone, {remaining} to go, {rate_fmt}{postfix}"


class _Lines:
    """File that writes each update of a progress bar as a line of its own."""

    encoding = "utf-8"

    def __init__(self, file: TextIO):
        self._file, self._last = file, ""

    def write(self, text: str) -> int:
        """Write the text as a line, unless it equals the last one."""
        line = text.strip("\r\n ")
        if "? to go" in line:  # nothing is done yet
            line = line.partition(", 00:00 gone")[0]
        if line and line != self._last:
            self._file.write(line + "\n")
            self._last = line
        return len(text)

    def flush(self) -> None:
        """Flush the underlying file."""
        self._file.flush()


def progress_bar(
    iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any
) -> tqdm:
    """Make a `tqdm` bar; if standard error is not a terminal it writes a line every half minute.

    Parameters
    ----------
    iterable : iterable, optional
        What the bar iterates over.
    shown : bool
        False disables all output.
    **options
        Options of `tqdm`: ``total``, ``initial``, ``desc``, ``unit``, ``leave``.
    """
    if not shown or sys.stderr.isatty():
        return tqdm(iterable, disable=not shown, **options)
    return tqdm(
        iterable,
        file=_Lines(sys.stderr),
        bar_format=_LINE,
        mininterval=_SECONDS,
        maxinterval=2 * _SECONDS,
        miniters=1,
        **options,
    )
