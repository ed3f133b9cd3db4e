"""Calls that start together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any


def at_once(count: int, call: Callable[..., Any]) -> list[Any]:
    """Return the results, or errors, of `count` calls that start together, each with its number."""
    barrier = Barrier(count)

    def attempt(number: int) -> Any:
        barrier.wait()
        try:
            return call(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, range(count)))
