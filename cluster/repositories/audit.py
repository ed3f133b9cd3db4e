"""Audit trail: an event is begun before a mutating call and sealed into a chain of hashes after it.

A call whose process is killed leaves a begun event, which the sweeper seals as interrupted; so there is one event
for each call, whatever happens. Sealing is one transaction at a time, so the chain never forks.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import AuditEventRow
from cluster.repositories import paging
from quantis.types.audit import AuditEvent, AuditVerdict, Outcome
from quantis.types.base import Page

START = "0" * 64
ABANDONED_AFTER = timedelta(hours=1)
"""Longer than any request may take."""
_CHUNK = 1000


@dataclass
class AuditedCall:
    """A mutating call while it goes on."""

    action: str
    object: str
    request_id: str
    address: str
    team: str = ""
    actor_kind: str = "nobody"
    actor_id: str = ""
    actor: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid4()))


class AuditTrail:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, call: AuditedCall) -> None:
        """Record that the call is about to happen."""
        row = AuditEventRow(id=call.id, at=datetime.now(UTC), status=0, outcome=Outcome.interrupted)
        _describe(row, call)
        with self._database.append() as session:
            session.add(row)

    def seal(self, call: AuditedCall, status: int) -> AuditEvent | None:
        """Add the call with its outcome to the chain; None when it is in the chain already."""
        with self._database.write() as session:
            row = session.get_one(AuditEventRow, call.id)
            if row.seq is not None:
                return None
            _describe(row, call)
            row.status, row.outcome = status, _outcome(status)
            _chain(session, row)
            return _event(row)

    def seal_abandoned(self, before: datetime | None = None) -> int:
        """Seal old events that never ended as interrupted; return their number."""
        limit = before or datetime.now(UTC) - ABANDONED_AFTER
        query = (
            select(AuditEventRow)
            .where(AuditEventRow.seq.is_(None), AuditEventRow.at < limit)
            .order_by(AuditEventRow.at, AuditEventRow.id)
            .limit(_CHUNK)
        )
        with self._database.read() as session:
            if session.scalar(query.limit(1)) is None:
                return 0
        with self._database.write() as session:
            rows = session.scalars(query).all()
            for row in rows:
                _chain(session, row)
            return len(rows)

    def page(
        self,
        teams: list[str],
        *,
        actor: str | None = None,
        action: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[AuditEvent]:
        """Return a page, newest first; `action` matches any part."""
        query = (
            select(AuditEventRow)
            .where(AuditEventRow.team_id.in_(teams), AuditEventRow.seq.is_not(None))
            .order_by(AuditEventRow.seq.desc())
        )
        if actor:
            query = query.where(AuditEventRow.actor == actor)
        if action:
            query = query.where(AuditEventRow.action.icontains(action, autoescape=True))
        if outcome:
            query = query.where(AuditEventRow.outcome == outcome)
        if since:
            query = query.where(AuditEventRow.at >= since)
        if until:
            query = query.where(AuditEventRow.at < until)
        if cursor:
            query = query.where(AuditEventRow.seq < _seq_of(cursor))
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, _event, lambda row: (str(row.seq),))

    def verify(self) -> AuditVerdict:
        """Check the whole chain; the verdict names the first event that does not fit."""
        previous, count = START, 0
        while True:
            with self._database.read() as session:
                query = select(AuditEventRow).where(AuditEventRow.seq > count).order_by(AuditEventRow.seq)
                rows = session.scalars(query.limit(_CHUNK)).all()
                for row in rows:
                    reason = _misfit(row, count + 1, previous)
                    if reason:
                        return AuditVerdict(
                            intact=False, events=count, head=previous, first_altered=count + 1, reason=reason
                        )
                    count, previous = count + 1, str(row.hash)
            if len(rows) < _CHUNK:
                return AuditVerdict(intact=True, events=count, head=previous)


def append_sealed(session: Session, call: AuditedCall, status: int = 200) -> None:
    """Add what the platform did by itself to the chain, in the transaction that does it: one that writes alone."""
    row = AuditEventRow(id=call.id, at=datetime.now(UTC), status=status, outcome=_outcome(status))
    _describe(row, call)
    session.add(row)
    _chain(session, row)


def _describe(row: AuditEventRow, call: AuditedCall) -> None:
    row.team_id, row.action, row.object = call.team, call.action[:120], call.object[:400]
    row.actor_kind, row.actor_id, row.actor = call.actor_kind, call.actor_id[:80], call.actor[:80]
    row.request_id, row.address, row.detail = call.request_id[:64], call.address[:64], call.detail


def _outcome(status: int) -> Outcome:
    if status >= 500:
        return Outcome.failed
    return Outcome.done if status < 400 else Outcome.refused


def _chain(session: Session, row: AuditEventRow) -> None:
    """Make a row the last of the chain, within a transaction that writes alone."""
    session.flush()
    query = select(AuditEventRow.seq, AuditEventRow.hash).where(AuditEventRow.seq.is_not(None))
    last = session.execute(query.order_by(AuditEventRow.seq.desc()).limit(1)).first()
    row.seq, row.previous = (last.seq + 1, last.hash) if last else (1, START)
    row.hash = _hash(row)
    session.flush()


def _hash(row: AuditEventRow) -> str:
    fields = [
        row.seq,
        row.id,
        row.at.astimezone(UTC).isoformat(),
        row.team_id,
        row.actor_kind,
        row.actor_id,
        row.actor,
        row.action,
        row.object,
        row.status,
        row.outcome,
        row.request_id,
        row.address,
        row.detail,
        row.previous,
    ]
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _misfit(row: AuditEventRow, seq: int, previous: str) -> str:
    if row.seq != seq:
        return f"event {seq} is missing"
    if row.previous != previous:
        return f"event {seq} does not follow the one before it"
    return "" if row.hash == _hash(row) else f"event {seq} was altered"


def _seq_of(cursor: str) -> int:
    (text,) = paging.decode(cursor, 1)
    return paging.integer(text)


def _event(row: AuditEventRow) -> AuditEvent:
    return AuditEvent(
        seq=row.seq or 0,
        id=row.id,
        at=row.at,
        team=row.team_id,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor=row.actor,
        action=row.action,
        object=row.object,
        status=row.status,
        outcome=Outcome(row.outcome),
        request_id=row.request_id,
        address=row.address,
        detail=row.detail,
        previous=row.previous or "",
        hash=row.hash or "",
    )
