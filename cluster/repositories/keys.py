"""API keys: shown once, stored as a hash, limited by scopes and an end."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import ApiKeyRow, UserRow
from cluster.repositories.hashing import digest, new_secret
from quantis.errors import Conflict, NotFound
from quantis.types.keys import ApiKey, CreatedApiKey, NewApiKey, Scope

PREFIX = "qk_"
MAX_KEYS = 100
"""Keys that a user can hold at a time."""


class ApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, team: str, user_id: str, new: NewApiKey) -> CreatedApiKey:
        key, now = new_secret(PREFIX), datetime.now(UTC)
        with self._database.write() as session:
            alive = (ApiKeyRow.user_id == user_id, ApiKeyRow.revoked_at.is_(None), ApiKeyRow.expires_at > now)
            if (session.scalar(select(func.count()).where(*alive)) or 0) >= MAX_KEYS:
                raise Conflict(f"you hold {MAX_KEYS} keys, the most one may; revoke one first")
            row = ApiKeyRow(
                id=str(uuid4()),
                team_id=team,
                user_id=user_id,
                name=new.name,
                key_hash=digest(key),
                hint=key[:8],
                scopes=sorted(new.scopes),
                created_at=now,
                expires_at=now + new.expires_in,
            )
            session.add(row)
            owner = session.get_one(UserRow, user_id).user_name
            return CreatedApiKey(**_key(row, owner).model_dump(), key=key)

    def all(self, team: str, user_id: str | None = None) -> list[ApiKey]:
        """Return the keys of one user, or of the whole team, newest first."""
        query = (
            select(ApiKeyRow, UserRow.user_name)
            .join(UserRow, UserRow.id == ApiKeyRow.user_id)
            .where(ApiKeyRow.team_id == team)
            .order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id)
            .limit(1000)
        )
        if user_id is not None:
            query = query.where(ApiKeyRow.user_id == user_id)
        with self._database.read() as session:
            return [_key(row, owner) for row, owner in session.execute(query)]

    def revoke(self, team: str, key_id: str, user_id: str | None = None) -> ApiKey:
        """End a key of a user (of any user of the team when None); NotFound when it is not theirs."""
        with self._database.write() as session:
            row = session.get(ApiKeyRow, (team, key_id))
            if row is None or user_id not in (None, row.user_id):
                raise NotFound(f"no API key {key_id[:60]!r}; `quantis keys ls` lists yours")
            row.revoked_at = row.revoked_at or datetime.now(UTC)
            owner = select(UserRow.user_name).where(UserRow.team_id == team, UserRow.id == row.user_id)
            return _key(row, session.execute(owner).scalar_one())


def revoke_all(session: Session, user_id: str) -> None:
    """End every key of a user, within the caller's transaction."""
    alive = (ApiKeyRow.user_id == user_id, ApiKeyRow.revoked_at.is_(None))
    session.execute(update(ApiKeyRow).where(*alive).values(revoked_at=datetime.now(UTC)))


def _key(row: ApiKeyRow, owner: str) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        owner=owner,
        hint=row.hint,
        scopes=[Scope(scope) for scope in row.scopes],
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
    )
