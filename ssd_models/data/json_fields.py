"""Reading JSON files and checking their fields; what is wrong is one clear line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from theory.support.errors import InputError
from theory.support.reading import parse_json


def read_json(path: Path, remedy: str) -> Any:
    """Content of a JSON file; `InputError` if it cannot be read or is none."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; run the same `ssd prepare` again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); {remedy}") from None


def read_fields(content: Any, fields: Mapping[str, Any], path: Path, remedy: str) -> dict[str, Any]:
    """Check that a JSON object has these fields of these types, and return them.

    Parameters
    ----------
    content : object
        As `parse_json` returns it.
    fields : mapping
        Type of each field: ``str``, ``int`` (0 or more), ``dict``, ``list`` of one of them, or
        either of two.
    path, remedy
        For the message.

    Raises
    ------
    InputError
        If a field is missing or of another type.
    """
    for name, kind in fields.items():
        if not isinstance(content, dict) or name not in content:
            raise InputError(f"{path}: is damaged (no field {name!r}); {remedy}")
        if not _is(content[name], kind):
            shown = json.dumps(content[name])
            shown = shown if len(shown) < 40 else f"{shown[:40]}…"
            raise InputError(f"{path}: is damaged ({name!r} is {shown}); {remedy}")
    return {name: content[name] for name in fields}


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_is(value, one) for one in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is(item, get_args(kind)[0]) for item in value)
    if kind is int:
        return type(value) is int and value >= 0
    return isinstance(value, kind if kind is not None else NoneType)
