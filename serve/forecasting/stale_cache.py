"""A cache that goes on serving the last value while its source does not answer."""

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
    """Values by key, loaded again after `fresh_seconds`, served for `outage_seconds` while loading fails."""

    def __init__(self, outage_seconds: float, fresh_seconds: float = 0.0) -> None:
        self._outage_seconds, self._fresh_seconds = outage_seconds, fresh_seconds
        self._entries: dict[Hashable, tuple[float, Value]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """Return what `load` returns, or its last value in an outage.

        An error that is an answer (NotFound, InvalidInput, ...) goes through: only Unavailable, and errors
        that are no QuantisError, count as an outage.
        """
        with self._lock:
            loaded_at, last = self._entries.get(key, (float("-inf"), None))
        if last is not None and time.monotonic() - loaded_at <= self._fresh_seconds:
            return last
        try:
            value = load()
        except Exception as error:
            is_answer = isinstance(error, QuantisError) and not isinstance(error, Unavailable)
            if is_answer or last is None or time.monotonic() - loaded_at > self._outage_seconds:
                raise
            log.warning("going on with what was known last: %s", error)
            return last
        with self._lock:
            self._entries[key] = (time.monotonic(), value)
        return value
