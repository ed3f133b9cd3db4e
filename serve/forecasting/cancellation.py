"""Work in a thread that nobody waits for any more: it is told, and ends at its next step."""

from __future__ import annotations

import threading
import time

from quantis.errors import TimedOut


class Cancellation:
    """Says whether work goes on: until it is cancelled, or its time is over. Thread-safe."""

    def __init__(self, seconds: float = float("inf")) -> None:
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        """Raise TimedOut when there is no use in going on."""
        if self._cancelled.is_set():
            raise TimedOut("the forecast was given up by its caller")
        if time.monotonic() > self._deadline:
            raise TimedOut(f"no answer within {self._seconds:g} s; allow more time with deadline_ms")
