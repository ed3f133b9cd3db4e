"""What was answered to a request that came with a key, so that sending it again does nothing twice."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import IdempotencyKeyRow
from quantis.errors import Conflict


def request_hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def find(session: Session, team: str, user: str, key: str, hashed: str) -> str | None:
    """The id of what a key's request made; Conflict when it was another request."""
    row = session.get(IdempotencyKeyRow, (team, user, key))
    if row is None:
        return None
    if row.request_hash != hashed:
        raise Conflict(f"idempotency key {key!r} was used for another request; take a new key")
    return row.made


def save(session: Session, team: str, user: str, key: str, hashed: str, made: str) -> None:
    session.add(
        IdempotencyKeyRow(
            team_id=team,
            user_name=user,
            key=key,
            request_hash=hashed,
            made=made,
            created_at=datetime.now(UTC),
        )
    )


class IdempotencyKeys:
    """For what is made outside of the transaction that remembers it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, team: str, user: str, key: str, hashed: str) -> str | None:
        with self._database.read() as session:
            return find(session, team, user, key, hashed)

    def save(self, team: str, user: str, key: str, hashed: str, made: str) -> str:
        """The id that the key stands for: `made`, or that of a request which was faster."""
        with self._database.write() as session:
            first = find(session, team, user, key, hashed)
            if first is None:
                save(session, team, user, key, hashed, made)
            return first or made
