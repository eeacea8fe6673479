"""The command line `ssd`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, subcommand

from theory.errors import InputError

from .benchmarks import BenchCommand
from .comparing import CompareCommand
from .evaluating import EvaluateCommand
from .importing import ImportOfficialCommand
from .information import InformationCommand
from .messages import parsing, print_error
from .options import Output
from .preparing import PrepareCommand
from .sampling import SampleCommand
from .schedules import DeriveCommand, ScheduleCommand
from .spectra import MergeCommand, SpectrumCommand
from .training import TrainCommand, overlay


@dataclass(frozen=True)
class DemoCommand:
    """Run the main job on the built-in photographs, end to end, in a few minutes.

    Example: ssd demo -o runs/demo
    """

    output: Output = "runs/demo"
    """New folder for everything that is written."""
    steps: int = 1000
    """Training steps."""
    seed: int = 0
    """Of crops, weights, training and samples."""

    def run(self) -> None:
        """Run the command."""
        from theory.files import check_new_folder

        check_new_folder(self.output)  # before torch is imported
        from ..demo import demo

        demo(self.output, self.steps, self.seed)


_MERGE = "spectrum-merge"  # reached as `spectrum merge`; a folder of that name as ./merge

Command = (
    Annotated[SpectrumCommand, subcommand("spectrum")]
    | Annotated[MergeCommand, subcommand(_MERGE)]
    | Annotated[DeriveCommand, subcommand("derive")]
    | Annotated[ScheduleCommand, subcommand("schedule")]
    | Annotated[PrepareCommand, subcommand("prepare")]
    | Annotated[TrainCommand, subcommand("train")]
    | Annotated[SampleCommand, subcommand("sample")]
    | Annotated[EvaluateCommand, subcommand("evaluate")]
    | Annotated[InformationCommand, subcommand("information")]
    | Annotated[CompareCommand, subcommand("compare")]
    | Annotated[ImportOfficialCommand, subcommand("import-official")]
    | Annotated[BenchCommand, subcommand("bench")]
    | Annotated[DemoCommand, subcommand("demo")]
)


def main(arguments: list[str] | None = None) -> None:
    """Run `ssd`; exits with code 2 and one line on bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:2] == ["spectrum", "merge"]:
            arguments = [_MERGE, *arguments[2:]]
        overlay(arguments)
        named = arguments[0] if arguments and arguments[0].isidentifier() else ""
        with parsing(f"ssd {named}".strip()):
            command: Any = tyro.cli(
                Command,
                prog="ssd",
                description=(
                    "Derive when a diffusion chain may run small; train and sample on that."
                ),
                args=arguments,
                config=(OmitArgPrefixes,),  # flags in pairs: what a run has on can be turned off
            )
        command.run()
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os._exit(1)
        print_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ssd: interrupted", file=sys.stderr)
        sys.exit(130)
