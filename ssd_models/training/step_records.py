"""Records of training steps until they are logged, and checks for diverged training."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from theory.support.errors import InputError

from .checkpoints import Checkpoints
from .objective import TrainingPath

_DIVERGED = 4.0  # times the error of predicting zero, over the steps since the last summary


class StepRecords:
    """Records of training steps, kept on the device so that no step waits for its loss.

    Parameters
    ----------
    accelerator : Accelerator
        Losses are averaged over its processes, so that all raise the same errors.
    """

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._rows: list[tuple[TrainingPath, Tensor, float, int]] = []
        self.restart_clock()

    def add(self, path: TrainingPath, terms: Tensor, weight: float, images: int) -> None:
        """Add a step.

        Parameters
        ----------
        path : TrainingPath
        terms : (5,) tensor
            `LossTerms`, then the norm of the gradient.
        weight : float
            Loss weight of the path.
        images : int
            Images of the step over all processes.
        """
        self._rows.append((path, terms, weight, images))

    def restart_clock(self) -> None:
        """Restart the clock that measures images per second."""
        self._since = time.perf_counter()

    def summary(self, step: int, checkpoints: Checkpoints) -> dict[str, Any]:
        """Average the steps since the last call, over all and by path, and clear them.

        Parameters
        ----------
        step : int
            Present step.
        checkpoints : Checkpoints
            For the advice in errors.

        Returns
        -------
        dict
            Entry for ``metrics.jsonl``.

        Raises
        ------
        InputError
            If a loss or gradient was not finite, or training has diverged: the error is over four
            times that of predicting zero.
        """
        rows, self._rows = self._rows, []
        terms = self._accelerator.reduce(torch.stack([row[1] for row in rows]), "mean")
        values = terms.cpu().double().numpy()  # (steps, 5); waits for the device
        seconds = time.perf_counter() - self._since
        self.restart_clock()
        images = np.array([row[3] for row in rows])
        advice = checkpoints.advice("lower learning_rate and go on")
        if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
            what = "loss" if not np.isfinite(values[bad[0], 0]) else "gradient"
            raise InputError(
                f"step {step - len(rows) + bad[0] + 1}: the {what} on path "
                f"{rows[bad[0]][0].name} is not finite; {advice}"
            )
        _, error, power, _, _ = images @ values / images.sum()
        if error > _DIVERGED * power:
            raise InputError(
                f"step {step}: training has diverged (since step {step - len(rows)} the mean "
                f"squared error is {error / power:.0f} times that of predicting zero); {advice}"
            )
        entry: dict[str, Any] = {
            "loss": values[:, 0].mean(),
            "images_per_second": images.sum() / seconds,
            "gradient_norm": values[:, 4].mean(),
            "paths": {},
        }
        for path in dict.fromkeys(row[0] for row in rows):
            chosen = [i for i, row in enumerate(rows) if row[0] is path]
            loss, error, _, snr_weight, _ = values[chosen].mean(axis=0).tolist()
            entry["paths"][path.name] = {
                "loss": loss,
                "error": error,
                "snr_weight": snr_weight,
                "path_weight": rows[chosen[0]][2],
                "images": int(images[chosen].sum()),
            }
        return entry
