"""Bounds on what callers have open at the same time in this process: bodies on their way, streams of events, reads.

How long the first two last is for the caller to decide. Each is bounded for one caller, for a team and for the
process, far below the requests that a replica serves at once, so that the others are served whatever is left open.
Reads end by themselves: those of one caller beyond READS_AT_ONCE wait for each other, not others for them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from fastapi import Request

from cluster.repositories.principals import Principal
from quantis.errors import TooManyRequests
from serve.security.rate_limits import address_of

RETRY_SECONDS = 5


@dataclass(frozen=True)
class ConcurrencyBounds:
    """Most that may be open at the same time: of one caller, of a team, and of all."""

    caller: int
    team: int
    process: int


BODIES = ConcurrencyBounds(caller=8, team=32, process=128)
STREAMS = ConcurrencyBounds(caller=10, team=40, process=160)
READS_AT_ONCE = 12
"""Less than a third of the threads that answer."""

FORECASTS_PER_REPLICA = 4
"""Forecasts for which a replica of the forecaster is wanted; more of them make it grow."""


@dataclass(frozen=True)
class _Owner:
    key: tuple[str, ...]
    name: str
    limit: int


class ConcurrencyLimit:
    """Counts what is open of one kind; thread-safe."""

    def __init__(self, noun: str, bounds: ConcurrencyBounds, remedy: str) -> None:
        """`noun` names several of the kind, `remedy` says what a caller can do beyond a bound."""
        self._noun, self._bounds, self._remedy = noun, bounds, remedy
        self._open: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, request: Request) -> Iterator[None]:
        """Count one more of the request's caller while the block runs; TooManyRequests beyond a bound."""
        owners = self._owners(request)
        keys = [owner.key for owner in owners]
        with self._lock:
            for owner in owners:
                if self._open[owner.key] >= owner.limit:
                    raise TooManyRequests(
                        f"{owner.name} has {owner.limit} {self._noun} open at the same time, the most that are "
                        f"allowed; {self._remedy}",
                        retry_after=RETRY_SECONDS,
                    )
            self._open.update(keys)
        try:
            yield
        finally:
            with self._lock:
                self._open.subtract(keys)
                self._open += Counter()  # forgets who has none open

    @property
    def total(self) -> int:
        """Number that all callers have open."""
        return self._open[_PROCESS]

    def _owners(self, request: Request) -> tuple[_Owner, ...]:
        bounds = self._bounds
        principal = _principal_of(request)
        process = _Owner(_PROCESS, "this server", bounds.process)
        if principal is None:
            return _Owner(_caller_of(request), f"the address {address_of(request)}", bounds.caller), process
        user = _Owner(_caller_of(request), f"the user {principal.user_name}", bounds.caller)
        return user, _Owner(("team", principal.team), f"the team {principal.team}", bounds.team), process


class FairTurns:
    """Lets so many requests of each caller go on at once; the next wait for these, not for those of others."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._callers: dict[Hashable, _Turns] = {}

    @asynccontextmanager
    async def turn(self, request: Request) -> AsyncIterator[None]:
        """Wait until fewer requests of this one's caller go on than may."""
        caller = asyncio.get_running_loop(), _caller_of(request)
        turns = self._callers.setdefault(caller, _Turns(asyncio.Semaphore(self._at_once)))
        turns.users += 1
        try:
            async with turns.free:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                self._callers.pop(caller, None)


@dataclass
class _Turns:
    free: asyncio.Semaphore
    users: int = 0


def _principal_of(request: Request) -> Principal | None:
    principal: Principal | None = getattr(request.state, "principal", None)
    return principal


def _caller_of(request: Request) -> tuple[str, ...]:
    principal = _principal_of(request)
    return ("address", address_of(request)) if principal is None else ("user", principal.user_id)


_PROCESS = ("process",)
