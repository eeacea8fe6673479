"""Clean stops: signals that ask a run to end, and a limit of its time."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


def exit_status(reason: str) -> int:
    """Status of a command that `StopRequest` ended: 128 and the signal, as shells say, or 0."""
    return 128 + signal.Signals[reason] if reason.startswith("SIG") else 0


class StopRequest:
    """A context in which SIGTERM and SIGINT ask for an end, as does a limit of minutes.

    A second signal of the same kind has its usual effect. Outside the main thread, where Python
    allows no handlers, only the limit counts.

    Parameters
    ----------
    max_minutes : float, optional
        From the making of this object.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, max_minutes: float | None = None):
        self.signal: int | None = None
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._minutes = max_minutes
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Why to stop, for a message; None to go on."""
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
