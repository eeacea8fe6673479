"""Paths as users give them."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """Path of which ``~`` or ``~user`` at the beginning is a home folder, as in shells.

    A shell leaves it where it stands after ``=``, in quotes, or in a file. What is no user's stays
    as it is; a file of that name is ``./~``.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user, or no home
        return Path(path)


def user_argument(argument: str) -> str:
    """An argument of a command with a path expanded by `user_path`: ``~/x`` and ``--name=~/x``."""
    flag, equals, value = argument.partition("=")
    if equals and flag.startswith("-") and value.startswith("~"):
        return f"{flag}={user_path(value)}"
    return str(user_path(argument)) if argument.startswith("~") else argument
