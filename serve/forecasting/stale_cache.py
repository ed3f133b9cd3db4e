"""What was looked up last: for a moment anyhow, and for longer while looking fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from quantis.errors import QuantisError, Unavailable

Value = TypeVar("Value")
log = logging.getLogger("quantis.forecaster")


class StaleCache(Generic[Value]):
    """Values by key, looked up anew after `fresh` seconds; each holds for `seconds` in an outage."""

    def __init__(self, seconds: float, fresh: float = 0.0) -> None:
        self._seconds, self._fresh = seconds, fresh
        self._known: dict[Hashable, tuple[float, Value]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, look: Callable[[], Value]) -> Value:
        """What `look` finds; in an outage what it found last. An error that is an answer goes through."""
        with self._lock:
            at, last = self._known.get(key, (float("-inf"), None))
        if last is not None and time.monotonic() - at <= self._fresh:
            return last
        try:
            found = look()
        except Exception as error:
            answered = isinstance(error, QuantisError) and not isinstance(error, Unavailable)
            if answered or last is None or time.monotonic() - at > self._seconds:
                raise
            log.warning("going on with what was known last: %s", error)
            return last
        with self._lock:
            self._known[key] = (time.monotonic(), found)
        return found
