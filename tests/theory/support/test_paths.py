"""Paths as users give them."""

from pathlib import Path

import pytest

from theory.support.paths import user_argument, user_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~", "HOME"),
        ("~/x", "HOME/x"),
        ("--output=~/x", "--output=HOME/x"),
        ("--data=celeba:~/x", "--data=celeba:~/x"),
        ("a=~/x", "a=~/x"),
        ("./~", "./~"),
        ("a~b", "a~b"),
        ("~nobody.of.this.name/x", "~nobody.of.this.name/x"),
        ("-1", "-1"),
        ("", ""),
    ],
)
def test_arguments_that_begin_with_a_tilde_are_in_the_home_folder(given, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert user_argument(given) == expected.replace("HOME", str(Path("/home/me")))


def test_paths_too(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert user_path("~/x") == Path("/home/me/x")
    assert user_path(Path("x")) == Path("x")
