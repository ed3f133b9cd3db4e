"""Principals: team, role and scopes of a user, an API key or a service account, as of now."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import select, update

from cluster.database.engine import Database
from cluster.database.tables import ApiKeyRow, ClientRow, SessionRow, TeamRow, UserRow
from cluster.repositories.hashing import secret_id
from quantis.errors import Forbidden, QuantisError
from quantis.types.accounts import Role
from quantis.types.keys import Scope
from quantis.types.teams import Quota

RANK = {Role.viewer: 0, Role.analyst: 1, Role.ml_engineer: 2, Role.admin: 3}
log = logging.getLogger("quantis.api")


@dataclass(frozen=True)
class Principal:
    """The identity behind a call. `scopes` limit a key or service account further than its role; None does not.

    `credential` is the id of the session, key or service account that the call came with.
    """

    user_id: str
    user_name: str
    team: str
    role: Role
    kind: Literal["user", "key", "client"] = "user"
    scopes: frozenset[Scope] | None = None
    credential: str = ""
    quota: Quota = field(default_factory=Quota)
    """Quota that was set for the team, without defaults."""
    factor_missing: bool = False
    """True if the platform requires a second factor that the user has not set up."""

    def has_role(self, minimum_role: Role) -> bool:
        return RANK[self.role] >= RANK[minimum_role]


@dataclass(frozen=True)
class Author:
    """The account by whose rights something runs by itself; `credential` is the key it was made with, if any."""

    kind: Literal["user", "key", "client"]
    user_id: str
    user_name: str
    credential: str = ""

    @classmethod
    def from_principal(cls, principal: Principal) -> Author:
        credential = principal.credential if principal.kind == "key" else ""
        return cls(principal.kind, principal.user_id, principal.user_name, credential)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Principals:
    """Lookups of principals; each method returns None for an account that is disabled, ended or gone."""

    def __init__(self, database: Database, factor_required: bool = False) -> None:
        self._database, self._factor_required = database, factor_required

    def user(self, user_id: str, session_id: str) -> Principal | None:
        """Return a signed-in user, as long as the session has not ended."""
        with self._database.read() as session:
            query = (
                select(UserRow, TeamRow.quota, SessionRow.revoked_at)
                .join(TeamRow, TeamRow.id == UserRow.team_id)
                .outerjoin(SessionRow, SessionRow.id == session_id)
            )
            row = session.execute(query.where(UserRow.id == user_id)).first()
            if row is None or row[0].disabled or row.revoked_at is not None:
                return None
            missing = self._misses_factor(row[0])
            return _principal(row[0], row.quota, credential=session_id, factor_missing=missing)

    def client(self, client_id: str, token_secret: str | None = None) -> Principal | None:
        """Return a service account, as long as `token_secret` names the secret that it has now.

        Tokens of earlier versions name none; they end within the hour.
        """
        with self._database.read() as session:
            query = select(ClientRow, TeamRow.quota).join(TeamRow, TeamRow.id == ClientRow.team_id)
            row = session.execute(query.where(ClientRow.id == client_id)).first()
            if row is None or row[0].disabled:
                return None
            if token_secret and token_secret != secret_id(row[0].secret_hash):
                return None
            client, scopes = row[0], frozenset(Scope(scope) for scope in row[0].scopes)
            quota = Quota.model_validate(row.quota)
            return Principal(
                client.id, client.name, client.team_id, Role(client.role), "client", scopes, client.id, quota
            )

    def key(self, key_hash: str) -> Principal | None:
        """Return the owner of a key, within the key's scopes."""
        now = datetime.now(UTC)
        with self._database.read() as session:
            query = (
                select(ApiKeyRow, UserRow, TeamRow.quota)
                .join(UserRow, UserRow.id == ApiKeyRow.user_id)
                .join(TeamRow, TeamRow.id == UserRow.team_id)
            )
            row = session.execute(query.where(ApiKeyRow.key_hash == key_hash)).first()
            if row is None:
                return None
            key, user, quota = row
            if user.disabled or key.revoked_at or key.expires_at <= now:
                return None
            scopes = frozenset(Scope(scope) for scope in key.scopes)
            missing = self._misses_factor(user)
            principal = _principal(
                user, quota, kind="key", scopes=scopes, credential=key.id, factor_missing=missing
            )
            needs_mark = key.used_at is None or now - key.used_at > timedelta(minutes=1)
        if needs_mark:
            self._mark_used(principal.credential, now)
        return principal

    def acting(self, team: str, author: Author) -> Principal:
        """Return what an author may do now; Forbidden, with the reason, for one that may do nothing any more."""
        with self._database.read() as session:
            quota = Quota.model_validate(session.get_one(TeamRow, team).quota)
            row = session.get(ClientRow, (team, author.user_id)) if author.kind == "client" else None
            user = session.get(UserRow, author.user_id) if author.kind != "client" else None
            key = session.get(ApiKeyRow, (team, author.credential)) if author.kind == "key" else None
            account = row or user
            if account is None or account.team_id != team:
                raise Forbidden(f"the account {author.user_name!r} that it acts for is gone")
            if account.disabled:
                raise Forbidden(f"the account {author.user_name!r} that it acts for is disabled")
            if author.kind == "key" and (
                key is None or key.revoked_at or key.expires_at <= datetime.now(UTC)
            ):
                raise Forbidden(f"the API key of {author.user_name!r} that it was made with has ended")
            limits = row.scopes if row else key.scopes if key else None
            scopes = None if limits is None else frozenset(Scope(scope) for scope in limits)
            return Principal(
                author.user_id,
                author.user_name,
                team,
                Role(account.role),
                author.kind,
                scopes,
                author.credential,
                quota,
            )

    def _misses_factor(self, row: UserRow) -> bool:
        """Return True if a required second factor is not set up; identity providers ask for their own."""
        return self._factor_required and not row.totp_on and row.external_id is None

    def _mark_used(self, key_id: str, now: datetime) -> None:
        try:
            with self._database.append() as session:
                session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(used_at=now))
        except QuantisError as error:  # when it was used last is worth less than the request
            log.warning("the use of API key %s was not recorded: %s", key_id, error.message)


def _principal(row: UserRow, quota: dict[str, Any], **fields: Any) -> Principal:
    limits = Quota.model_validate(quota)
    return Principal(row.id, row.user_name, row.team_id, Role(row.role), quota=limits, **fields)
