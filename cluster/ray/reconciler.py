"""Reconciliation of the database with Ray: submits and stops jobs, and records their states.

It runs as a thread in every API replica; a lease in the database lets one of them act at a time, so a replica
that dies is replaced within the lease's time and nothing is submitted twice (submission ids are made from
job ids).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

from cluster.database.engine import Database
from cluster.ray.failures import explain_end, without_escapes
from cluster.ray.submission import JobServer
from cluster.repositories.audit import AuditTrail
from cluster.repositories.jobs import Jobs
from cluster.repositories.leases import RECONCILER, Leases
from cluster.repositories.outbox import STOP, SUBMIT, OutboxItem
from cluster.repositories.sessions import Sessions
from cluster.tenancy.quotas import Quotas
from monitoring import instruments
from quantis.errors import QuantisError
from quantis.types.jobs import Job, JobError, JobState

LEASE = RECONCILER
LEASE_TIME = timedelta(seconds=10)
MAX_SUBMISSIONS = 8
ITEMS_PER_TICK = 20
TIDY_SECONDS = 60.0
OVERRUN = 1.1
"""Share of QUANTIS_JOB_SECONDS after which a job is stopped: within it, an evaluation ends itself."""

NOT_TAKEN = "Ray did not take the job, though it was asked several times."
FORGOTTEN = "Ray was started anew and does not know the job any more."
ASK_OPERATOR = "Submit it again, or ask an operator whether the cluster runs (`quantis doctor`)."
log = logging.getLogger("quantis.reconciler")


class Reconciler:
    def __init__(self, database: Database, server: JobServer, quotas: Quotas | None = None) -> None:
        """`quotas` limit the jobs that Ray gets at once, of a team and of all; without them it gets all."""
        self._jobs = Jobs(database)
        self._trail, self._sessions = AuditTrail(database), Sessions(database)
        self._quotas = quotas
        self._tidied_at = 0.0
        self._turns: dict[str, int] = {}  # of each team: the number of its latest submission
        self._leases = Leases(database)
        self._server = server
        self._holder = uuid.uuid4().hex
        self._stop = threading.Event()

    def run(self, every: float = 1.0) -> None:
        """Tick until `close`; an error is logged and the next tick tries again."""
        while not self._stop.wait(every):
            try:
                instruments.count_tick("ok" if self.tick() else "not_leader")
            except Exception:
                instruments.count_tick("failed")
                log.exception("the reconciler's tick failed; it goes on")

    def close(self) -> None:
        self._stop.set()
        instruments.set_lease(False)
        self._leases.release(LEASE, self._holder)

    def tick(self) -> bool:
        """Do one round; return False when another replica holds the lease."""
        if not self._holds_lease():
            return False
        self._jobs.release_followers()
        if not self._work_off():
            return False
        for team, job, submission_id in self._jobs.list_unfinished():
            self._follow(team, job, submission_id)
        if time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            self._trail.seal_abandoned()
            self._sessions.forget_old()
        instruments.set_jobs(self._jobs.counts())
        instruments.set_outbox(self._jobs.pending_outbox())
        return True

    def _holds_lease(self) -> bool:
        holds = False  # also when the database does not answer: then somebody else may have it
        try:
            holds = self._leases.take(LEASE, self._holder, LEASE_TIME)
        finally:
            instruments.set_lease(holds)
        return holds

    def _work_off(self) -> bool:
        """Stop all that is to be stopped, then submit one job at a time; False when the lease is lost.

        Before each submission stops come first again, so that none waits for more than one of them.
        """
        for _ in range(ITEMS_PER_TICK):
            while stops := self._jobs.due(topic=STOP):
                for item in stops:
                    if not self._holds_lease():  # Ray may have taken its time over the item before
                        return False
                    self._process(item)
            submission = self._next_submission()
            if submission is None:
                return True
            if not self._holds_lease():
                return False
            self._turns[submission.team] = max(self._turns.values(), default=0) + 1
            self._process(submission)
        return True

    def _next_submission(self) -> OutboxItem | None:
        """Return the oldest job of the team whose turn it is: the one with fewest jobs at Ray, then longest without.

        None where no team may have another; the jobs that wait say why.
        """
        waiting = self._jobs.first_submissions()
        running = self._jobs.running_by_team()
        waiting.sort(key=lambda item: (running.get(item.team, 0), self._turns.get(item.team, 0)))
        if self._quotas is None or not waiting:
            return waiting[0] if waiting else None
        in_all, maximum = sum(running.values()), self._quotas.jobs_at_once
        for item in waiting:
            count, limit = running.get(item.team, 0), self._quotas.for_team(item.team).jobs_at_once
            if limit is not None and count >= limit:
                self._jobs.explain_waiting(item.team, _waits_for_team(count, limit))
            elif in_all >= maximum:
                self._jobs.explain_waiting(item.team, _waits_for_platform(in_all, maximum))
            else:
                return item
        return None

    def _process(self, item: OutboxItem) -> None:
        try:
            if item.topic == SUBMIT:
                self._submit(item)
            elif item.topic == STOP:
                self._stop_job(item)
        except QuantisError:
            raise
        except Exception as error:
            log.warning("job %s: %s failed (%s)", item.job_id, item.topic, error)
            wait = timedelta(seconds=min(60, 2**item.attempts))
            if item.topic == STOP:
                self._jobs.postpone(item, wait)
                return
            if item.attempts + 1 < MAX_SUBMISSIONS:
                self._jobs.delay(item, wait)
                return
            refused = JobError(cause=NOT_TAKEN, remedy=ASK_OPERATOR, details=without_escapes(str(error)))
            self._fail(item.team, item.job_id, refused)
        self._jobs.settle(item)

    def _submit(self, item: OutboxItem) -> None:
        if not self._jobs.claim(item):  # stopped since it was read
            return
        job = self._jobs.get(item.team, item.job_id)
        if job.state.final:
            return
        submission_id = _submission_id(job.id)
        self._server.submit(job, submission_id)
        self._jobs.mark_submitted(item.team, job.id, submission_id)

    def _stop_job(self, item: OutboxItem) -> None:
        # Ray may have the job although its answer to the submission was lost.
        submission_id = self._jobs.submission(item.team, item.job_id)
        self._server.stop(submission_id or _submission_id(item.job_id))
        self._end(item.team, item.job_id, JobState.stopped, "stopped on request")

    def _follow(self, team: str, job: Job, submission_id: str) -> None:
        if self._overran(job):
            self._server.stop(submission_id)
            self._fail(team, job.id, _overrun(self._quotas.job_seconds if self._quotas else 0))
            return
        status = self._server.state(submission_id)
        if status is None:
            self._fail(team, job.id, JobError(cause=FORGOTTEN, remedy="Submit it again."))
            return
        state, message = status
        if state == JobState.stopped:
            self._end(team, job.id, state, "stopped by Ray")
        elif state.final:
            self._fail(team, job.id, explain_end(message))

    def _overran(self, job: Job) -> bool:
        """Return True for a job that should have ended itself a while ago."""
        if self._quotas is None or job.started_at is None:
            return False
        return datetime.now(UTC) - job.started_at > timedelta(seconds=OVERRUN * self._quotas.job_seconds)

    def _fail(self, team: str, job_id: str, error: JobError) -> None:
        if self._jobs.fail(team, job_id, error):
            self._observe(team, job_id)

    def _end(self, team: str, job_id: str, state: JobState, message: str) -> None:
        if self._jobs.finish(team, job_id, state, message):
            self._observe(team, job_id)

    def _observe(self, team: str, job_id: str) -> None:
        job = self._jobs.get(team, job_id)
        if job.started_at and job.ended_at:
            instruments.observe_job(job.kind, job.state, (job.ended_at - job.started_at).total_seconds())


def _submission_id(job_id: str) -> str:
    return f"quantis-{job_id}"


def _overrun(seconds: int) -> JobError:
    return JobError(
        cause=f"The job ran for more than {seconds} s, the longest that the platform allows (QUANTIS_JOB_SECONDS).",
        remedy="Take fewer series, windows or families, or ask an operator for more time.",
    )


def _waits_for_team(count: int, limit: int) -> str:
    return f"queued: the team runs {count} jobs, and its quota jobs_at_once allows {limit}"


def _waits_for_platform(count: int, limit: int) -> str:
    return (
        f"queued: the platform runs {count} jobs, and QUANTIS_JOBS_AT_ONCE allows {limit}; teams take turns"
    )
