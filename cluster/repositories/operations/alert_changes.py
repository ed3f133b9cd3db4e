"""Changes of alerts' states, and events: each is a promise to tell, in the transaction of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cluster.database.alert_tables import (
    AlertChannelRow,
    AlertDeliveryRow,
    AlertEventRow,
    AlertRow,
    AlertSignalRow,
)
from quantis.types.operations.alert_channels import PlatformEvent
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
_SEVERITIES = tuple(AlertSeverity)


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
    channels = _enabled_channels(session, team)
    groups: dict[str, list[AlertChange]] = {}
    for change in changes:
        groups.setdefault(change.alert.group, []).append(change)
    for group, of_group in groups.items():
        for channel in channels:
            routed = [change for change in of_group if _takes(channel, change)]
            if routed:
                add_delivery(session, channel, group, [_describe_change(change) for change in routed])


def promise_events(session: Session, team: str, events: Sequence[PlatformEvent]) -> None:
    """Write one notification of each event for each channel that takes its kind, unless it was written before."""
    if not events:
        return
    for channel in _enabled_channels(session, team):
        for event in events:
            if event.kind.value not in channel.events or _is_older(event, channel):
                continue
            delivery_id = str(uuid5(NAMESPACE_URL, f"quantis:{team}:{channel.id}:{event.key}"))
            if session.get(AlertDeliveryRow, (team, delivery_id)) is None:
                _write_delivery(session, channel, delivery_id, event.subject, _describe_event(event))


def add_delivery(
    session: Session, channel: AlertChannelRow, group: str, descriptions: list[dict[str, Any]]
) -> str:
    """Promise to send a notification to a channel; return its id, which stays the same however often it is sent."""
    delivery_id = str(uuid4())
    content = {
        "type": "alerts.changed" if descriptions else "alerts.test",
        "at": datetime.now(UTC).isoformat(),
        "alerts": descriptions,
    }
    _write_delivery(session, channel, delivery_id, group, content)
    return delivery_id


def _write_delivery(
    session: Session, channel: AlertChannelRow, delivery_id: str, subject: str, content: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    session.add(
        AlertDeliveryRow(
            id=delivery_id,
            team_id=channel.team_id,
            channel_id=channel.id,
            channel_name=channel.name,
            kind=channel.kind,
            subject=subject,
            payload={"id": delivery_id, "team": channel.team_id, "subject": subject, **content},
            state="pending",
            attempts=0,
            not_before=now,
            created_at=now,
            response="",
        )
    )
    session.flush()


def _enabled_channels(session: Session, team: str) -> Sequence[AlertChannelRow]:
    enabled = (AlertChannelRow.team_id == team, AlertChannelRow.enabled)
    return session.scalars(select(AlertChannelRow).where(*enabled)).all()


def _takes(channel: AlertChannelRow, change: AlertChange) -> bool:
    """Return True if a change goes to a channel, by the rule's channels and the channel's least severity."""
    if change.channels and channel.id not in change.channels:
        return False
    return _SEVERITIES.index(change.alert.severity) >= _SEVERITIES.index(AlertSeverity(channel.severity))


def _is_older(event: PlatformEvent, channel: AlertChannelRow) -> bool:
    """Return True for an event of before the channel took any."""
    return channel.events_since is not None and event.at < channel.events_since


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


def forget_details(session: Session, team: str, dataset: str, series: Sequence[str] | None) -> None:
    """Take out of alerts and notifications what names series of a dataset, or anything of it where `series` is None.

    The alerts and their history stay, with what was measured.
    """
    names = None if series is None else frozenset(series)
    for signal in session.scalars(select(AlertSignalRow).where(AlertSignalRow.team_id == team)):
        if signal.fact.get("dataset") == dataset and _names_any(signal.fact["detail"], names):
            signal.fact = {**signal.fact, "detail": {}}
    of_dataset = (AlertRow.team_id == team, AlertRow.dataset == dataset)
    alerts = [
        row
        for row in session.scalars(select(AlertRow).where(*of_dataset))
        if _names_any(row.fact["detail"], names)
    ]
    for row in alerts:
        message = row.fact["detail"].get("message")
        row.fact = {**row.fact, "detail": {}}
        row.summary = row.summary.removesuffix(f" ({message})")
    changed = {row.id for row in alerts}
    for delivery in session.scalars(select(AlertDeliveryRow).where(AlertDeliveryRow.team_id == team)):
        event = delivery.payload.get("event", {})
        is_named = event.get("dataset") == dataset and _names_any(event, names)
        if is_named or any(alert["id"] in changed for alert in delivery.payload["alerts"]):
            session.delete(delivery)


def _names_any(value: Any, names: frozenset[str] | None) -> bool:
    """Return True if one of these names is anywhere in a detail; any detail where there are no names."""
    if names is None:
        return bool(value)
    if isinstance(value, dict):
        return any(_names_any(each, names) for each in value.values())
    if isinstance(value, list):
        return any(_names_any(each, names) for each in value)
    return isinstance(value, str) and value in names


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


def _describe_event(event: PlatformEvent) -> dict[str, Any]:
    return {
        "type": event.kind.value,
        "at": event.at.isoformat(),
        "alerts": [],
        "event": {"message": event.message, **event.detail},
    }


def _describe_change(change: AlertChange) -> dict[str, Any]:
    alert, event = change.alert, change.event
    return {
        **alert.model_dump(mode="json", exclude={"changed_at"}),
        "at": event.at.isoformat(),
        "actor": event.actor,
        "reason": event.reason,
    }
