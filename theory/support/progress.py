"""Progress on standard error: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

_SECONDS = 30.0  # between lines where standard error is no terminal
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} gone, {remaining} to go, {rate_fmt}{postfix}"


class _Lines:
    """Makes lines of what redraws one."""

    encoding = "utf-8"

    def __init__(self, file: TextIO):
        self._file, self._last = file, ""

    def write(self, text: str) -> int:
        """Write the text as a line, unless it is what was written last."""
        line = text.strip("\r\n ")
        if line and line != self._last:
            self._file.write(line + "\n")
            self._last = line
        return len(text)

    def flush(self) -> None:
        """Flush the file behind it."""
        self._file.flush()


def progress_bar(
    iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any
) -> tqdm:
    """Make a `tqdm` bar; where standard error is no terminal it writes a line each half minute.

    Parameters
    ----------
    iterable : iterable, optional
        To go through.
    shown : bool
        Whether there is anything to see.
    **options
        Of `tqdm`: ``total``, ``initial``, ``desc``, ``unit``, ``leave``.
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
