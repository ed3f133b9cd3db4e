"""Changes that two people decide: requested by one, approved or refused by another."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from pydantic import TypeAdapter
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import ApprovalRow, ClientRow, ModelPolicyRow, UserRow
from cluster.repositories import paging
from quantis.errors import Conflict, Forbidden, NotFound
from quantis.types.approvals import AliasChange, Approval, ApprovalState, Change, Policy
from quantis.types.base import Page

_CHANGE: TypeAdapter[Change] = TypeAdapter(Change)


class Approvals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def policy(self, team: str, model: str) -> Policy | None:
        """Return the policy of a model; None where the platform's default holds."""
        with self._database.read() as session:
            row = session.get(ModelPolicyRow, (team, model))
            return Policy(row.policy) if row else None

    def set_policy(self, team: str, model: str, policy: Policy) -> None:
        with self._database.write() as session:
            session.merge(ModelPolicyRow(team_id=team, model=model, policy=policy))

    def request(self, team: str, model: str, user: str, change: Change) -> Approval:
        """Record a request for a change; the same request again returns the one that is pending.

        An earlier request of the same user for the same object is withdrawn; somebody else's must be decided first
        (Conflict).
        """
        with self._database.write() as session:
            for row in _pending(session, team, model):
                pending = _CHANGE.validate_python(row.change)
                if _target(pending) != _target(change):
                    continue
                if row.requested_by != user:
                    raise Conflict(
                        f"{row.requested_by!r} asked to change the same; decide request {row.id} first"
                    )
                if pending == change:
                    return _approval(row)
                row.state = ApprovalState.withdrawn
                row.decided_at, row.decided_by = datetime.now(UTC), user
            row = ApprovalRow(
                id=str(uuid4()),
                team_id=team,
                model=model,
                change=change.model_dump(mode="json"),
                state=ApprovalState.pending,
                requested_at=datetime.now(UTC),
                requested_by=user,
            )
            session.add(row)
            return _approval(row)

    def decide(self, team: str, approval_id: str, user: str, *, approve: bool) -> Approval:
        """Approve somebody else's request, or refuse it; refusing one's own request withdraws it."""
        with self._database.write() as session:
            row = _find(session, team, approval_id)
            if row.state != ApprovalState.pending:
                raise Conflict(f"this request was {row.state} by {row.decided_by} already; ask again")
            requesters = _people_behind(session, team, row.requested_by)
            is_requester = user in requesters
            if approve:
                _check_second_person(row.requested_by, requesters, user)
            refused = ApprovalState.withdrawn if is_requester else ApprovalState.refused
            row.state = ApprovalState.approved if approve else refused
            row.decided_at, row.decided_by = datetime.now(UTC), user
            return _approval(row)

    def reopen(self, team: str, approval_id: str) -> None:
        """Undo a decision whose change could not be applied."""
        with self._database.write() as session:
            row = _find(session, team, approval_id)
            row.state, row.decided_at, row.decided_by = ApprovalState.pending, None, None

    def get(self, team: str, approval_id: str) -> Approval:
        with self._database.read() as session:
            return _approval(_find(session, team, approval_id))

    def page(
        self, team: str, *, state: ApprovalState | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Approval]:
        """Return a page, newest first."""
        query = (
            select(ApprovalRow)
            .where(ApprovalRow.team_id == team)
            .order_by(ApprovalRow.requested_at.desc(), ApprovalRow.id.desc())
        )
        if state:
            query = query.where(ApprovalRow.state == state)
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            before = (ApprovalRow.requested_at == timestamp) & (ApprovalRow.id < last)
            query = query.where(or_(ApprovalRow.requested_at < timestamp, before))
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, _approval, lambda row: (row.requested_at.isoformat(), row.id))


def holders_of(row: ClientRow) -> list[str]:
    """Return the users who were shown a secret of a service account, and so can act as it."""
    return row.holders or [row.created_by]


def withdraw_all(session: Session, team: str, requester: str) -> None:
    """Withdraw what an account asked for that is about to go, within the caller's transaction."""
    pending = (ApprovalRow.team_id == team, ApprovalRow.state == ApprovalState.pending)
    session.execute(
        update(ApprovalRow)
        .where(*pending, ApprovalRow.requested_by == requester)
        .values(state=ApprovalState.withdrawn, decided_at=datetime.now(UTC), decided_by=requester)
    )


def _people_behind(session: Session, team: str, requester: str) -> list[str]:
    """Return the people who may have made a request: the user, or whoever can act as the service account."""
    client = session.scalar(select(ClientRow).where(ClientRow.team_id == team, ClientRow.name == requester))
    if client is not None:
        return holders_of(client)
    of_team = (UserRow.team_id == team, UserRow.user_name == requester)
    user = session.scalar(select(UserRow.user_name).where(*of_team))
    return [] if user is None else [user]


def _check_second_person(requester: str, user_names: list[str], user: str) -> None:
    """Raise Forbidden unless `user` is certainly somebody else than whoever asked."""
    if not user_names:
        raise Forbidden(
            f"the account {requester!r} that asked for this is gone, so nobody can tell who asked; "
            "refuse it and ask again (policy two_person)"
        )
    if user in user_names and requester == user:
        raise Forbidden(
            "you asked for this change yourself, so another person must approve it (policy two_person)"
        )
    if user in user_names:
        raise Forbidden(
            f"the service account {requester!r} asked for this change and you were shown its secret, "
            "so another person must approve it (policy two_person)"
        )


def _pending(session: Session, team: str, model: str) -> list[ApprovalRow]:
    query = select(ApprovalRow).where(
        ApprovalRow.team_id == team, ApprovalRow.model == model, ApprovalRow.state == ApprovalState.pending
    )
    return list(session.scalars(query))


def _target(change: Change) -> str:
    return f"alias {change.alias}" if isinstance(change, AliasChange) else change.kind


def _find(session: Session, team: str, approval_id: str) -> ApprovalRow:
    row = session.get(ApprovalRow, (team, approval_id))
    if row is None:
        raise NotFound(f"no request {approval_id[:60]!r}; `quantis approvals ls` lists them")
    return row


def _approval(row: ApprovalRow) -> Approval:
    return Approval(
        id=row.id,
        model=row.model,
        change=_CHANGE.validate_python(row.change),
        state=ApprovalState(row.state),
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
    )
