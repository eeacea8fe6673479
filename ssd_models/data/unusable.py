"""Images that cannot be used: the exception, the record of one left out, the error message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from theory.support.errors import InputError

ENOUGH = 100  # unusable images after which a pass is given up
_LISTED = 5  # unusable images that a message names


class Unusable(Exception):
    """A picture cannot be used.

    Parameters
    ----------
    reason
        Why, for a message.
    side
        Its short side in pixels, if its size is the reason.
    """

    def __init__(self, reason: str, side: int | None = None):
        super().__init__(reason)
        self.side = side


@dataclass(frozen=True)
class Skipped:
    """Record of an image that cannot be used."""

    index: int  # position in its source
    name: str
    reason: str
    side: int | None = field(default=None, repr=False, compare=False)  # short side, if too small

    def __str__(self) -> str:
        text = f"{self.name} ({self.reason})"
        return " ".join(text.splitlines())  # names and PIL's messages may hold line breaks


class NoneUsable(InputError):
    """None of the images of a pass can be used."""


def smaller(side: int) -> str:
    """What to do about images whose short side is smaller than the resolution."""
    return f"choose --resolution {side} or less (`ssd spectrum`, `ssd prepare`)"


def refusal(
    data: str, unusable: Sequence[Skipped], examined: int, total: int, resolution: int
) -> str:
    """Error message about unusable images.

    Parameters
    ----------
    data
        Name of the dataset.
    unusable
        The images found, at least one; the first few are named.
    examined, total
        Number of images that were looked at, and number of all images.
    resolution
        Pixels to a side that were asked for.
    """
    listed = ", ".join(str(image) for image in unusable[:_LISTED])
    more = f" and {len(unusable) - _LISTED} more" if len(unusable) > _LISTED else ""
    of = str(total) if examined == total else f"first {examined} of {total}"
    remedy = "remove or replace them"
    if len(unusable) < examined:
        remedy += ", or leave them out with --skip-bad (`ssd spectrum`, `ssd prepare`, `ssd train`)"
    if sides := [image.side for image in unusable if image.side]:
        remedy = f"{smaller(min(*sides, resolution))}, or {remedy}"
    return f"{data}: {len(unusable)} of the {of} images cannot be used: {listed}{more}; {remedy}"
