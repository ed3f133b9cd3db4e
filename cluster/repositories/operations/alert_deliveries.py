"""Notifications on their way: promised in the transaction of a change, sent at least once under one id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import CursorResult, Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from cluster.database.alert_tables import AlertChannelRow, AlertDeliveryRow
from cluster.database.engine import Database
from cluster.repositories import paging
from cluster.repositories.operations.alert_changes import promise_events
from quantis.errors import Conflict, NotFound
from quantis.types.base import Page
from quantis.types.operations.alert_channels import AlertDelivery, DeliveryState, PlatformEvent

MAX_ATTEMPTS = 12
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)
"""5 s, 10 s, ... up to an hour: twelve attempts are spread over four hours."""
ATTEMPT = timedelta(seconds=90)
"""Longer than any attempt takes, so that nobody else makes the next one meanwhile."""
KEPT = timedelta(days=90)
"""Time for which a notification is kept after its end."""
_RESPONSE_CHARACTERS = 500


def wait_after(attempts: int) -> timedelta:
    """Return how long to wait after a number of attempts that failed."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * (1 << max(0, attempts - 1)))


class AlertDeliveries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def tell_events(self, team: str, events: Sequence[PlatformEvent]) -> None:
        """Promise to tell the channels that take them of these events, each once, however often this is called."""
        if events:
            with self._database.write() as session:
                promise_events(session, team, events)

    def due(self, now: datetime | None = None, limit: int = 20) -> list[tuple[str, AlertDelivery]]:
        """Return (team, notification) to send now: the longest due of each channel, so that none delays another."""
        is_due = (
            AlertDeliveryRow.state == DeliveryState.pending,
            AlertDeliveryRow.not_before <= (now or datetime.now(UTC)),
        )
        ranked = (
            select(
                AlertDeliveryRow.id,
                func.row_number()
                .over(
                    partition_by=(AlertDeliveryRow.team_id, AlertDeliveryRow.channel_id),
                    order_by=(AlertDeliveryRow.not_before, AlertDeliveryRow.created_at, AlertDeliveryRow.id),
                )
                .label("place"),
            )
            .where(*is_due)
            .subquery()
        )
        query = (
            select(AlertDeliveryRow)
            .join(ranked, ranked.c.id == AlertDeliveryRow.id)
            .where(ranked.c.place == 1)
            .order_by(AlertDeliveryRow.not_before)
            .limit(limit)
        )
        with self._database.read() as session:
            return [(row.team_id, _delivery(row)) for row in session.scalars(query)]

    def claim(self, team: str, delivery: AlertDelivery) -> bool:
        """Count an attempt and set the time of the next one before it is made; False for what ended or was claimed.

        Whoever claims and dies has not lost it: it is due again later, under the same id.
        """
        attempts = delivery.attempts + 1
        unclaimed = (
            AlertDeliveryRow.state == DeliveryState.pending,
            AlertDeliveryRow.attempts == delivery.attempts,
        )
        with self._database.write() as session:
            result = session.execute(
                update(AlertDeliveryRow)
                .where(AlertDeliveryRow.team_id == team, AlertDeliveryRow.id == delivery.id, *unclaimed)
                .values(attempts=attempts, not_before=datetime.now(UTC) + max(ATTEMPT, wait_after(attempts)))
            )
            return isinstance(result, CursorResult) and result.rowcount == 1

    def settle(self, team: str, delivery_id: str, response: str) -> None:
        """Record that the receiver has it."""
        self._end(team, delivery_id, DeliveryState.delivered, response)

    def fail(self, team: str, delivery_id: str, response: str, *, final: bool = False) -> DeliveryState:
        """Record that an attempt failed; after the last one, or where no other can help, it has failed for good."""
        with self._database.write() as session:
            row = session.get(AlertDeliveryRow, (team, delivery_id))
            if row is None or row.state != DeliveryState.pending:
                return DeliveryState.failed
            row.response = response[:_RESPONSE_CHARACTERS]
            row.not_before = datetime.now(UTC) + wait_after(row.attempts)
            if final or row.attempts >= MAX_ATTEMPTS:
                row.state, row.ended_at = DeliveryState.failed, datetime.now(UTC)
            return DeliveryState(row.state)

    def replay(self, team: str, delivery_id: str) -> AlertDelivery:
        """Send a notification again under its own id, whatever became of it; Conflict while it is on its way."""
        with self._database.write() as session:
            row = _find(session, team, delivery_id)
            if row.state == DeliveryState.pending:
                raise Conflict(
                    f"notification {delivery_id} is on its way; its next attempt is at {row.not_before}"
                )
            channel = session.get(AlertChannelRow, (team, row.channel_id))
            if channel is None or not channel.enabled:
                raise Conflict(
                    f"channel {row.channel_name!r} is switched off or gone; nothing can be sent there"
                )
            row.state, row.attempts, row.ended_at = DeliveryState.pending, 0, None
            row.not_before = datetime.now(UTC)
            return _delivery(row)

    def get(self, team: str, delivery_id: str) -> AlertDelivery:
        with self._database.read() as session:
            return _delivery(_find(session, team, delivery_id))

    def page(
        self,
        team: str,
        *,
        channel: str | None = None,
        state: DeliveryState | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[AlertDelivery]:
        """Return a page, newest first."""
        query: Select[AlertDeliveryRow] = select(AlertDeliveryRow).where(AlertDeliveryRow.team_id == team)
        if channel is not None:
            query = query.where(AlertDeliveryRow.channel_id == channel)
        if state is not None:
            query = query.where(AlertDeliveryRow.state == state)
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            before = (AlertDeliveryRow.created_at == timestamp) & (AlertDeliveryRow.id < last)
            query = query.where(or_(AlertDeliveryRow.created_at < timestamp, before))
        query = query.order_by(AlertDeliveryRow.created_at.desc(), AlertDeliveryRow.id.desc())
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, _delivery, lambda row: (row.created_at.isoformat(), row.id))

    def forget_old(self, before: datetime | None = None) -> None:
        """Delete notifications that ended long ago."""
        limit = before or datetime.now(UTC) - KEPT
        old = (AlertDeliveryRow.state != DeliveryState.pending, AlertDeliveryRow.ended_at < limit)
        with self._database.write() as session:
            session.execute(delete(AlertDeliveryRow).where(*old))

    def pending(self) -> int:
        """Return the number of notifications of all teams on their way."""
        query = select(func.count()).where(AlertDeliveryRow.state == DeliveryState.pending)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def _end(self, team: str, delivery_id: str, state: DeliveryState, response: str) -> None:
        with self._database.write() as session:
            session.execute(
                update(AlertDeliveryRow)
                .where(AlertDeliveryRow.team_id == team, AlertDeliveryRow.id == delivery_id)
                .values(state=state, ended_at=datetime.now(UTC), response=response[:_RESPONSE_CHARACTERS])
            )


def _find(session: Session, team: str, delivery_id: str) -> AlertDeliveryRow:
    row = session.get(AlertDeliveryRow, (team, delivery_id))
    if row is None:
        raise NotFound(f"no notification {delivery_id[:60]!r}; `quantis alerts deliveries` lists them")
    return row


def _delivery(row: AlertDeliveryRow) -> AlertDelivery:
    pending = row.state == DeliveryState.pending
    return AlertDelivery(
        id=row.id,
        channel=row.channel_id,
        channel_name=row.channel_name,
        kind=row.kind,  # type: ignore[arg-type]
        subject=row.subject,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        created_at=row.created_at,
        next_attempt_at=row.not_before if pending else None,
        ended_at=row.ended_at,
        response=row.response,
        payload=row.payload,
    )
