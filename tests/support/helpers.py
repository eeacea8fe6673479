"""What tests of several modules share."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssd_models.cli import main
from ssd_models.data.opening import to_uint8
from ssd_models.diffusion.gaussian import GaussianField
from theory import InputError, Spectrum


def refusal(run: Callable[[], object]) -> str:
    """The one line with which a call refuses its input."""
    with pytest.raises(InputError) as caught:
        run()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def command_refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command refuses its input."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2, error
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if "ssd: error:" in line]
    assert len(lines) == 1, error
    return lines[0]


def in_threads(work: Callable[[int], object], count: int = 4) -> None:
    """Call ``work(0)``, ``work(1)``, … at the same time."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def gaussian_images(spectrum: Spectrum, count: int) -> np.ndarray:
    """Images of a Gaussian field, uint8 (N, R, R, C), always the same ones."""
    generator = torch.Generator().manual_seed(0)
    images = GaussianField(spectrum).draw(count, generator, torch.empty(0))
    return to_uint8(images.clamp(-1, 1).permute(0, 2, 3, 1).numpy())
