"""What commands print, whatever it is printed on."""

import io
import sys

import numpy as np

from ssd_models.cli import main


def test_letters_that_a_stream_does_not_know_are_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # as pipes on Windows
    monkeypatch.setattr(sys, "stdout", stream)
    rng = np.random.default_rng(0)
    np.save("τ.npy", rng.integers(0, 256, (16, 16, 16, 3), dtype=np.uint8))
    main(["spectrum", "τ.npy", "-o", "τ→.npz"])
    stream.flush()
    assert rb"\u03c4\u2192.npz: 16 images" in stream.buffer.getvalue()
    assert (tmp_path / "τ→.npz").is_file()
