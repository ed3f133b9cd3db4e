"""Channels of alerts: what they need to send is sealed in their rows and never read back by a caller."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cluster.database.alert_tables import AlertChannelRow, AlertDeliveryRow
from cluster.database.engine import Database
from cluster.encryption import Cipher
from cluster.repositories.operations.alert_changes import add_delivery, end_deliveries
from quantis.errors import Conflict, InvalidInput, NotFound
from quantis.types.operations.alert_channels import (
    AlertChannel,
    AlertChannelChange,
    DeliveryState,
    NewAlertChannel,
    PlatformEventKind,
)
from quantis.types.operations.alerts import MAX_CHANNELS, AlertSeverity

_OPEN_FIELDS = {"kind", "name", "enabled", "severity", "events"}
"""Fields that are not sealed."""
MAX_TESTS = 10
"""Tests of a channel that may be on their way at once."""
Target = Callable[[Mapping[str, Any]], str]
"""Makes the part of a channel's secrets that may be shown; raises where they make no channel that is allowed."""


class AlertChannels:
    def __init__(self, database: Database, cipher: Cipher, target: Target) -> None:
        self._database = database
        self._cipher = cipher
        self._target = target

    def create(self, team: str, user: str, new: NewAlertChannel) -> AlertChannel:
        secrets = _reveal(new.model_dump(exclude=_OPEN_FIELDS))
        target = self._target(secrets)
        with self._database.write() as session:
            channels = session.scalars(
                select(AlertChannelRow.name).where(AlertChannelRow.team_id == team)
            ).all()
            if new.name in channels:
                raise Conflict(f"there is a channel {new.name!r} already; change it, or choose another name")
            if len(channels) >= MAX_CHANNELS:
                raise Conflict(
                    f"the team has {MAX_CHANNELS} channels, the most that it may; delete one first"
                )
            row = AlertChannelRow(
                id=str(uuid4()),
                team_id=team,
                name=new.name,
                kind=new.kind,
                target=target,
                enabled=new.enabled,
                severity=new.severity,
                events=[kind.value for kind in new.events],
                events_since=datetime.now(UTC),
                created_at=datetime.now(UTC),
                created_by=user,
            )
            self._seal(row, secrets)
            session.add(row)
            return _channel(row)

    def all(self, team: str) -> list[AlertChannel]:
        query = select(AlertChannelRow).where(AlertChannelRow.team_id == team).order_by(AlertChannelRow.name)
        with self._database.read() as session:
            return [_channel(row) for row in session.scalars(query)]

    def get(self, team: str, channel_id: str) -> AlertChannel:
        with self._database.read() as session:
            return _channel(_find(session, team, channel_id))

    def change(self, team: str, channel_id: str, change: AlertChannelChange) -> AlertChannel:
        """Change a channel; one that is switched off is told nothing, also not what waits for it."""
        values = _reveal(change.model_dump(exclude=_OPEN_FIELDS, exclude_none=True))
        with self._database.write() as session:
            row = _find(session, team, channel_id)
            secrets = self._open(row)
            if foreign := values.keys() - secrets.keys():
                raise InvalidInput(
                    f"a {row.kind} channel has no {min(foreign)}; it has {', '.join(sorted(secrets))}"
                )
            if values:
                secrets |= values
                row.target = self._target(secrets)
                self._seal(row, secrets)
            if change.enabled is not None:
                row.enabled = change.enabled
            if change.severity is not None:
                row.severity = change.severity
            if change.events is not None:
                _set_events(row, change.events)
            if not row.enabled:
                end_deliveries(session, team, channel_id, "the channel was switched off")
            return _channel(row)

    def delete(self, team: str, channel_id: str) -> None:
        """Delete a channel; what waits for it is not sent."""
        with self._database.write() as session:
            row = _find(session, team, channel_id)
            end_deliveries(session, team, channel_id, "the channel was deleted")
            session.delete(row)

    def test(self, team: str, channel_id: str) -> str:
        """Promise a notification without alerts to a channel; return its id."""
        with self._database.write() as session:
            row = _find(session, team, channel_id)
            if not row.enabled:
                raise Conflict(f"channel {row.name!r} is switched off; switch it on first")
            of_channel = (AlertDeliveryRow.team_id == team, AlertDeliveryRow.channel_id == channel_id)
            pending = (AlertDeliveryRow.state == DeliveryState.pending, AlertDeliveryRow.subject == "")
            if (session.scalar(select(func.count()).where(*of_channel, *pending)) or 0) >= MAX_TESTS:
                raise Conflict(
                    f"{MAX_TESTS} tests of channel {row.name!r} are on their way; wait for one of them"
                )
            return add_delivery(session, row, "", [])

    def secrets(self, team: str, channel_id: str) -> dict[str, Any]:
        """Return what a channel needs to send; NotFound where it is gone."""
        with self._database.read() as session:
            return self._open(_find(session, team, channel_id))

    def count_encrypted(self) -> int:
        """Count the channels that need the encryption key."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(AlertChannelRow)) or 0

    def reencrypt(self) -> int:
        """Encrypt with the newest key what an older one encrypted; return the number of channels."""
        with self._database.write() as session:
            rows = session.scalars(select(AlertChannelRow)).all()
            old = [row for row in rows if not self._cipher.uses_newest_key(row.sealed)]
            for row in old:
                self._seal(row, self._open(row))
            return len(old)

    def _seal(self, row: AlertChannelRow, secrets: Mapping[str, Any]) -> None:
        row.sealed = self._cipher.encrypt(json.dumps(secrets).encode(), _context(row))

    def _open(self, row: AlertChannelRow) -> dict[str, Any]:
        secrets: dict[str, Any] = json.loads(self._cipher.decrypt(row.sealed, _context(row)))
        return secrets


def _reveal(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }


def _set_events(row: AlertChannelRow, kinds: Sequence[PlatformEventKind]) -> None:
    """Let a channel take these kinds; of what happened before it took a new one it is not told."""
    if not {kind.value for kind in kinds} <= set(row.events):
        row.events_since = datetime.now(UTC)
    row.events = [kind.value for kind in kinds]


def _context(row: AlertChannelRow) -> str:
    return f"alert_channels.sealed/{row.team_id}/{row.id}"


def _find(session: Session, team: str, channel_id: str) -> AlertChannelRow:
    row = session.get(AlertChannelRow, (team, channel_id))
    if row is None:
        raise NotFound(f"no alert channel {channel_id[:60]!r}; `quantis alerts channels` lists them")
    return row


def _channel(row: AlertChannelRow) -> AlertChannel:
    return AlertChannel(
        id=row.id,
        name=row.name,
        kind=row.kind,  # type: ignore[arg-type]
        target=row.target,
        enabled=row.enabled,
        severity=AlertSeverity(row.severity),
        events=tuple(PlatformEventKind(kind) for kind in row.events),
        created_at=row.created_at,
        created_by=row.created_by,
    )
