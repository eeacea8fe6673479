"""Progress where nobody watches: lines, few of them."""

import sys

from theory.support import progress
from theory.support.progress import progress_bar


def test_a_log_gets_whole_lines_and_few_of_them(capsys):
    with progress_bar(total=500, desc="train", unit="step") as bar:
        for _ in range(500):
            bar.update()
            bar.set_postfix({"loss": "0.5"}, refresh=False)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 2
    assert lines[-1].startswith("train: 500/500 step, ")
    assert lines[-1].endswith("loss=0.5")
    assert "\r" not in "".join(lines)


def test_lines_come_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    assert list(progress_bar(range(5), desc="shards", unit="shard")) == list(range(5))
    assert len(capsys.readouterr().err.splitlines()) >= 5


def test_a_terminal_gets_a_bar_and_silence_is_silent(capsys, monkeypatch):
    list(progress_bar(range(5), shown=False))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(progress_bar(range(5), desc="x"))
    assert "\r" in capsys.readouterr().err
