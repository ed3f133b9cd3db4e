"""Events of models: each recorded change of who answers a model's name is told once to the channels that take it."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

from cluster.backend import Backend
from cluster.repositories.leases import Leases
from quantis.types.operations.alert_channels import PlatformEvent, PlatformEventKind
from quantis.types.registry import Serving

LEASE = "model-events"
LEASE_TIME = timedelta(seconds=60)
SECONDS = 10.0
"""Between two looks at the registry."""


class ModelEventsLoop:
    """Follows the registry's own history, which a promotion writes itself: whoever is killed, no change is left out."""

    def __init__(self, backend: Backend, seconds: float = SECONDS) -> None:
        self._backend = backend
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._seconds = seconds
        self._looked_at = -seconds

    def tick(self) -> None:
        """Tell what changed; do nothing while another process does, or where no channel of a team takes it."""
        if time.monotonic() - self._looked_at < self._seconds:
            return
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            return
        self._looked_at = time.monotonic()
        for team in [team.name for team in self._backend.teams.all()]:
            channels = self._backend.alert_channels.all(team)
            if any(
                channel.enabled and PlatformEventKind.model_promoted in channel.events for channel in channels
            ):
                self._tell_team(team)

    def close(self) -> None:
        self._leases.release(LEASE, self._holder)

    def _tell_team(self, team: str) -> None:
        registry, counters = self._backend.registry(team), self._backend.work_counters
        since = _time(counters.get(team, LEASE, "") or 0)
        changes = [
            change for model in registry.models() for change in registry.serving_changes(model.name, since)
        ]
        self._backend.alert_deliveries.tell_events(team, [_event(change) for change in changes])
        if changes:
            newest = max(change.since for change in changes)
            # Another change may have been stamped before this one and be written after it: look again at a minute.
            counters.advance(team, LEASE, "", _microseconds(newest - timedelta(minutes=1)))


def _event(change: Serving) -> PlatformEvent:
    shares = ", ".join(f"version {share.version} {share.percent} %" for share in change.shares) or "nobody"
    return PlatformEvent(
        kind=PlatformEventKind.model_promoted,
        key=f"serving {change.model} {change.since.isoformat()}",
        at=change.since,
        subject=change.model,
        message=f"{change.model} is answered by {shares}",
        detail=change.model_dump(mode="json"),
    )


def _time(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _microseconds(time_: datetime) -> int:
    return (time_ - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
