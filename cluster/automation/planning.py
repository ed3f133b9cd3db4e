"""Plans of schedules: which of their times have come, which were missed, and which of those are made up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.automation.cron import SECOND, CronExpression
from cluster.repositories.operations.schedules import PlannedRun, PlannedTimes
from quantis.errors import InvalidInput
from quantis.types.operations.schedules import MAX_BACKFILL, Backfill, NewSchedule, Schedule

GRACE = timedelta(minutes=5)
"""A run that begins no later than this after its time was not missed: a restart of the platform takes less."""


@dataclass(frozen=True)
class RunTimes:
    """Times of a schedule's runs; `delay` is its share of the jitter, the same for each run."""

    cron: CronExpression
    delay: timedelta

    @classmethod
    def from_schedule(cls, team: str, schedule: Schedule | NewSchedule) -> RunTimes:
        jitter = int(schedule.jitter.total_seconds())
        digest = hashlib.sha256(f"{team}/{schedule.name}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") % (jitter + 1)
        return cls(CronExpression(schedule.cron, schedule.time_zone), timedelta(seconds=share))

    def next_after(self, time: datetime) -> PlannedTimes:
        """Return the first time after `time`."""
        at = self.cron.next_after(time)
        if at is None:
            raise InvalidInput(f"cron {self.cron.text!r} never comes after {time:%Y-%m-%d}; take another one")
        return PlannedTimes(at, at + self.delay)

    def runs_until(self, now: datetime, schedule: Schedule, next_at: datetime) -> list[PlannedRun]:
        """Return the planned times from `next_at` on that are due now, each with the one that follows.

        Of a long time without the platform the latest ones alone: as many as may be made up.
        """
        due_until = now - self.delay
        times = self.cron.latest(next_at - SECOND, due_until, MAX_BACKFILL)
        late = [time for time in times if time < due_until - GRACE]
        made_up = set(_made_up(schedule, late, is_current=len(late) < len(times)))
        return [
            PlannedRun(
                time,
                self.next_after(time),
                missed=time in late and time not in made_up,
                made_up=time in made_up,
            )
            for time in times
        ]


def _made_up(schedule: Schedule, late: list[datetime], *, is_current: bool) -> list[datetime]:
    """Return those of the missed times that are started after all."""
    if schedule.backfill == Backfill.all:
        return late[-schedule.backfill_limit :]
    if schedule.backfill == Backfill.latest and not is_current:
        return late[-1:]
    return []
