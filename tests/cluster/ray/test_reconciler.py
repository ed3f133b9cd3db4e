from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from cluster.ray import reconciler as module
from cluster.ray.reconciler import LEASE, LEASE_TIME, MAX_SUBMISSIONS, Reconciler
from cluster.ray.submission import FakeJobs
from cluster.repositories import leases as leases_module
from cluster.repositories import outbox as outbox_module
from cluster.repositories.jobs import Jobs
from cluster.repositories.leases import Leases
from cluster.repositories.operations import job_rows as jobs_module
from quantis.types.job_results import CompactResult
from quantis.types.job_specs import CompactSpec
from quantis.types.jobs import JobState

TEAM = "default"
SPEC = CompactSpec(dataset="flights")
RESULT = {"versions": 1, "files_before": 9, "files_after": 1, "purged": 0, "removed": 8}


class Server(FakeJobs):
    """A job server that can be away, and counts what reaches it."""

    def __init__(self):
        super().__init__()
        self.away, self.mark_submitted, self.stopped, self.messages = None, [], [], {}

    def submit(self, job, submission_id):
        if self.away:
            raise self.away
        self.mark_submitted.append(submission_id)
        super().submit(job, submission_id)

    def stop(self, submission_id):
        if self.away:
            raise self.away
        self.stopped.append(submission_id)
        super().stop(submission_id)

    def state(self, submission_id):
        if self.away:
            raise self.away
        found = super().state(submission_id)
        return (found[0], self.messages.get(submission_id, "")) if found else None


class Passing:
    """The clock of the repositories; it moves when told."""

    def __init__(self):
        self.ahead = timedelta(0)

    def now(self, zone):
        from datetime import datetime

        return datetime.now(zone) + self.ahead


@pytest.fixture
def clock(monkeypatch):
    clock = Passing()
    for one in (jobs_module, leases_module, outbox_module):
        monkeypatch.setattr(one, "datetime", clock)
    return clock


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def reconciler(database, server):
    return Reconciler(database, server)


def last_message(jobs, job):
    return jobs.get(TEAM, job.id).message


def test_when_a_job_was_promised_then_it_is_submitted_once_however_often_it_ticks(jobs, server, reconciler):
    job = jobs.request(TEAM, "ada", SPEC)
    for _ in range(4):
        assert reconciler.tick()
    assert server.mark_submitted == [f"quantis-{job.id}"]
    assert server.jobs[f"quantis-{job.id}"].spec == SPEC
    assert jobs.submission(TEAM, job.id) == f"quantis-{job.id}"
    assert jobs.pending_outbox() == 0
    assert jobs.get(TEAM, job.id).state == JobState.pending


def test_when_two_reconcilers_tick_then_one_holds_the_lease_and_everything_is_submitted_once(
    database, jobs, server
):
    ids = [f"quantis-{jobs.request(TEAM, 'ada', SPEC).id}" for _ in range(10)]
    both = [Reconciler(database, server) for _ in range(2)]
    barrier = threading.Barrier(2)
    found: list[bool] = []

    def ticks(one):
        barrier.wait()
        found.extend(one.tick() for _ in range(3))

    threads = [threading.Thread(target=ticks, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 3 + [True] * 3
    assert sorted(server.mark_submitted) == sorted(ids)


def test_when_the_holder_closes_or_dies_then_the_other_goes_on(database, jobs, server, clock):
    first, second = Reconciler(database, server), Reconciler(database, server)
    assert first.tick()
    assert not second.tick()
    first.close()
    assert second.tick()
    jobs.request(TEAM, "ada", SPEC)
    assert not first.tick()
    clock.ahead += LEASE_TIME  # the second one is gone
    assert first.tick()
    assert len(server.mark_submitted) == 1


def test_when_the_lease_runs_out_within_a_tick_then_the_rest_is_left_to_its_new_holder(
    database, jobs, server, reconciler, clock
):
    for _ in range(3):
        jobs.request(TEAM, "ada", SPEC)
    submit = server.submit

    def slow(job, submission_id):
        submit(job, submission_id)
        clock.ahead += LEASE_TIME * 2
        assert Leases(database).take(LEASE, "somebody else", LEASE_TIME)

    server.submit = slow
    assert not reconciler.tick()
    assert len(server.mark_submitted) == 1
    assert jobs.pending_outbox() == 2


def test_when_ray_is_away_then_it_is_asked_again_later_and_later_until_the_job_fails(
    jobs, server, reconciler, clock
):
    job = jobs.request(TEAM, "ada", SPEC)
    server.away = ConnectionError("no route to Ray")
    waited = []
    for _ in range(MAX_SUBMISSIONS - 1):
        assert reconciler.tick()
        seconds = 0
        while not jobs.due():
            clock.ahead += timedelta(seconds=1)
            seconds += 1
        waited.append(seconds)
    assert waited == sorted(waited)
    assert waited[0] <= 2
    assert 30 < waited[-1] <= 61
    assert jobs.get(TEAM, job.id).state == JobState.pending
    assert reconciler.tick()
    ended = jobs.get(TEAM, job.id)
    assert ended.state == JobState.failed
    assert ended.message == f"{module.NOT_TAKEN} {module.ASK_OPERATOR}"
    assert jobs.error_details(TEAM, job.id) == "no route to Ray"
    assert jobs.pending_outbox() == 0
    server.away = None
    reconciler.tick()
    assert server.mark_submitted == []


def test_when_ray_comes_back_in_time_then_the_job_is_submitted(jobs, server, reconciler, clock):
    jobs.request(TEAM, "ada", SPEC)
    server.away = ConnectionError("no route to Ray")
    reconciler.tick()
    server.away = None
    reconciler.tick()
    assert server.mark_submitted == []  # it is not due yet
    clock.ahead += timedelta(seconds=2)
    reconciler.tick()
    assert len(server.mark_submitted) == 1


def test_when_one_job_cannot_be_submitted_then_the_others_are(jobs, server, reconciler):
    bad, good = jobs.request(TEAM, "ada", SPEC), jobs.request(TEAM, "ada", SPEC)
    submit = server.submit

    def picky(job, submission_id):
        if job.id == bad.id:
            raise RuntimeError("no")
        submit(job, submission_id)

    server.submit = picky
    reconciler.tick()
    assert server.mark_submitted == [f"quantis-{good.id}"]


def test_when_a_job_is_stopped_before_it_was_submitted_then_ray_does_not_run_it(jobs, server, reconciler):
    job = jobs.request(TEAM, "ada", SPEC)
    jobs.request_stop(TEAM, job.id)
    reconciler.tick()
    assert (jobs.get(TEAM, job.id).state, last_message(jobs, job)) == (JobState.stopped, "stopped on request")
    assert all(state.final for state in server.states.values())
    reconciler.tick()
    assert len(server.mark_submitted) <= 1


def test_when_ray_took_a_job_but_the_answer_was_lost_then_a_stop_reaches_it(jobs, server, reconciler, clock):
    job = jobs.request(TEAM, "ada", SPEC)
    submit = server.submit

    def lost(job, submission_id):
        submit(job, submission_id)
        raise TimeoutError("no answer")

    server.submit = lost
    reconciler.tick()
    jobs.request_stop(TEAM, job.id)
    reconciler.tick()
    clock.ahead += timedelta(seconds=60)
    reconciler.tick()
    assert jobs.get(TEAM, job.id).state == JobState.stopped
    assert server.states == {f"quantis-{job.id}": JobState.stopped}
    assert jobs.pending_outbox() == 0


def test_when_a_running_job_is_stopped_then_ray_is_told(jobs, server, reconciler):
    job = jobs.request(TEAM, "ada", SPEC)
    reconciler.tick()
    jobs.start(TEAM, job.id)
    jobs.request_stop(TEAM, job.id)
    reconciler.tick()
    assert server.stopped == [f"quantis-{job.id}"]
    assert jobs.get(TEAM, job.id).state == JobState.stopped


def test_when_ray_is_away_for_long_while_a_stop_is_asked_then_it_is_kept_until_ray_is_back(
    jobs, server, reconciler, clock
):
    job = jobs.request(TEAM, "ada", SPEC)
    reconciler.tick()
    jobs.start(TEAM, job.id)
    jobs.request_stop(TEAM, job.id)
    server.away = ConnectionError("no route to Ray")
    for _ in range(MAX_SUBMISSIONS + 3):
        with pytest.raises(ConnectionError):  # following the running job fails, too
            reconciler.tick()
        clock.ahead += timedelta(seconds=61)
    assert jobs.get(TEAM, job.id).state == JobState.running
    server.away = None
    reconciler.tick()
    assert server.stopped == [f"quantis-{job.id}"]
    assert jobs.get(TEAM, job.id).state == JobState.stopped


@pytest.mark.parametrize(
    ("ray", "message", "state", "told"),
    [
        (JobState.failed, "exit code 137", JobState.failed, "most likely because memory had run out"),
        (JobState.failed, "", JobState.failed, "Ray ended the job without a result."),
        (JobState.stopped, "", JobState.stopped, "stopped by Ray"),
        (JobState.succeeded, "", JobState.failed, "Ray ended the job without a result."),
    ],
)
def test_when_ray_says_that_a_job_ended_then_the_record_says_so(
    jobs, server, reconciler, ray, message, state, told
):
    job = jobs.request(TEAM, "ada", SPEC)
    reconciler.tick()
    jobs.start(TEAM, job.id)
    server.states[f"quantis-{job.id}"] = JobState.running
    reconciler.tick()
    assert jobs.get(TEAM, job.id).state == JobState.running
    server.states[f"quantis-{job.id}"], server.messages[f"quantis-{job.id}"] = ray, message
    reconciler.tick()
    ended = jobs.get(TEAM, job.id)
    assert ended.state == state
    assert told in ended.message
    events = jobs.events(TEAM, job.id)
    reconciler.tick()
    assert jobs.events(TEAM, job.id) == events


def test_when_the_job_said_itself_how_it_ended_then_ray_does_not_overrule_it(jobs, server, reconciler):
    job = jobs.request(TEAM, "ada", SPEC)
    reconciler.tick()
    jobs.finish(TEAM, job.id, JobState.succeeded, "done", RESULT)
    server.states[f"quantis-{job.id}"] = JobState.failed
    reconciler.tick()
    assert jobs.get(TEAM, job.id).result == CompactResult(**RESULT)
    assert jobs.get(TEAM, job.id).state == JobState.succeeded


def test_when_ray_forgot_a_job_then_it_failed_and_says_what_to_do(jobs, server, reconciler):
    job = jobs.request(TEAM, "ada", SPEC)
    reconciler.tick()
    server.jobs.clear()
    server.states.clear()
    reconciler.tick()
    ended = jobs.get(TEAM, job.id)
    assert (ended.state, ended.message) == (
        JobState.failed,
        f"{module.FORGOTTEN} Submit it again.",
    )
    assert server.mark_submitted == [f"quantis-{job.id}"]


def test_when_it_runs_as_a_thread_then_an_error_does_not_end_it(jobs, server, reconciler, monkeypatch):
    ticked, tick = threading.Event(), reconciler.tick
    count = iter(range(100))

    def flaky():
        if next(count) == 0:
            raise RuntimeError("the first tick fails")
        tick()
        ticked.set()

    monkeypatch.setattr(reconciler, "tick", flaky)
    job = jobs.request(TEAM, "ada", SPEC)
    thread = threading.Thread(target=reconciler.run, args=(0.01,))
    thread.start()
    assert ticked.wait(60)
    reconciler.close()
    thread.join(60)
    assert not thread.is_alive()
    assert server.mark_submitted == [f"quantis-{job.id}"]


def test_when_it_ticks_then_the_gauges_say_what_the_database_holds(jobs, server, reconciler):
    from monitoring import instruments

    jobs.request(TEAM, "ada", SPEC)
    reconciler.tick()
    text = instruments.render()[0].decode()
    assert 'quantis_jobs{kind="compact",state="PENDING"} 1.0' in text
    assert "quantis_outbox_pending 0.0" in text
    assert "quantis_reconciler_lease_held 1.0" in text
    assert module.log.name == "quantis.reconciler"
