"""The scheduler: starts what schedules planned, each planned time once, whenever and wherever it is killed.

A planned time becomes a row together with the job that it starts and the promise to submit that job, in one
transaction that also plans the following time. So the lease only spares work: two schedulers would do no harm.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cluster.automation.authority import admit
from cluster.automation.planning import RunTimes
from cluster.backend import Backend
from cluster.repositories.leases import Leases
from cluster.repositories.operations.schedules import PlannedRun, Schedules, StoredSchedule
from quantis.errors import Forbidden, QuotaExceeded
from quantis.types.operations.schedules import JobTarget

LEASE = "scheduler"
LEASE_TIME = timedelta(seconds=30)
KEEP_RUNS = timedelta(days=90)
"""Time for which the record of a run stays."""
TIDY_EVERY = timedelta(hours=1)
log = logging.getLogger("quantis.scheduler")


class Scheduler:
    def __init__(self, backend: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._backend, self._clock = backend, clock
        self._schedules = Schedules(backend.database)
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._tidied_at = datetime.min.replace(tzinfo=UTC)

    def tick(self) -> None:
        """Do one round, unless another process has the lease; a schedule in trouble does not hold up the others."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            return
        now = self._clock()
        self._schedules.follow()
        for item in self._schedules.with_queued_runs():
            self._guarded(self._begin_queued, item)
        for item in self._schedules.due(now):
            self._guarded(self._begin_due, item, now)
        if now - self._tidied_at > TIDY_EVERY:
            self._tidied_at = now
            self._schedules.forget_runs_before(now - KEEP_RUNS)

    def close(self) -> None:
        self._leases.release(LEASE, self._holder)

    def _guarded(self, begin: Callable[..., None], item: StoredSchedule, *arguments: datetime) -> None:
        try:
            begin(item, *arguments)
        except Exception:
            log.exception(
                "schedule %s of team %s could not be served; it is tried again", item.schedule.id, item.team
            )

    def _begin_due(self, item: StoredSchedule, now: datetime) -> None:
        times = RunTimes.from_schedule(item.team, item.schedule)
        for planned in times.runs_until(now, item.schedule, item.next_at):
            if not self._begin(item, planned):
                return

    def _begin(self, item: StoredSchedule, planned: PlannedRun) -> bool:
        """Begin a planned run; False where the schedule paused itself."""
        try:
            limit = None if planned.missed else self._admit(item)
        except QuotaExceeded as error:
            self._schedules.refuse(item, planned, error.message, pause=False)
            return True
        except Forbidden as error:
            self._schedules.refuse(item, planned, error.message, pause=True)
            return False
        self._schedules.begin(item, planned, limit)
        return True

    def _begin_queued(self, item: StoredSchedule) -> None:
        try:
            self._schedules.begin_queued(item, self._admit(item))
        except QuotaExceeded:
            return  # it waits on
        except Forbidden as error:
            self._schedules.pause(item.team, item.schedule.id, error.message)

    def _admit(self, item: StoredSchedule) -> int | None:
        """Return how many jobs of the team may wait; Forbidden where the author may not start this any more."""
        starts = item.schedule.starts
        jobs = [starts.spec] if isinstance(starts, JobTarget) else []  # a pipeline asks step by step
        return admit(self._backend, item.team, item.author, jobs)
