"""One-line error messages of the command line."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator

from ..distributed import num_processes, process_index

_ORDER = " Arguments are applied to the directly preceding subcommand, so ordering can matter"


@contextlib.contextmanager
def parsing(command: str, program: str) -> Iterator[None]:
    """Context that turns tyro's multi-line error boxes for wrong arguments into one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as error:
        if error.code in (0, None):
            raise
        message = _condensed(said.getvalue())
        where = program if "Available subcommands" in message else command
        print_error(f"{message}; see `{where} --help`")
        sys.exit(2)


def print_error(message: object) -> None:
    """Print one line on standard error, with the process index if there are several."""
    which = f" (process {process_index()})" if num_processes() > 1 else ""
    print(f"ssd: error{which}: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def _condensed(box: str) -> str:
    """The error and the first suggestion in the text of a box, on one line."""
    drawn = "│" in box  # otherwise ASCII with a rule below the title
    sections: list[list[str]] = [[]]
    for line in box.splitlines():
        text = line.strip("│ ")
        if re.fullmatch("[─-]+", text):
            sections.append([])
        elif text and (line.startswith("│") or not drawn):
            sections[-1].append(text)
    first, *others = sections if drawn or len(sections) < 2 else sections[1:]
    message = re.sub(r" \(applied to .*?\)", "", " ".join(first)).rstrip(".")
    message = message.removesuffix(_ORDER)
    for section in others:
        if section and section[0].startswith("Perhaps you meant"):
            option = next((word for line in section for word in line.split() if "--" in word), "")
            message += f"; perhaps {option}" if option and option not in message else ""
        elif section and section[0].startswith("Available"):
            message += f"; {' '.join(section)}"
    return message or " ".join(box.split())
