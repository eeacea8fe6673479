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
    """Decode and resize images once, into a directory that is DATA for every other command.

    Example: ssd prepare photos/ -o prepared64 --resolution 64

    A pass that was stopped goes on where it was when the same command is given again. Checksums are
    checked by: ssd prepare prepared64 --verify
    """

    data: Positional[Data]
    output: Output = "prepared"
    """Folder to write."""
    resolution: Resolution = None
    limit: Limit = None
    seed: Seed = 0
    workers: int | None = None
    """Processes; by default one for each core."""
    skip_bad: SkipBad = False
    verify: bool = False
    """Prepare nothing: check all files of DATA, a directory written before."""

    def run(self) -> None:
        """Run the command."""
        if self.verify:
            from ..data.verifying import verify

            manifest = verify(Path(self.data), progress=True)
            print(f"{self.data}: all {len(manifest['shards'])} shards are as they were written")
            return
        from ..data.preparing import prepare

        skipped: list | None = [] if self.skip_bad else None
        resolution = chosen_resolution(
            self.resolution, self.data, self.limit, self.seed, self.skip_bad
        )
        manifest = prepare(
            *(self.data, self.output, resolution, self.limit, self.seed, self.workers),
            skipped=skipped,
            progress=True,
        )
        report_skipped(skipped, manifest["count"])
        size = sum(shard["bytes"] for shard in manifest["shards"])
        print(
            f"{self.output}: {manifest['count']} images of {resolution} px in "
            f"{len(manifest['shards'])} shards, {size / 1e6:.4g} MB"
        )
