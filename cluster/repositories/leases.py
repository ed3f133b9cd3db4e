"""Leases: one holder at a time, for a duration, renewed by being taken again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from cluster.database.engine import Database
from cluster.database.tables import LeaseRow

RECONCILER = "reconciler"


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._renew_at: dict[tuple[str, str], float] = {}  # by name and holder, on the monotonic clock

    def hold(self, name: str, holder: str, duration: timedelta) -> bool:
        """Take or renew a lease like `take`, with a write only once a third of its duration is over.

        For loops that look every second whether they are the one to work.
        """
        now = monotonic()
        if now < self._renew_at.get((name, holder), now):
            return True
        is_held = self.take(name, holder, duration)
        if is_held:
            self._renew_at[name, holder] = now + duration.total_seconds() / 3
        return is_held

    def take(self, name: str, holder: str, duration: timedelta) -> bool:
        """Take or renew a lease; return False while another holder has it."""
        now = datetime.now(UTC)
        try:
            with self._database.write() as session:
                result = session.execute(
                    update(LeaseRow)
                    .where(LeaseRow.name == name, or_(LeaseRow.holder == holder, LeaseRow.expires_at <= now))
                    .values(holder=holder, expires_at=now + duration)
                    .returning(LeaseRow.name)
                ).first()
                if result is None and session.get(LeaseRow, name) is None:
                    session.add(LeaseRow(name=name, team_id="", holder=holder, expires_at=now + duration))
                    return True
                return result is not None
        except IntegrityError:
            return False

    def end(self, name: str) -> datetime | None:
        """Return when a lease ends, or ended; None for one that nobody ever took."""
        with self._database.read() as session:
            return session.scalar(select(LeaseRow.expires_at).where(LeaseRow.name == name))

    def release(self, name: str, holder: str) -> None:
        self._renew_at.pop((name, holder), None)
        with self._database.write() as session:
            session.execute(
                update(LeaseRow)
                .where(LeaseRow.name == name, LeaseRow.holder == holder)
                .values(expires_at=datetime.now(UTC))
            )
