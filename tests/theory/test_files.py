"""Folders appear complete or not at all, and have one writer at a time."""

import subprocess
import sys

import pytest

from theory import InputError
from theory.files import locked, new_folder, replaced_folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("writer", [new_folder, replaced_folder])
def test_a_folder_has_one_writer(writer, tmp_path):
    final = tmp_path / "new" / "out"
    with writer(final) as aside:
        (aside / "first.txt").write_text("1")
        for other in (new_folder, replaced_folder):
            with pytest.raises(InputError, match="another process writes there"), other(final):
                raise AssertionError
        code = (
            "import sys; from theory.files import new_folder; new_folder(sys.argv[1]).__enter__()"
        )
        done = subprocess.run([sys.executable, "-c", code, str(final)], capture_output=True)
        assert b"another process writes there" in done.stderr
        (aside / "second.txt").write_text("2")
        assert not final.exists()
    assert names(tmp_path / "new") == ["out", "out/first.txt", "out/second.txt"]


@pytest.mark.parametrize("writer", [new_folder, replaced_folder])
def test_what_fails_leaves_nothing(writer, tmp_path):
    def write():
        with writer(tmp_path / "out") as aside:
            (aside / "half.txt").write_text("1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert names(tmp_path) == []


def test_leftovers_of_a_killed_writer_go(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from theory.files import new_folder\n"
        "with new_folder(sys.argv[1]) as aside:\n"
        "    (aside / 'half.txt').write_text('1'); os._exit(3)"
    )
    final = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", code, str(final)]).returncode == 3
    assert len(names(tmp_path)) > 1
    with new_folder(final) as aside:
        (aside / "whole.txt").write_text("2")
    assert names(tmp_path) == ["out", "out/whole.txt"]


def test_a_new_folder_replaces_nothing_that_came_meanwhile(tmp_path):
    final = tmp_path / "out"

    def write():
        with new_folder(final) as aside:
            (aside / "mine.txt").write_text("1")
            final.mkdir()
            (final / "yours.txt").write_text("2")

    with pytest.raises(InputError, match="cannot be written"):
        write()
    assert names(tmp_path) == ["out", "out/yours.txt"]


def test_a_lock_ends_with_its_block(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="another process"), locked(tmp_path):
        raise AssertionError
    with locked(tmp_path):
        pass
