"""Calls that end with their callers: one that hangs up, or several that ask for the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from quantis.errors import Disconnected

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work; it is cancelled, and Disconnected raised, when the caller hangs up before."""
    task, hang_up = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Disconnected("the caller hung up before the answer was there")
        return task.result()
    finally:
        task.cancel()
        hang_up.cancel()


async def _disconnect(request: Request) -> None:
    """Return when the caller of a request, whose body has been read, has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass
class _Shared(Generic[T]):
    task: asyncio.Task[T]
    callers: int = 0


class SharedCalls(Generic[T]):
    """Runs one call for all who ask for the same at the same time; it is cancelled when the last of them has gone."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _Shared[T]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the call with this key, which begins unless it runs already."""
        key = (asyncio.get_running_loop(), key)
        shared = self._running.get(key)
        if shared is None:
            shared = self._running[key] = _Shared(asyncio.ensure_future(work()))
        shared.callers += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.callers -= 1
            if not shared.callers:
                shared.task.cancel()
            if shared.task.done() or not shared.callers:
                self._running.pop(key, None)
