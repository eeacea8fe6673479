"""`ssd prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from .options import (
    Data,
    Limit,
    Output,
    Resolution,
    Seed,
    SkipBad,
    chosen_resolution,
    report_skipped,
)


@dataclass(frozen=True)
class PrepareCommand:
    """Decode and resize images once, into a directory that all other commands take as DATA.

    Example: ssd prepare photos/ -o prepared64 --resolution 64

    After an interruption the same command resumes. To verify checksums:
    ssd prepare prepared64 --verify
    """

    data: Positional[Data]
    output: Output = "prepared"
    """Folder to write."""
    resolution: Resolution = None
    limit: Limit = None
    seed: Seed = 0
    workers: int | None = None
    """Decoding threads; by default one per core."""
    skip_bad: SkipBad = False
    verify: bool = False
    """Only verify the checksums of DATA, a prepared directory."""

    def run(self) -> None:
        """Run the command."""
        if self.verify:
            from ..data.prepared import verify

            record = verify(Path(self.data), progress=True)
            print(f"{self.data}: all {record['count']} images are as they were written")
            return
        from ..data.preparing import prepare

        skipped: list | None = [] if self.skip_bad else None
        resolution = chosen_resolution(
            self.resolution, self.data, self.limit, self.seed, self.skip_bad
        )
        record = prepare(
            *(self.data, self.output, resolution, self.limit, self.seed, self.workers),
            skipped=skipped,
            progress=True,
        )
        report_skipped(skipped, record["count"])
        size = record["count"] * resolution**2 * record["channels"]
        print(f"{self.output}: {record['count']} images of {resolution} px, {size / 1e6:.4g} MB")
