"""Bodies on their way: who sends one slowly is counted, and given up below a least speed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from starlette.types import Message, Receive

from quantis.errors import TooSlow

PROMPT_SECONDS = 1.0
"""A body that is there after this long was never waited for, and is not counted."""

GRACE_SECONDS = 30.0
MIN_BYTES_PER_SECOND = 4096
"""A body that is slower than this after GRACE_SECONDS is given up."""


class BodyArrival:
    """ASGI `receive` of a request with a body.

    `hold` counts the body as one on its way, and raises when too many are; it is entered once the body turns out slow
    and left when the body is there.
    """

    def __init__(self, receive: Receive, hold: Callable[[], AbstractContextManager[None]]) -> None:
        self._receive, self._hold = receive, hold
        self._is_whole, self._is_counted = False, False
        self._bytes, self._started = 0, 0.0
        self._counted = ExitStack()

    async def receive(self) -> Message:
        """Return the next part; TooSlow when it does not come in time."""
        if self._is_whole:
            return await self._receive()
        self._started = self._started or _now()
        message = await self._wait_for_part()
        self._bytes += len(message.get("body", b""))
        if not message.get("more_body"):
            self._is_whole = True
            self._counted.close()
        return message

    async def _wait_for_part(self) -> Message:
        part = asyncio.ensure_future(_receive(self._receive))
        try:
            if not self._is_counted:
                await asyncio.wait({part}, timeout=max(0.0, self._started + PROMPT_SECONDS - _now()))
                if part.done() and _now() < self._started + PROMPT_SECONDS:
                    return part.result()
                self._counted.enter_context(self._hold())
                self._is_counted = True
            await asyncio.wait({part}, timeout=max(0.0, self._latest() - _now()))
            if not part.done():
                raise TooSlow(
                    f"{self._bytes} bytes of the body came in {_now() - self._started:.0f} s, less than "
                    f"{MIN_BYTES_PER_SECOND} a second; send it again over a faster line, or in parts"
                )
            return part.result()
        finally:
            part.cancel()

    def _latest(self) -> float:
        """Return the time until which the next part must come."""
        return self._started + GRACE_SECONDS + self._bytes / MIN_BYTES_PER_SECOND

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counted.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _receive(receive: Receive) -> Message:
    return await receive()
