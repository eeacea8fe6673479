"""What several commands share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from ..data.forms import DATA_HELP, IMAGE_RULE
from ..distributed import process_index

if TYPE_CHECKING:
    from ..data.unusable import Skipped

Output = Annotated[str, arg(aliases=["-o"], metavar="PATH")]
OptionalOutput = Annotated[str | None, arg(aliases=["-o"], metavar="PATH")]
OptionalPath = Annotated[str | None, arg(metavar="PATH")]
File = Annotated[str, arg(metavar="FILE")]
Run = Annotated[str, arg(name="run", metavar="[RUN]")]
SpectrumFile = Annotated[str, arg(metavar="SPECTRUM")]
SpectrumFiles = Annotated[tuple[str, ...], arg(metavar="SPECTRUM [SPECTRUM ...]")]
ReportOutput = Annotated[
    str | None,
    arg(aliases=["-o"], metavar="PATH", help="JSON file for the same numbers, with their setting."),
]
Data = Annotated[str, arg(metavar="DATA", help=DATA_HELP)]
OptionalData = Annotated[
    str | None,
    arg(
        metavar="DATA",
        help=f"{DATA_HELP} {IMAGE_RULE} By default the data that the schedule was derived from.",
    ),
]
Resolution = Annotated[
    int | None,
    arg(
        metavar="R",
        help="Side in pixels; by default the largest that the images have, up to 256, and that a "
        f"network can halve often enough. {IMAGE_RULE}",
    ),
]
Limit = Annotated[int | None, arg(help="Use that many images, chosen at random.")]
Seed = Annotated[int, arg(help="Of that choice, and of built-in images.")]
SkipBad = Annotated[
    bool, arg(help="Leave out images that cannot be used, and say which, instead of refusing them.")
]


def chosen_resolution(
    resolution: int | None, data: str, limit: int | None, seed: int, skip_bad: bool
) -> int:
    """The resolution that is asked for, or the data's own, which is said."""
    if resolution is not None:
        return resolution
    from ..data.resolution import choose_resolution

    choice = choose_resolution(data, limit, seed, skip_bad)
    if process_index() == 0:
        print(choice)
    return choice.resolution


def report_skipped(skipped: Sequence[Skipped] | None, used: int) -> None:
    """Say on standard error which images were left out beside those that were used."""
    if skipped:
        print(f"warning: skipped {len(skipped)} of {used + len(skipped)} images:", file=sys.stderr)
        for image in skipped:
            print(f"  {image}", file=sys.stderr)
