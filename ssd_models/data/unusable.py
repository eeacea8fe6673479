"""Images that cannot be used: as records of what was left out, and in the words of a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from theory.support.errors import InputError

ENOUGH = 100  # unusable images after which a pass is given up
_LISTED = 5  # unusable images that a message names


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be used."""

    index: int  # position in its source
    name: str
    reason: str
    side: int | None = field(default=None, repr=False, compare=False)  # if its size is at fault

    def __str__(self) -> str:
        text = f"{self.name} ({self.reason})"
        return " ".join(text.splitlines())  # names and PIL's words may hold line breaks


class NoneUsable(InputError):
    """All images of a pass had to be skipped."""


def smaller(side: int) -> str:
    """What to do where images are smaller than the resolution."""
    return f"choose --resolution {side} or less (`ssd spectrum`, `ssd prepare`)"


def refusal(
    data: str, unusable: Sequence[Skipped], examined: int, total: int, resolution: int
) -> str:
    """Message about the unusable ones among ``examined`` of ``total`` images."""
    listed = ", ".join(str(image) for image in unusable[:_LISTED])
    more = f" and {len(unusable) - _LISTED} more" if len(unusable) > _LISTED else ""
    of = str(total) if examined == total else f"first {examined} of {total}"
    remedy = "remove or replace them"
    if len(unusable) < examined:
        remedy += ", or leave them out with --skip-bad"
    if sides := [image.side for image in unusable if image.side]:
        remedy = f"{smaller(min(*sides, resolution))}, or {remedy}"
    return f"{data}: {len(unusable)} of the {of} images cannot be used: {listed}{more}; {remedy}"
