"""Tasks in several processes, with progress counted over all of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

from theory.support.errors import InputError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
Tick = Callable[[int], object]


class _Stopped(Exception):
    """The result of this task is not wanted any more."""


def run_tasks(
    setup: Callable[[], AbstractContextManager[S]],
    function: Callable[[S, T, int, Tick], R],
    tasks: Sequence[T],
    workers: int,
    tick: Tick,
) -> Generator[R, None, None]:
    """Yield ``function(resource, task, threads, tick)`` of each task, as they end.

    Each of up to ``workers`` new processes enters ``setup()`` once and takes tasks one by one, with
    one thread to a task, or more if there are fewer tasks than workers. A single process is this
    one. What ``function`` counts with its ``tick`` is counted with the given one here. Once the
    iterator is closed, tasks stop at their next tick, and all at once if this process is killed.

    Raises
    ------
    InputError
        As ``function`` does, or if a process is killed.
    """
    count = min(workers, len(tasks))
    threads = max(1, workers // max(1, count))
    if count <= 1:
        with setup() as resource:
            for task in tasks:
                yield function(resource, task, threads, tick)
        return
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    counted = 0
    pool = ProcessPoolExecutor(count, context, _begin, (setup, counter, stop))
    try:
        waiting: set[Future[R]] = {pool.submit(_run, function, task, threads) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            new = counter.value - counted
            tick(new)
            counted += new
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed, perhaps for want of memory; run the same command again "
            "with fewer --workers"
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


_process: dict[str, Any] = {}  # of a worker: setup, its resource, counter and stop


def _begin(setup: Callable[[], AbstractContextManager], counter: Any, stop: Any) -> None:
    _process.update(setup=setup, counter=counter, stop=stop, open=ExitStack())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it, and stops this one
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _run(function: Callable[[Any, T, int, Tick], R], task: T, threads: int) -> R:
    if "resource" not in _process:  # here, where what goes wrong reaches the parent
        _process["resource"] = _process["open"].enter_context(_process["setup"]())
    return function(_process["resource"], task, threads, _count)


def _count(number: int) -> None:
    if _process["stop"].is_set():
        raise _Stopped
    with _process["counter"].get_lock():
        _process["counter"].value += number
