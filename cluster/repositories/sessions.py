"""Sessions: one per sign-in, continued by refresh tokens that each work once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session as Transaction

from cluster.database.engine import Database
from cluster.database.tables import RefreshTokenRow, SessionRow, UserRow
from cluster.repositories.hashing import digest, new_secret
from quantis.errors import NotFound, TooManyRequests, Unauthenticated
from quantis.types.accounts import Role, Session, User

RETENTION = timedelta(days=30)
"""Retention of ended sessions, so that a token that returns late is recognised."""


MAX_SESSIONS = 50
"""Sessions of one user; a further sign-in ends the least recently used one."""


REFRESHES, REFRESH_WINDOW = 60, timedelta(minutes=5)
"""Refresh tokens that one session gets within the window; each is a row until long after the session's end."""


class SessionLifetime(NamedTuple):
    """Days until an unused session ends, and until any session ends."""

    idle: int = 14
    max_days: int = 30

    def end(self, started: datetime, now: datetime) -> datetime:
        return min(now + timedelta(days=self.idle), started + timedelta(days=self.max_days))


class TokenRotation(NamedTuple):
    """The owner of a session, and its next refresh token, handed out once."""

    user: User
    token: str
    session_id: str
    expires_at: datetime


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self, user: User, lifetime: SessionLifetime, agent: str = "", address: str = ""
    ) -> TokenRotation:
        now = datetime.now(UTC)
        with self._database.write() as session:
            _make_room(session, user)
            row = SessionRow(
                id=str(uuid4()),
                team_id=user.team,
                user_id=user.id,
                agent=agent[:200],
                address=address[:64],
                created_at=now,
                used_at=now,
                expires_at=lifetime.end(now, now),
            )
            session.add(row)
            session.flush()
            return TokenRotation(user, _new_token(session, row), row.id, row.expires_at)

    def rotate(self, token: str, lifetime: SessionLifetime) -> TokenRotation:
        """Exchange a refresh token for the next of its session; a token that comes twice ends the session."""
        reused = False
        with self._database.write() as session:
            link = session.get(RefreshTokenRow, digest(token))
            row = session.get(SessionRow, link.family) if link else None
            user = session.get(UserRow, row.user_id) if row else None
            now = datetime.now(UTC)
            if link is None or row is None or user is None or user.disabled or row.revoked_at:
                raise Unauthenticated("the refresh token is not valid any more; sign in again")
            if link.used_at:
                row.revoked_at = now
                reused = True
            elif min(link.expires_at, lifetime.end(row.created_at, now)) <= now:
                raise Unauthenticated("the refresh token is not valid any more; sign in again")
            else:
                _check_refreshes(session, row, now)
                link.used_at = row.used_at = now
                row.expires_at = lifetime.end(row.created_at, now)
                rotation = TokenRotation(user_of(user), _new_token(session, row), row.id, row.expires_at)
        if reused:
            raise Unauthenticated("the refresh token was used before; its session is ended, sign in again")
        return rotation

    def end_by_token(self, token: str) -> User | None:
        """Sign out: end the session of a token and return its user; an unknown token is no error."""
        with self._database.write() as session:
            link = session.get(RefreshTokenRow, digest(token))
            if link is None:
                return None
            _end(session, SessionRow.id == link.family)
            return user_of(session.get_one(UserRow, link.user_id))

    def for_user(self, user_id: str, current: str = "") -> list[Session]:
        """Return the sessions that could still be continued, last used first."""
        with self._database.read() as session:
            query = (
                select(SessionRow)
                .where(SessionRow.user_id == user_id, SessionRow.revoked_at.is_(None))
                .where(SessionRow.expires_at > datetime.now(UTC))
                .order_by(SessionRow.used_at.desc(), SessionRow.id)
                .limit(500)
            )
            return [_session(row, current) for row in session.scalars(query)]

    def is_familiar(self, user_name: str, address: str) -> bool:
        """Return True if the user signed in from this address within the last month."""
        since = datetime.now(UTC) - RETENTION
        with self._database.read() as session:
            query = (
                select(SessionRow.id)
                .join(UserRow, UserRow.id == SessionRow.user_id)
                .where(UserRow.user_name == user_name, SessionRow.address == address[:64])
                .where(SessionRow.used_at > since)
            )
            return session.scalar(query.limit(1)) is not None

    def started_at(self, user_id: str, session_id: str) -> datetime | None:
        """Return the time of the sign-in that began a session of a user; None when it is not one of theirs."""
        with self._database.read() as session:
            query = select(SessionRow.created_at).where(
                SessionRow.user_id == user_id, SessionRow.id == session_id
            )
            return session.scalar(query)

    def end(self, user_id: str, session_id: str) -> None:
        """End a session of a user; NotFound when it is not one of theirs."""
        with self._database.write() as session:
            condition = (SessionRow.user_id == user_id) & (SessionRow.id == session_id)
            if session.scalar(select(SessionRow.id).where(condition)) is None:
                raise NotFound(f"no session {session_id[:60]!r}; `quantis sessions ls` lists yours")
            _end(session, condition)

    def end_others(self, user_id: str, current: str) -> None:
        with self._database.write() as session:
            end_all(session, user_id, except_session=current)

    def forget_old(self) -> None:
        """Remove the tokens and sessions that ended a month ago."""
        limit = datetime.now(UTC) - RETENTION
        with self._database.write() as session:
            session.execute(delete(RefreshTokenRow).where(RefreshTokenRow.expires_at < limit))
            session.execute(delete(SessionRow).where(SessionRow.expires_at < limit))


def user_of(row: UserRow) -> User:
    return User(
        id=row.id,
        user_name=row.user_name,
        role=Role(row.role),
        team=row.team_id,
        disabled=row.disabled,
        created_at=row.created_at,
        second_factor=bool(row.totp_on),
        external=row.external_id is not None,
    )


def end_all(session: Transaction, user_id: str, except_session: str = "") -> None:
    """End every session of a user but `except_session`, within the caller's transaction."""
    _end(session, (SessionRow.user_id == user_id) & (SessionRow.id != except_session))


def _make_room(session: Transaction, user: User) -> None:
    living = (
        select(SessionRow.id)
        .where(SessionRow.user_id == user.id, SessionRow.revoked_at.is_(None))
        .order_by(SessionRow.used_at.desc(), SessionRow.id)
    )
    _end(session, SessionRow.id.in_(session.scalars(living.offset(MAX_SESSIONS - 1)).all()))


def _check_refreshes(session: Transaction, row: SessionRow, now: datetime) -> None:
    recent = (RefreshTokenRow.family == row.id, RefreshTokenRow.created_at > now - REFRESH_WINDOW)
    if (session.scalar(select(func.count()).select_from(RefreshTokenRow).where(*recent)) or 0) >= REFRESHES:
        minutes = int(REFRESH_WINDOW.total_seconds() // 60)
        raise TooManyRequests(
            f"this session was refreshed {REFRESHES} times within {minutes} minutes; use the access token "
            "until it ends",
            retry_after=60,
        )


def _end(session: Transaction, condition: object) -> None:
    session.execute(
        update(SessionRow)
        .where(condition, SessionRow.revoked_at.is_(None))  # type: ignore[arg-type]
        .values(revoked_at=datetime.now(UTC))
    )


def _new_token(session: Transaction, row: SessionRow) -> str:
    token = new_secret()
    session.add(
        RefreshTokenRow(
            token_hash=digest(token),
            team_id=row.team_id,
            user_id=row.user_id,
            family=row.id,
            created_at=row.used_at,
            expires_at=row.expires_at,
        )
    )
    return token


def _session(row: SessionRow, current: str) -> Session:
    return Session(
        id=row.id,
        created_at=row.created_at,
        used_at=row.used_at,
        expires_at=row.expires_at,
        agent=row.agent,
        address=row.address,
        current=row.id == current,
    )
