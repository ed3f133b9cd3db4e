"""What was looked up last, for the time in which looking fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from quantis.errors import QuantisError, Unavailable

Value = TypeVar("Value")
log = logging.getLogger("quantis.forecaster")


class LastKnown(Generic[Value]):
    """Values by key, each given again for `seconds` while the database does not answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[Hashable, tuple[float, Value]] = {}
        self._lock = threading.Lock()

    def ask(self, key: Hashable, look: Callable[[], Value]) -> Value:
        """What `look` finds; in an outage what it found last. An error that is an answer goes through."""
        try:
            found = look()
        except Exception as error:
            with self._lock:
                at, last = self._known.get(key, (float("-inf"), None))
            answered = isinstance(error, QuantisError) and not isinstance(error, Unavailable)
            if answered or last is None or time.monotonic() - at > self._seconds:
                raise
            log.warning("going on with what was known last: %s", error)
            return last
        with self._lock:
            self._known[key] = (time.monotonic(), found)
        return found
