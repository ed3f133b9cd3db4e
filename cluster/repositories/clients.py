"""Service accounts: machines with a role, scopes and a secret."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import ClientRow, UserRow
from cluster.repositories.approvals import holders_of, withdraw_all
from cluster.repositories.hashing import digest, new_secret, secret_id
from quantis.errors import Conflict, NotFound, Unauthenticated
from quantis.types.accounts import Role
from quantis.types.keys import (
    CreatedServiceAccount,
    NewServiceAccount,
    Scope,
    ServiceAccount,
    ServiceAccountChange,
)

PREFIX = "qs_"


class AuthenticatedClient(NamedTuple):
    """A service account that showed its secret; tokens carry `secret_id` and end with that secret."""

    team: str
    account: ServiceAccount
    secret_id: str


class Clients:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, team: str, user: str, new: NewServiceAccount) -> CreatedServiceAccount:
        secret = new_secret(PREFIX)
        with self._database.write() as session:
            same_name = (ClientRow.team_id == team, ClientRow.name == new.name)
            if session.scalar(select(ClientRow.id).where(*same_name)) or session.scalar(
                select(UserRow.id).where(UserRow.user_name == new.name)
            ):
                raise Conflict(f"the name {new.name!r} is taken by an account; choose another")
            row = ClientRow(
                id=str(uuid4()),
                team_id=team,
                name=new.name,
                role=new.role,
                scopes=sorted(new.scopes),
                secret_hash=digest(secret),
                disabled=False,
                created_at=datetime.now(UTC),
                created_by=user,
                holders=[user],
            )
            session.add(row)
            return CreatedServiceAccount(**_account(row).model_dump(), client_secret=secret)

    def all(self, team: str) -> list[ServiceAccount]:
        with self._database.read() as session:
            query = select(ClientRow).where(ClientRow.team_id == team).order_by(ClientRow.name)
            return [_account(row) for row in session.scalars(query)]

    def change(self, team: str, client_id: str, change: ServiceAccountChange) -> ServiceAccount:
        with self._database.write() as session:
            row = _find(session, team, client_id)
            row.role = change.role or row.role
            row.scopes = sorted(change.scopes) if change.scopes else row.scopes
            row.disabled = row.disabled if change.disabled is None else change.disabled
            return _account(row)

    def new_secret(self, team: str, client_id: str, user: str) -> CreatedServiceAccount:
        """Replace the secret, for a user who becomes one of its holders; the previous one stops working at once."""
        secret = new_secret(PREFIX)
        with self._database.write() as session:
            row = _find(session, team, client_id)
            row.secret_hash = digest(secret)
            row.holders = sorted({*holders_of(row), user})
            return CreatedServiceAccount(**_account(row).model_dump(), client_secret=secret)

    def delete(self, team: str, client_id: str) -> None:
        with self._database.write() as session:
            row = _find(session, team, client_id)
            withdraw_all(session, team, row.name)
            session.delete(row)

    def get(self, team: str, client_id: str) -> ServiceAccount:
        with self._database.read() as session:
            return _account(_find(session, team, client_id))

    def authenticate(self, client_id: str, secret: str) -> AuthenticatedClient:
        """Return the account of an id and its secret; Unauthenticated if they do not belong together."""
        with self._database.read() as session:
            row = session.scalar(select(ClientRow).where(ClientRow.id == client_id[:36]))
            expected = row.secret_hash if row else digest("")
            right = hmac.compare_digest(expected, digest(secret))
            if row is None or not right or row.disabled:
                raise Unauthenticated("client id or client secret is wrong")
            return AuthenticatedClient(row.team_id, _account(row), secret_id(row.secret_hash))


def _find(session: Session, team: str, client_id: str) -> ClientRow:
    row = session.get(ClientRow, (team, client_id))
    if row is None:
        raise NotFound(f"no service account {client_id[:60]!r} in this team")
    return row


def _account(row: ClientRow) -> ServiceAccount:
    return ServiceAccount(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        scopes=[Scope(scope) for scope in row.scopes],
        disabled=row.disabled,
        created_at=row.created_at,
        created_by=row.created_by,
    )
