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
from datetime import timedelta

from cluster.database.engine import Database
from cluster.ray.submission import JobServer
from cluster.repositories.audit import AuditTrail
from cluster.repositories.jobs import STOP, SUBMIT, Jobs, OutboxItem
from cluster.repositories.leases import RECONCILER, Leases
from cluster.repositories.sessions import Sessions
from cluster.tenancy.quotas import Quotas
from monitoring import instruments
from quantis.errors import QuantisError
from quantis.types.jobs import Job, JobState

LEASE = RECONCILER
LEASE_TIME = timedelta(seconds=10)
MAX_SUBMISSIONS = 8
HOLD_TIME = timedelta(seconds=2)
TIDY_SECONDS = 60.0
QUEUED = "queued: the team runs as many jobs as its quota jobs_at_once allows"
log = logging.getLogger("quantis.reconciler")


class _QuotaReached(Exception):
    """The job waits its turn; its outbox item stays."""


class Reconciler:
    def __init__(self, database: Database, server: JobServer, quotas: Quotas | None = None) -> None:
        """`quotas` limit the jobs of a team that Ray gets at once; without them it gets all."""
        self._jobs = Jobs(database)
        self._trail, self._sessions = AuditTrail(database), Sessions(database)
        self._quotas = quotas
        self._tidied_at = 0.0
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
        for item in self._jobs.due():
            if not self._holds_lease():  # Ray may have taken its time over the item before
                return False
            self._process(item)
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

    def _process(self, item: OutboxItem) -> None:
        try:
            if item.topic == SUBMIT:
                self._submit(item)
            elif item.topic == STOP:
                self._stop_job(item)
        except _QuotaReached:
            return
        except QuantisError:
            raise
        except Exception as error:
            log.warning("job %s: %s failed (%s)", item.job_id, item.topic, error)
            if item.topic == STOP or item.attempts + 1 < MAX_SUBMISSIONS:
                self._jobs.postpone(item, timedelta(seconds=min(60, 2**item.attempts)))
                return
            self._end(item.team, item.job_id, JobState.failed, f"Ray did not take the job: {error}")
        self._jobs.settle(item)

    def _submit(self, item: OutboxItem) -> None:
        job = self._jobs.get(item.team, item.job_id)
        if job.state.final:
            return
        if self._quotas and not self._quotas.may_start(item.team):
            self._jobs.hold(item, QUEUED, HOLD_TIME)
            raise _QuotaReached
        submission_id = _submission_id(job.id)
        self._server.submit(job, submission_id)
        self._jobs.mark_submitted(item.team, job.id, submission_id)

    def _stop_job(self, item: OutboxItem) -> None:
        # Ray may have the job although its answer to the submission was lost.
        submission_id = self._jobs.submission(item.team, item.job_id)
        self._server.stop(submission_id or _submission_id(item.job_id))
        self._end(item.team, item.job_id, JobState.stopped, "stopped on request")

    def _follow(self, team: str, job: Job, submission_id: str) -> None:
        status = self._server.state(submission_id)
        if status is None:
            self._end(team, job.id, JobState.failed, "Ray does not know this job any more; submit it again")
            return
        state, message = status
        if state == JobState.succeeded:
            self._end(team, job.id, JobState.failed, "the job ended without a result; see its logs")
        elif state.final:
            self._end(team, job.id, state, message or f"Ray says {state}")

    def _end(self, team: str, job_id: str, state: JobState, message: str) -> None:
        if self._jobs.finish(team, job_id, state, message):
            job = self._jobs.get(team, job_id)
            if job.started_at and job.ended_at:
                instruments.observe_job(job.kind, state, (job.ended_at - job.started_at).total_seconds())


def _submission_id(job_id: str) -> str:
    return f"quantis-{job_id}"
