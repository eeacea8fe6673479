"""One-line errors, with advice on how to go on, for failures outside a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from theory.support.errors import InputError


@contextmanager
def explained(advice: Callable[[str], str], num_processes: int) -> Iterator[None]:
    """Context that turns out-of-memory errors and lost processes into `InputError`.

    Parameters
    ----------
    advice : callable
        Function that adds the latest checkpoint to an advice (`Checkpoints.advice`).
    num_processes : int
        Number of processes of the run.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        remedy = advice("lower batch_size or set gradient_checkpointing, and go on")
        raise InputError(f"out of memory ({str(error).split('. ')[0]}); {remedy}") from error
    except RuntimeError as error:
        if num_processes == 1 or not _is_lost_connection(error):
            raise
        raise InputError(
            "another process of this run has stopped, see its message; "
            f"{advice('start all of them again')}"
        ) from error


def _is_lost_connection(error: RuntimeError) -> bool:
    words = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or any(
        word in words for word in ("gloo", "nccl", "connection closed", "connection reset")
    )
