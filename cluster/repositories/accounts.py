"""Users and their passwords. Sessions, keys and second factors are in their own modules."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import ClientRow, TeamRow, UserRow
from cluster.repositories.hashing import NOBODY, digest, hash_password, verify_password
from cluster.repositories.keys import revoke_all
from cluster.repositories.passwords import check_password
from cluster.repositories.sessions import end_all, user_of
from quantis.errors import Conflict, NotFound, Unauthenticated
from quantis.types.accounts import Role, User
from quantis.types.teams import Quota

DEFAULT_TEAM = "default"
_REFUSED = "user name or password is wrong"


class UserAccounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def any_user(self) -> bool:
        with self._database.read() as session:
            return bool(session.scalar(select(func.count()).select_from(UserRow)))

    def create(self, team: str, user_name: str, password: str, role: Role, *, first: bool = False) -> User:
        """Add a user; Conflict when the name is taken, or `first` and there is a user already."""
        check_password(password, user_name)
        password_hash = hash_password(password)
        with self._database.write() as session:
            if first and session.scalar(select(func.count()).select_from(UserRow)):
                raise Conflict("the first admin exists already; sign in, or ask an admin for an account")
            if _is_taken(session, user_name):
                raise Conflict(f"user name {user_name!r} is taken; choose another")
            return user_of(_insert(session, team, user_name, password_hash, role))

    def create_team(self, team: str, quota: Quota, admin: str, password: str) -> None:
        """Add a team and its first admin, both or neither; Conflict when either name is taken."""
        check_password(password, admin)
        password_hash = hash_password(password)
        with self._database.write() as session:
            if session.get(TeamRow, team):
                raise Conflict(f"team {team!r} exists already; choose another name")
            if _is_taken(session, admin):
                raise Conflict(f"user name {admin!r} is taken; choose another")
            _insert(session, team, admin, password_hash, Role.admin)
            session.get_one(TeamRow, team).quota = quota.model_dump(exclude_none=True)

    def change(
        self,
        team: str,
        user_id: str,
        *,
        role: Role | None = None,
        disabled: bool | None = None,
        password: str | None = None,
        second_factor: bool | None = None,
    ) -> User:
        """Change a user; the last enabled admin of a team stays one.

        A password that an admin sets ends the user's sessions and API keys: whoever knew the previous one may have
        made some.
        """
        password_hash = None
        if password:
            with self._database.read() as session:
                check_password(password, _find(session, team, user_id).user_name)
            password_hash = hash_password(password)
        with self._database.write() as session:
            row = _find(session, team, user_id)
            loses = disabled or role not in (None, Role.admin)
            if row.role == Role.admin and not row.disabled and loses and _admins(session, team) == 1:
                raise Conflict(f"{row.user_name!r} is the last admin; make another one first")
            row.role = role or row.role
            row.disabled = row.disabled if disabled is None else disabled
            row.password_hash = password_hash or row.password_hash
            if second_factor is False:
                row.totp, row.totp_on, row.totp_step = None, False, 0
            if disabled or password_hash:
                end_all(session, row.id)
            if password_hash:
                revoke_all(session, row.id)
            return user_of(row)

    def change_password(self, user_id: str, new: str, except_session: str) -> None:
        """Change a password and end every session but `except_session`; API keys go on."""
        with self._database.read() as session:
            check_password(new, session.get_one(UserRow, user_id).user_name)
        password_hash = hash_password(new)
        with self._database.write() as session:
            session.get_one(UserRow, user_id).password_hash = password_hash
            end_all(session, user_id, except_session=except_session)

    def all(self, team: str) -> list[User]:
        with self._database.read() as session:
            query = select(UserRow).where(UserRow.team_id == team).order_by(UserRow.user_name)
            return [user_of(row) for row in session.scalars(query)]

    def enabled_user(self, user_id: str) -> User | None:
        with self._database.read() as session:
            row = session.get(UserRow, user_id)
            return user_of(row) if row and not row.disabled else None

    def team_of(self, user_name: str) -> str | None:
        """Return the team of a user name; None without a user of this name."""
        with self._database.read() as session:
            return session.scalar(select(UserRow.team_id).where(UserRow.user_name == user_name))

    def authenticate(self, user_name: str, password: str) -> User:
        """Return the user of a name and password; an unknown name takes the same time as a wrong password."""
        with self._database.read() as session:
            row = session.scalar(select(UserRow).where(UserRow.user_name == user_name))
            has_password = row is not None and row.password_hash != ""  # who signs in elsewhere has none  # nosec B105
            user, expected = (user_of(row), row.password_hash) if row and has_password else (None, NOBODY)
        if not verify_password(expected, password) or user is None or user.disabled:
            raise Unauthenticated(_REFUSED)
        return user

    def find_or_create_external(
        self, issuer: str, subject: str, wanted_name: str, team: str, role: Role
    ) -> User:
        """Return the user whom an identity provider vouches for; made at their first sign-in.

        It is never an account that exists under that name: the provider's `ann` need not be ours.
        """
        external_id = digest(f"{issuer}\n{subject}")
        with self._database.write() as session:
            row = session.scalar(select(UserRow).where(UserRow.external_id == external_id))
            if row is None:
                free = not _is_taken(session, wanted_name)
                name = wanted_name if free else f"{wanted_name[:54]}-{external_id[:8]}"
                row = _insert(session, team, name, "", role)
                row.external_id = external_id
            if row.disabled:
                raise Unauthenticated("this account is disabled; ask an admin")
            return user_of(row)


def _insert(session: Session, team: str, user_name: str, password_hash: str, role: Role) -> UserRow:
    now = datetime.now(UTC)
    if session.get(TeamRow, team) is None:
        session.add(TeamRow(id=team, created_at=now, quota={}))
        session.flush()
    row = UserRow(
        id=str(uuid4()),
        team_id=team,
        user_name=user_name,
        password_hash=password_hash,
        role=role,
        disabled=False,
        created_at=now,
        totp_on=False,
        totp_step=0,
    )
    session.add(row)
    session.flush()
    return row


def _is_taken(session: Session, user_name: str) -> bool:
    """Return True if a user or service account has the name: `created_by` means one of them."""
    queries = (
        select(UserRow.id).where(UserRow.user_name == user_name),
        select(ClientRow.id).where(ClientRow.name == user_name),
    )
    return any(session.scalar(query) for query in queries)


def _find(session: Session, team: str, user_id: str) -> UserRow:
    row = session.scalar(select(UserRow).where(UserRow.team_id == team, UserRow.id == user_id))
    if row is None:
        raise NotFound(f"no user {user_id[:60]!r} in this team")
    return row


def _admins(session: Session, team: str) -> int:
    query = select(func.count()).select_from(UserRow)
    return (
        session.scalar(query.where(UserRow.team_id == team, UserRow.role == Role.admin, ~UserRow.disabled))
        or 0
    )
