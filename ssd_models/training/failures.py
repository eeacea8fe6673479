"""What ends a training run from outside, as one line that says how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from theory.support.errors import InputError


@contextmanager
def explained(advice: Callable[[str], str], num_processes: int) -> Iterator[None]:
    """Turn full memory, and the end of another process of the run, into `InputError`.

    Parameters
    ----------
    advice : function
        From what to do to a sentence that names the last checkpoint.
    num_processes : int
        Of the run.
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
