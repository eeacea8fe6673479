"""`ssd compare`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from theory.support.errors import InputError

from .options import Data, File, Output


@dataclass(frozen=True)
class CompareCommand:
    """Train the same network on several schedules and compare samples and errors.

    Example: ssd compare results/faces32.yaml --data faces64_utkface.zip -o runs/faces32

    After Ctrl-C, SIGTERM or --max-minutes the same command resumes the comparison. All measurements
    are written to results.json in the folder, tables and samples to report.html.
    """

    config: Positional[File]
    """YAML file of arms, network, milestones and numbers of calls, such as results/faces32.yaml."""
    data: Data
    output: Output = "runs/comparison"
    """Folder for runs, models, samples and results."""
    arms: tuple[str, ...] = ()
    """Train and evaluate only these arms, so that several processes can share a folder."""
    max_minutes: float | None = None
    """Write a checkpoint and stop after that many minutes."""

    def run(self) -> None:
        """Run the command."""
        from ..comparison.config import ComparisonConfig

        config = ComparisonConfig.load(self.config)
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise InputError(f"max_minutes {self.max_minutes}: must be positive")
        from ..comparison.arms import Comparison
        from ..comparison.results import run_comparison
        from ..data.opening import open_images
        from ..training.stopping import exit_status

        source = open_images(self.data, config.resolution)
        folder = Path(self.output)
        comparison = Comparison(config, source, folder, self.arms)
        for arm, schedule in comparison.schedules.items():
            changes = ", ".join(f"{t}: {a}->{b}" for t, (a, b) in schedule.changes.items())
            print(f"{arm}: {config.arms[arm].label}; changes at {changes or 'none'}")
        if run_comparison(comparison, self.max_minutes):
            print(f"{folder / 'results.json'}: all {len(list(comparison.stages()))} stages judged")
            print(f"{folder / 'report.html'}: samples and tables")
        else:
            reason = comparison.stopped or "time is up"
            print(f"{folder}: stopped ({reason}); the same command goes on")
            if status := exit_status(reason):
                sys.exit(status)
