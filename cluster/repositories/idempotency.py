"""Idempotency keys: the object that a request with a key created, so that sending it again creates nothing."""

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
    """Return the id of the object that a key's request created; Conflict when it was another request."""
    row = session.get(IdempotencyKeyRow, (team, user, key))
    if row is None:
        return None
    if row.request_hash != hashed:
        raise Conflict(f"idempotency key {key!r} was used for another request; take a new key")
    return row.object_id


def save(session: Session, team: str, user: str, key: str, *, hashed: str, object_id: str) -> None:
    session.add(
        IdempotencyKeyRow(
            team_id=team,
            user_name=user,
            key=key,
            request_hash=hashed,
            object_id=object_id,
            created_at=datetime.now(UTC),
        )
    )


class IdempotencyKeys:
    """Keys of objects that are created outside of the transaction that records them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, team: str, user: str, key: str, hashed: str) -> str | None:
        with self._database.read() as session:
            return find(session, team, user, key, hashed)

    def save(self, team: str, user: str, key: str, hashed: str, object_id: str) -> str:
        """Return the id that the key stands for: `object_id`, or that of a request which was faster."""
        with self._database.write() as session:
            first = find(session, team, user, key, hashed)
            if first is None:
                save(session, team, user, key, hashed=hashed, object_id=object_id)
            return first or object_id
