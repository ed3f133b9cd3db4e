"""Authentication: from a bearer token to a principal, looked up at most once a second each.

While the database does not answer, the last principal holds for `outage_seconds`, for reads and forecasts only.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.concurrency import run_in_threadpool

from cluster.repositories.hashing import digest
from cluster.repositories.keys import PREFIX
from cluster.repositories.principals import Principal, Principals
from quantis.errors import Unauthenticated, Unavailable
from serve.security import tokens

PRINCIPAL_SECONDS = 1.0
"""Age at which a principal is looked up again: changes of role and disabled accounts show after it."""

RETRY_SECONDS = 1.0
MAX_PRINCIPALS = 20_000
CLIENT = "client:"
_UNAUTHENTICATED = "this account, session or key is disabled, ended or gone; sign in again, or ask an admin"


@dataclass(frozen=True)
class AuthenticatedCaller:
    """A principal as it was looked up last; `unconfirmed` while the database cannot confirm it."""

    name: str
    lookup: Callable[[], Principal | None]
    principal: Principal
    unconfirmed: bool


class Authenticator:
    def __init__(self, principals: Principals, keys: tuple[bytes, ...], outage_seconds: float) -> None:
        self._principals, self._keys, self._outage_seconds = principals, keys, outage_seconds
        self._principals_by_name: OrderedDict[str, tuple[float, Principal | None]] = OrderedDict()
        self._down_until = 0.0
        self._lock = threading.Lock()

    async def authenticate(self, token: str) -> AuthenticatedCaller:
        """Return the caller of a token; Unauthenticated when it is nobody's now."""
        name, lookup = self._find_lookup(token)
        return await self._confirm(name, lookup)

    async def is_still_valid(self, caller: AuthenticatedCaller) -> bool:
        """Return True while a caller has the role and team of their admission; for long answers."""
        try:
            now = await self._confirm(caller.name, caller.lookup)
        except Unauthenticated:
            return False
        return (now.principal.role, now.principal.team) == (caller.principal.role, caller.principal.team)

    def forget(self) -> None:
        """Look every principal up again, after a change made by this process."""
        with self._lock:
            self._principals_by_name = OrderedDict(
                (name, (0.0, principal)) for name, (_, principal) in self._principals_by_name.items()
            )

    def _find_lookup(self, token: str) -> tuple[str, Callable[[], Principal | None]]:
        if token.startswith(PREFIX):
            hashed = digest(token[:100])
            return hashed, partial(self._principals.key, hashed)
        claims = tokens.read(token, *self._keys)
        name = f"{claims.subject} {claims.session}"
        if claims.subject.startswith(CLIENT):
            client_id = claims.subject.removeprefix(CLIENT)
            return name, partial(self._principals.client, client_id, claims.session)
        return name, partial(self._principals.user, claims.subject, claims.session)

    async def _confirm(self, name: str, lookup: Callable[[], Principal | None]) -> AuthenticatedCaller:
        with self._lock:
            at, principal = self._principals_by_name.get(name, (float("-inf"), None))
            age, down = time.monotonic() - at, time.monotonic() < self._down_until
        unconfirmed = False
        if age > PRINCIPAL_SECONDS:
            if down and principal is not None and age <= self._outage_seconds:
                unconfirmed = True
            else:
                principal, unconfirmed = await self._refresh(name, lookup, principal, age)
        if principal is None:
            raise Unauthenticated(_UNAUTHENTICATED)
        return AuthenticatedCaller(name, lookup, principal, unconfirmed)

    async def _refresh(
        self, name: str, lookup: Callable[[], Principal | None], last: Principal | None, age: float
    ) -> tuple[Principal | None, bool]:
        asked_at = time.monotonic()
        try:
            principal = await run_in_threadpool(lookup)
        except Unavailable:
            with self._lock:
                self._down_until = time.monotonic() + RETRY_SECONDS
            if last is None or age > self._outage_seconds:
                raise
            return last, True
        with self._lock:
            self._principals_by_name[name] = (asked_at, principal)
            self._principals_by_name.move_to_end(name)
            while len(self._principals_by_name) > MAX_PRINCIPALS:
                self._principals_by_name.popitem(last=False)
        return principal, False
