"""Options and helpers shared by several commands."""

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
    arg(aliases=["-o"], metavar="PATH", help="JSON file for the same numbers and the setting."),
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
        help="Side in pixels; by default the largest up to 256 that needs no enlarging and the "
        f"network can halve often enough. {IMAGE_RULE}",
    ),
]
Limit = Annotated[int | None, arg(help="Use that many images, chosen at random.")]
Seed = Annotated[int, arg(help="Seed of that choice and of built-in images.")]
SkipBad = Annotated[
    bool, arg(help="Leave out unusable images and list them, instead of stopping with an error.")
]


def chosen_resolution(
    resolution: int | None, data: str, limit: int | None, seed: int, skip_bad: bool
) -> int:
    """Return the given resolution, or choose one from the data and print it."""
    if resolution is not None:
        return resolution
    from ..data.resolution import choose_resolution

    choice = choose_resolution(data, limit, seed, skip_bad)
    if process_index() == 0:
        print(choice)
    return choice.resolution


def report_skipped(skipped: Sequence[Skipped] | None, used: int) -> None:
    """List skipped images on standard error; ``used`` is the number of the others."""
    if skipped:
        print(f"warning: skipped {len(skipped)} of {used + len(skipped)} images:", file=sys.stderr)
        for image in skipped:
            print(f"  {image}", file=sys.stderr)
