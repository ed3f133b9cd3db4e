"""Rate limits: requests of a team per minute, of an address without an account, and wrong sign-ins.

The address is the peer's. Forwarding headers count only from peers that the server was told to believe
(`QUANTIS_TRUSTED_PROXIES`), which is decided before the application sees a request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from cluster.tenancy.rate_counters import RateCount, RateCounters
from quantis.errors import TooManyRequests

MINUTE = 60.0
ANONYMOUS_PER_ADDRESS = 300
"""Requests a minute that one address may make to open routes, or with a token that is refused."""

SIGN_IN_SECONDS = 300.0
WRONG_PER_ADDRESS, WRONG_PER_PAIR, WRONG_PER_ACCOUNT = 60, 10, 100


@dataclass(frozen=True)
class RateLimitStatus:
    """Content of the headers `RateLimit` and `RateLimit-Policy`."""

    name: str
    limit: int
    count: RateCount

    def headers(self) -> dict[str, str]:
        left = max(0, self.limit - self.count.used)
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.limit};w={MINUTE:.0f}',
            "RateLimit": f'"{self.name}";r={left};t={self.count.retry_after}',
        }


class RateLimits:
    def __init__(self, counters: RateCounters) -> None:
        self._counters = counters

    async def team(self, team: str, limit: int | None) -> RateLimitStatus | None:
        """Count a request of a team; its `count.admitted` says whether it may go on."""
        return (
            None if limit is None else RateLimitStatus("team", limit, await self._take(f"team {team}", limit))
        )

    async def anonymous(self, address: str) -> None:
        """Count a request without a valid sign-in; TooManyRequests beyond the limit."""
        count = await self._take(f"address {address}", ANONYMOUS_PER_ADDRESS)
        if not count.admitted:
            raise TooManyRequests(
                f"more than {ANONYMOUS_PER_ADDRESS} requests a minute from one address without a valid sign-in; wait",
                retry_after=count.retry_after,
            )

    def used(self, team: str) -> RateCount:
        return self._counters.take(f"team {team}", 1, MINUTE, cost=0)

    @contextmanager
    def sign_in(self, account: str, address: str, *, familiar: bool = False) -> Iterator[None]:
        """Count an attempt to sign in unless it succeeds.

        An account is never locked: it takes some attempts in five minutes from each address and some more from all,
        whoever makes them. An address that is `familiar` is not held to the latter, so that others' wrong
        passwords do not shut the owner out.
        """
        limits = [
            (f"sign-in from {address}", WRONG_PER_ADDRESS),
            (f"sign-in to {account} from {address}", WRONG_PER_PAIR),
        ]
        if not familiar:
            limits.append((f"sign-in to {account}", WRONG_PER_ACCOUNT))
        spent: list[tuple[str, int]] = []
        for key, limit in limits:
            count = self._counters.take(key, limit, SIGN_IN_SECONDS)
            if not count.admitted:
                self._give_back(spent)
                raise TooManyRequests(
                    f"too many wrong sign-ins; try again in {count.retry_after} seconds",
                    retry_after=count.retry_after,
                )
            spent.append((key, limit))
        yield
        self._give_back(spent)

    def _give_back(self, spent: list[tuple[str, int]]) -> None:
        for key, limit in spent:
            self._counters.take(key, limit, SIGN_IN_SECONDS, cost=-1)

    async def _take(self, key: str, limit: int) -> RateCount:
        if self._counters.blocking:
            return await run_in_threadpool(self._counters.take, key, limit, MINUTE)
        return self._counters.take(key, limit, MINUTE)


def address_of(request: Request) -> str:
    """Return the peer's address; of IPv6 the /64 network that one household has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
