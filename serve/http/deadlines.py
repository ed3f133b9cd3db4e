"""Deadlines: a request whose answer has not begun in time is cancelled and answered 504."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quantis.errors import TimedOut

log = logging.getLogger("quantis.api")
_KEY = "quantis.deadline"


class _Deadline:
    """The time by which the answer must have begun."""

    def __init__(self, seconds: float) -> None:
        self._from = asyncio.get_running_loop().time()
        self.seconds = seconds
        self.limit = asyncio.timeout_at(self._from + seconds)

    def move(self, seconds: float | None) -> None:
        """Move the deadline to so many seconds after the start; None lifts it."""
        if not self.limit.expired():
            self.seconds = self.seconds if seconds is None else seconds
            self.limit.reschedule(None if seconds is None else self._from + seconds)


def allow(scope: Scope, seconds: float) -> None:
    """Give this request so many seconds, counted from its start."""
    deadline: _Deadline = scope[_KEY]
    deadline.move(seconds)


async def run_with_deadline(seconds: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the application; TimedOut when its answer has not begun in time, and it is cancelled then.

    A thread cannot be cancelled: one that hangs keeps its place in the pool until it returns, but its caller has an
    answer. Once an answer has begun it may take its time, as streams do.
    """
    deadline = scope[_KEY] = _Deadline(seconds)

    async def send_in_time(message: Message) -> None:
        if not deadline.limit.expired():
            deadline.move(None)
            await send(message)

    task = asyncio.ensure_future(_run(app, scope, receive, send_in_time))
    try:
        async with deadline.limit:
            await asyncio.wait({task})
        await task
    except TimeoutError:
        if not deadline.limit.expired():
            raise
        raise TimedOut(f"no answer within {deadline.seconds:g} s; ask for less, or try again later") from None
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _forget(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a request that was given up failed afterwards", exc_info=error)
