"""Waiting for what the platform does in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds to wait for work in the background, which takes a few on a calm machine."""
_PAUSE = 0.3
T = TypeVar("T")


def await_value(ask: Callable[[], T | None], seconds: float) -> T | None:
    """Ask until there is a value; None after `seconds`."""
    deadline = time.monotonic() + seconds
    while (value := ask()) is None and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return value
