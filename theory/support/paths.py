"""File paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """Expand a leading ``~`` or ``~user`` to the home folder, as shells do.

    Shells leave it unexpanded after ``=``, in quotes and in configuration files. A path whose user
    does not exist is returned unchanged.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user, or no home
        return Path(path)


def user_argument(argument: str) -> str:
    """Expand ``~`` in a command line argument of the form ``~/x`` or ``--name=~/x``."""
    flag, equals, value = argument.partition("=")
    if equals and flag.startswith("-") and value.startswith("~"):
        return f"{flag}={user_path(value)}"
    return str(user_path(argument)) if argument.startswith("~") else argument
