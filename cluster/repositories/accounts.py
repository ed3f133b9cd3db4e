"""Users, their passwords and their rotating refresh tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import NamedTuple
from uuid import uuid4

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import RefreshTokenRow, TeamRow, UserRow
from quantis.errors import Conflict, NotFound, Unauthenticated
from quantis.types.accounts import Role, User

DEFAULT_TEAM = "default"
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_AT_ONCE = BoundedSemaphore(2)
_NOBODY = _HASHER.hash("no password is this one")
_REFUSED = "user name or password is wrong"


class Rotation(NamedTuple):
    """The owner of a refresh token, and the next token, handed out once."""

    user: User
    token: str


class Accounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def anybody(self) -> bool:
        with self._database.read() as session:
            return bool(session.scalar(select(func.count()).select_from(UserRow)))

    def create(self, team: str, user_name: str, password: str, role: Role, *, first: bool = False) -> User:
        """Add a user; Conflict when the name is taken, or `first` and somebody is there already."""
        password_hash = _hash(password)
        with self._database.write() as session:
            if first and session.scalar(select(func.count()).select_from(UserRow)):
                raise Conflict("the first admin exists already; sign in, or ask an admin for an account")
            if session.scalar(select(UserRow).where(UserRow.user_name == user_name)):
                raise Conflict(f"user name {user_name!r} is taken; choose another")
            if session.get(TeamRow, team) is None:
                session.add(TeamRow(id=team, created_at=_now()))
                session.flush()
            row = UserRow(
                id=str(uuid4()),
                team_id=team,
                user_name=user_name,
                password_hash=password_hash,
                role=role,
                disabled=False,
                created_at=_now(),
            )
            session.add(row)
            session.flush()
            return _user(row)

    def change(
        self, team: str, user_id: str, *, role: Role | None, disabled: bool | None, password: str | None
    ) -> User:
        """Change a user; the last enabled admin of a team stays one."""
        password_hash = _hash(password) if password else None
        with self._database.write() as session:
            row = session.get(UserRow, user_id)
            if row is None or row.team_id != team:
                raise NotFound(f"no user {user_id[:60]!r} in this team")
            if (
                row.role == Role.admin
                and not row.disabled
                and (disabled or role not in (None, Role.admin))
                and _admins(session, team) == 1
            ):
                raise Conflict(f"{row.user_name!r} is the last admin; make another one first")
            row.role = role or row.role
            row.disabled = row.disabled if disabled is None else disabled
            row.password_hash = password_hash or row.password_hash
            if disabled or password_hash:
                _revoke(session, RefreshTokenRow.user_id == row.id)
            return _user(row)

    def all(self, team: str) -> list[User]:
        with self._database.read() as session:
            query = select(UserRow).where(UserRow.team_id == team).order_by(UserRow.user_name)
            return [_user(row) for row in session.scalars(query)]

    def enabled(self, user_id: str) -> User | None:
        with self._database.read() as session:
            row = session.get(UserRow, user_id)
            return _user(row) if row and not row.disabled else None

    def authenticate(self, user_name: str, password: str) -> User:
        """The user whose password this is; an unknown name costs the same time as a wrong password."""
        with self._database.read() as session:
            row = session.scalar(select(UserRow).where(UserRow.user_name == user_name))
            user, expected = (_user(row), row.password_hash) if row else (None, _NOBODY)
        if not _verify(expected, password) or user is None or user.disabled:
            raise Unauthenticated(_REFUSED)
        return user

    def issue_refresh(self, user: User, days: int) -> str:
        with self._database.write() as session:
            return _new_token(session, user.team, user.id, str(uuid4()), days)

    def rotate(self, token: str, days: int) -> Rotation:
        """Exchange a refresh token for the next of its family; a token that comes twice ends the family."""
        reused = False
        with self._database.write() as session:
            row = session.get(RefreshTokenRow, _digest(token))
            user = session.get(UserRow, row.user_id) if row else None
            if row is None or user is None or user.disabled or row.revoked_at or row.expires_at <= _now():
                raise Unauthenticated("the refresh token is not valid any more; sign in again")
            if row.used_at:
                _revoke(session, RefreshTokenRow.family == row.family)
                reused = True
            else:
                row.used_at = _now()
                rotation = Rotation(_user(user), _new_token(session, row.team_id, user.id, row.family, days))
        if reused:
            raise Unauthenticated("the refresh token was used before; its session is ended, sign in again")
        return rotation

    def revoke(self, token: str) -> None:
        """End the family of a token; an unknown one is no error."""
        with self._database.write() as session:
            row = session.get(RefreshTokenRow, _digest(token))
            if row:
                _revoke(session, RefreshTokenRow.family == row.family)


def _now() -> datetime:
    return datetime.now(UTC)


def _hash(password: str) -> str:
    with _AT_ONCE:
        return _HASHER.hash(password)


def _verify(expected: str, password: str) -> bool:
    with _AT_ONCE:
        try:
            return _HASHER.verify(expected, password)
        except (VerificationError, InvalidHashError):
            return False


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _admins(session: Session, team: str) -> int:
    query = select(func.count()).select_from(UserRow)
    return (
        session.scalar(query.where(UserRow.team_id == team, UserRow.role == Role.admin, ~UserRow.disabled))
        or 0
    )


def _revoke(session: Session, which: ColumnElement[bool]) -> None:
    session.execute(
        update(RefreshTokenRow).where(which, RefreshTokenRow.revoked_at.is_(None)).values(revoked_at=_now())
    )


def _new_token(session: Session, team: str, user_id: str, family: str, days: int) -> str:
    token = secrets.token_urlsafe(32)
    session.add(
        RefreshTokenRow(
            token_hash=_digest(token),
            team_id=team,
            user_id=user_id,
            family=family,
            created_at=_now(),
            expires_at=_now() + timedelta(days=days),
        )
    )
    return token


def _user(row: UserRow) -> User:
    return User(
        id=row.id,
        user_name=row.user_name,
        role=Role(row.role),
        team=row.team_id,
        disabled=row.disabled,
        created_at=row.created_at,
    )
