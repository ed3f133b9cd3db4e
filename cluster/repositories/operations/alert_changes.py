"""Changes of alerts' states: each is a row of history and a promise to tell, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cluster.database.alert_tables import (
    AlertChannelRow,
    AlertDeliveryRow,
    AlertEventRow,
    AlertRow,
    AlertSignalRow,
)
from quantis.types.operations.alerts import (
    Alert,
    AlertEvent,
    AlertRule,
    AlertSeverity,
    AlertState,
    Fact,
    NewAlertRule,
)

LIVE = AlertRow.state != AlertState.resolved


@dataclass(frozen=True)
class AlertChange:
    """An alert and the change of its state; `channels` are those of its rule, all when empty."""

    alert: Alert
    event: AlertEvent
    channels: tuple[str, ...]


def change_state(session: Session, row: AlertRow, event: AlertEvent) -> None:
    """Set an alert's state and write it down in its history."""
    row.state, row.changed_at = event.state, event.at
    row.snoozed_until = row.snoozed_until if event.state == AlertState.snoozed else None
    of_alert = (AlertEventRow.team_id == row.team_id, AlertEventRow.alert_id == row.id)
    last = session.scalar(select(func.max(AlertEventRow.seq)).where(*of_alert)) or 0
    session.add(
        AlertEventRow(team_id=row.team_id, alert_id=row.id, seq=last + 1, **event.model_dump(mode="python"))
    )
    session.flush()


def promise_to_tell(session: Session, team: str, changes: Sequence[AlertChange]) -> None:
    """Write one notification for each channel and group (model, or dataset) that there are changes for."""
    if not changes:
        return
    enabled = (AlertChannelRow.team_id == team, AlertChannelRow.enabled)
    channels = session.scalars(select(AlertChannelRow).where(*enabled)).all()
    groups: dict[str, list[AlertChange]] = {}
    for change in changes:
        groups.setdefault(change.alert.group, []).append(change)
    for group, of_group in groups.items():
        for channel in channels:
            routed = [change for change in of_group if not change.channels or channel.id in change.channels]
            if routed:
                add_delivery(session, channel, group, [_describe_change(change) for change in routed])


def add_delivery(
    session: Session, channel: AlertChannelRow, group: str, descriptions: list[dict[str, Any]]
) -> str:
    """Promise to send a notification to a channel; return its id, which stays the same however often it is sent."""
    delivery_id, now = str(uuid4()), datetime.now(UTC)
    payload = {
        "id": delivery_id,
        "type": "alerts.changed" if descriptions else "alerts.test",
        "at": now.isoformat(),
        "team": channel.team_id,
        "subject": group,
        "alerts": descriptions,
    }
    session.add(
        AlertDeliveryRow(
            id=delivery_id,
            team_id=channel.team_id,
            channel_id=channel.id,
            channel_name=channel.name,
            kind=channel.kind,
            subject=group,
            payload=payload,
            state="pending",
            attempts=0,
            not_before=now,
            created_at=now,
            response="",
        )
    )
    return delivery_id


def end_deliveries(session: Session, team: str, channel_id: str, reason: str) -> None:
    """Give up what is on its way to a channel."""
    session.execute(
        update(AlertDeliveryRow)
        .where(
            AlertDeliveryRow.team_id == team,
            AlertDeliveryRow.channel_id == channel_id,
            AlertDeliveryRow.state == "pending",
        )
        .values(state="failed", ended_at=datetime.now(UTC), response=reason)
    )


def forget_rule(
    session: Session, team: str, rule: AlertRule, event: AlertEvent, *, scope: NewAlertRule | None = None
) -> None:
    """Resolve the alerts of a rule that is no more what it was, and forget its signals.

    `scope` holds the model and dataset of another rule, which takes its place there.
    """
    of_rule = (AlertRow.team_id == team, AlertRow.rule_id == rule.id)
    changes = []
    for row in session.scalars(select(AlertRow).where(*of_rule, LIVE)).all():
        if _is_within(row.subject, scope):
            change_state(session, row, event)
            changes.append(AlertChange(alert_of(row), event, rule.channels))
    signals = (AlertSignalRow.team_id == team, AlertSignalRow.rule_id == rule.id)
    for signal in session.scalars(select(AlertSignalRow).where(*signals)).all():
        if _is_within(signal.subject, scope):
            session.delete(signal)
    promise_to_tell(session, team, changes)


def _is_within(subject: str, scope: NewAlertRule | None) -> bool:
    if scope is None:
        return True
    model, dataset, _ = subject.split("|", 2)
    return scope.model in (None, model) and scope.dataset in (None, dataset)


def alert_of(row: AlertRow) -> Alert:
    fact = Fact.model_validate(row.fact)
    return Alert(
        id=row.id,
        rule=row.rule_id,
        rule_name=row.rule_name,
        severity=AlertSeverity(row.severity),
        state=AlertState(row.state),
        model=row.model,
        dataset=row.dataset,
        fact=fact.name,
        key=fact.key,
        value=row.value,
        summary=row.summary,
        detail=fact.detail,
        opened_at=row.opened_at,
        changed_at=row.changed_at,
        snoozed_until=row.snoozed_until,
    )


def _describe_change(change: AlertChange) -> dict[str, Any]:
    alert, event = change.alert, change.event
    return {
        **alert.model_dump(mode="json", exclude={"changed_at"}),
        "at": event.at.isoformat(),
        "actor": event.actor,
        "reason": event.reason,
    }
