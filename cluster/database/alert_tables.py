"""Tables of alerts: rules that a team made or changed, alerts with their history, and what is sent of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cluster.database.base import Base, Id, TeamId, UtcDateTime

_Subject = String(210)


class AlertRuleRow(Base):
    """A rule of a team, or a default that it changed, whose id it then has."""

    __tablename__ = "alert_rules"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(80))


class AlertSignalRow(Base):
    """The memory of a rule about a subject between facts; see `monitoring.alert_evaluation.Signal`."""

    __tablename__ = "alert_signals"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    rule_id: Mapped[str] = mapped_column(Id, primary_key=True)
    subject: Mapped[str] = mapped_column(_Subject, primary_key=True)
    at: Mapped[datetime | None]
    fact: Mapped[dict[str, Any]]
    violated_since: Mapped[datetime | None]
    clear_since: Mapped[datetime | None]
    muted: Mapped[bool]
    alert_id: Mapped[str | None] = mapped_column(Id)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class AlertRow(Base):
    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_team_id_opened_at_id", "team_id", "opened_at", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    rule_id: Mapped[str] = mapped_column(Id)
    rule_name: Mapped[str] = mapped_column(String(63))
    severity: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    model: Mapped[str | None] = mapped_column(String(63))
    dataset: Mapped[str | None] = mapped_column(String(63))
    subject: Mapped[str] = mapped_column(_Subject)
    fact: Mapped[dict[str, Any]]
    value: Mapped[float] = mapped_column(Float)
    summary: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    snoozed_until: Mapped[datetime | None]
    __mapper_args__ = {"primary_key": [team_id, id]}


class AlertEventRow(Base):
    """A change of an alert's state."""

    __tablename__ = "alert_events"
    team_id: Mapped[str] = mapped_column(TeamId, primary_key=True)
    alert_id: Mapped[str] = mapped_column(Id, ForeignKey("alerts.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str | None] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(Text)
    value: Mapped[float | None] = mapped_column(Float)


class AlertChannelRow(Base):
    """A way to tell people. `target` is what may be shown of it; `sealed` is encrypted, whole.

    It is told of alerts of `severity` or above, and of `events` of these kinds from `events_since` on.
    """

    __tablename__ = "alert_channels"
    __table_args__ = (UniqueConstraint("team_id", "name"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    name: Mapped[str] = mapped_column(String(63))
    kind: Mapped[str] = mapped_column(String(20))
    target: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    enabled: Mapped[bool]
    severity: Mapped[str] = mapped_column(String(20), server_default="info")
    events: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    events_since: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(80))
    __mapper_args__ = {"primary_key": [team_id, id]}


class AlertDeliveryRow(Base):
    """A notification on its way to a channel, written in the transaction of the change that it tells of."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        Index("ix_alert_deliveries_team_id_created_at_id", "team_id", "created_at", "id"),
        Index("ix_alert_deliveries_state_not_before", "state", "not_before"),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(TeamId)
    channel_id: Mapped[str] = mapped_column(Id)
    channel_name: Mapped[str] = mapped_column(String(63))
    kind: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(63))
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int]
    not_before: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    response: Mapped[str] = mapped_column(Text)
    __mapper_args__ = {"primary_key": [team_id, id]}
