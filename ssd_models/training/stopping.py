"""Stopping a run cleanly, on signals or after a time limit."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


def exit_status(reason: str) -> int:
    """Exit status of a run stopped for ``reason``: 128 plus the signal's number, else 0."""
    return 128 + signal.Signals[reason] if reason.startswith("SIG") else 0


class StopRequest:
    """Context in which SIGTERM, SIGINT or a time limit set a reason to stop.

    A second signal of the same kind has its usual effect. Outside the main thread Python allows no
    signal handlers, so only the time limit applies.

    Parameters
    ----------
    max_minutes : float, optional
        Time limit, counted from construction.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, max_minutes: float | None = None):
        self.signal: int | None = None
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._minutes = max_minutes
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Reason to stop, for a message; None to go on."""
        if self.signal is not None:
            return signal.Signals(self.signal).name
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return f"its {self._minutes:g} minutes are over"
        return None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._handle) for s in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._previous[number])
