"""The command line `ssd`. Heavy modules are imported only by the commands that need them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from inspect import cleandoc
from io import TextIOWrapper
from math import inf
from typing import Annotated, Any, Union

import tyro
from tyro.conf import OmitArgPrefixes, subcommand

from theory.support.errors import InputError
from theory.support.paths import user_argument
from theory.support.seeds import check_seed

from .benchmarks import BENCHMARKS, BenchCommand
from .comparing import CompareCommand
from .evaluating import EvaluateCommand
from .importing import ImportOfficialCommand
from .information import InformationCommand
from .messages import parsing, print_error
from .options import Output
from .preparing import PrepareCommand
from .sampling import SampleCommand
from .schedules import SCHEDULES, DeriveCommand, ScheduleCommand
from .spectra import MergeCommand, SpectrumCommand
from .training import TrainCommand, overlay


@dataclass(frozen=True)
class DemoCommand:
    """Run the whole pipeline on built-in images of letters, from spectrum to samples.

    Example: ssd demo -o runs/demo --minutes 3
    """

    output: Output = "runs/demo"
    """New folder for all results."""
    minutes: float = 3.0
    """Minutes of training, planned by a short measurement; the other stages take about one more."""
    seed: int = 0
    """Seed of images, weights, training and samples."""

    def run(self) -> None:
        """Run the command."""
        from theory.support.files import check_new_folder

        check_seed(self.seed, "--seed")
        if not 0 < self.minutes < inf:
            raise InputError(f"--minutes {self.minutes}: must be positive")
        check_new_folder(self.output)  # before torch is imported
        from .demo import demo

        demo(self.output, self.minutes, self.seed)


_MERGE = "spectrum-merge"  # given as `spectrum merge`, so a folder "merge" must be given as ./merge

_COMMANDS: dict[str, type] = {
    "spectrum": SpectrumCommand,
    _MERGE: MergeCommand,
    "derive": DeriveCommand,
    "schedule": ScheduleCommand,
    "prepare": PrepareCommand,
    "train": TrainCommand,
    "sample": SampleCommand,
    "evaluate": EvaluateCommand,
    "information": InformationCommand,
    "compare": CompareCommand,
    "import-official": ImportOfficialCommand,
    "bench": BenchCommand,
    "demo": DemoCommand,
}
_GROUPS = {"bench": BENCHMARKS, "schedule": SCHEDULES}  # subcommands by command
_DESCRIPTION = """Derive resolution schedules of diffusion models; train and sample on them.

From a folder of images to samples: `ssd spectrum FOLDER`, `ssd derive --report schedule.png`,
`ssd train`, `ssd sample`. `ssd COMMAND --help` shows an example of each command."""


def _parsed(commands: dict[str, type], prog: str, description: str, arguments: list[str]) -> Any:
    """Parse arguments into an instance of the command's class."""
    listed = not arguments or arguments[0].startswith("-")  # show one line per command
    kinds = []
    for name, kind in commands.items():
        summary = (kind.__doc__ or "").split("\n\n")[0] if listed else None
        kinds.append(Annotated[kind, subcommand(name, description=summary)])
    named = arguments[0] if arguments and arguments[0].isidentifier() else ""
    all_of_them: Any = Union[tuple(kinds)]  # noqa: UP007
    with parsing(f"{prog} {named}".strip(), prog):
        return tyro.cli(
            all_of_them,
            prog=prog,
            description=description,
            args=arguments,
            config=(OmitArgPrefixes,),  # keeps --x/--no-x pairs, as --config or --resume may set x
        )


def main(arguments: list[str] | None = None) -> None:
    """Run `ssd`; on bad input print one line to standard error and exit with code 2."""
    arguments = [user_argument(a) for a in (sys.argv[1:] if arguments is None else arguments)]
    for stream in (sys.stdout, sys.stderr):  # Windows consoles cannot encode every character
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if arguments[:2] == ["spectrum", "merge"]:
            arguments = [_MERGE, *arguments[2:]]
        overlay(arguments)
        if arguments and (group := arguments[0]) in _GROUPS:
            description = cleandoc(_COMMANDS[group].__doc__ or "")
            command = _parsed(_GROUPS[group], f"ssd {group}", description, arguments[1:])
        else:
            command = _parsed(_COMMANDS, "ssd", _DESCRIPTION, arguments)
        command.run()
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os._exit(1)
        print_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ssd: interrupted", file=sys.stderr)
        sys.exit(130)
