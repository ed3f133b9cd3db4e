"""Submission of jobs is fair over teams, and a stop waits for nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.ray.reconciler import Reconciler
from cluster.ray.submission import FakeJobs
from cluster.repositories.jobs import Jobs
from cluster.repositories.teams import Teams
from cluster.settings import Settings
from cluster.tenancy.quotas import Quotas
from quantis.errors import TooManyRequests
from quantis.types.job_specs import CompactSpec
from quantis.types.jobs import JobState

SPEC = CompactSpec(dataset="flights")
BUSY, OTHER = "busy", "other"


class Server(FakeJobs):
    """A job server that notes what reaches it, in its order."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def submit(self, job, submission_id):
        self.calls.append(("submit", job.id))
        super().submit(job, submission_id)

    def stop(self, submission_id):
        self.calls.append(("stop", submission_id.removeprefix("quantis-")))
        super().stop(submission_id)

    @property
    def submitted(self):
        return [job_id for call, job_id in self.calls if call == "submit"]


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def server():
    return Server()


def reconciler_with(database, server, **settings):
    quotas = Quotas(Teams(database), Settings(data_dir=Path("/nowhere"), **settings))
    return Reconciler(database, server, quotas)


def many(jobs, team, count):
    return [jobs.request(team, "ada", SPEC).id for _ in range(count)]


def end(jobs, team, job_id):
    jobs.finish(team, job_id, JobState.succeeded, "done")


def test_when_one_team_has_many_jobs_and_as_many_stops_then_the_job_of_another_starts_next(
    database, jobs, server
):
    reconciler = reconciler_with(database, server, jobs_at_once=22, quota_jobs_at_once=22)
    running = many(jobs, BUSY, 20)
    while jobs.due():
        reconciler.tick()
    for job_id in running:
        jobs.start(BUSY, job_id)
    many(jobs, BUSY, 20)
    for job_id in running:
        jobs.request_stop(BUSY, job_id)
    other = jobs.request(OTHER, "bob", SPEC)
    server.calls.clear()
    reconciler.tick()
    assert server.submitted[0] == other.id
    assert {job_id for call, job_id in server.calls[:20] if call == "stop"} == set(running)


def test_when_places_become_free_one_by_one_then_teams_take_turns(database, jobs, server):
    reconciler = reconciler_with(database, server, jobs_at_once=1, quota_jobs_at_once=1)
    owner = dict.fromkeys(many(jobs, BUSY, 4), BUSY)
    owner |= dict.fromkeys(many(jobs, OTHER, 3), OTHER)
    for _ in owner:
        reconciler.tick()
        end(jobs, owner[server.submitted[-1]], server.submitted[-1])
    assert [owner[job_id] for job_id in server.submitted] == [BUSY, OTHER, BUSY, OTHER, BUSY, OTHER, BUSY]


def test_when_a_team_runs_more_than_another_then_the_other_is_first(database, jobs, server):
    reconciler = reconciler_with(database, server, jobs_at_once=3, quota_jobs_at_once=3)
    first = many(jobs, BUSY, 6)
    reconciler.tick()
    assert server.submitted == first[:3]
    late = many(jobs, OTHER, 2)
    end(jobs, BUSY, first[0])
    reconciler.tick()
    end(jobs, BUSY, first[1])
    reconciler.tick()
    end(jobs, BUSY, first[2])
    reconciler.tick()
    assert server.submitted[3:] == [late[0], first[3], late[1]]


def test_when_the_platform_or_the_team_is_full_then_its_jobs_say_so_and_by_which_setting(
    database, jobs, server
):
    reconciler = reconciler_with(database, server, jobs_at_once=2, quota_jobs_at_once=1)
    (_, second), (_, last) = many(jobs, BUSY, 2), many(jobs, OTHER, 2)
    third = jobs.request("third", "eve", SPEC).id
    reconciler.tick()
    assert "quota jobs_at_once allows 1" in jobs.get(BUSY, second).message
    assert "quota jobs_at_once allows 1" in jobs.get(OTHER, last).message
    assert "QUANTIS_JOBS_AT_ONCE allows 2" in jobs.get("third", third).message
    seen = jobs.events("third", third)
    reconciler.tick()
    assert jobs.events("third", third) == seen
    assert len(server.jobs) == 2


def test_when_a_job_waits_then_a_stop_ends_it_at_once_even_while_others_are_being_submitted(
    database, jobs, server
):
    reconciler = reconciler_with(database, server, jobs_at_once=9, quota_jobs_at_once=9)
    first, second = many(jobs, BUSY, 2)
    submit = server.submit
    states: list[JobState] = []

    def slow(job, submission_id):
        submit(job, submission_id)
        if job.id == first:
            states.extend(jobs.request_stop(BUSY, job_id).state for job_id in (first, second))

    server.submit = slow
    reconciler.tick()
    assert states == [JobState.stopped, JobState.stopped]
    assert server.submitted == [first]
    assert server.calls[1:] == [("stop", first)]  # Ray had it already
    assert server.states[f"quantis-{first}"] == JobState.stopped
    reconciler.tick()
    assert len(server.calls) == 2


def test_when_a_running_job_is_stopped_during_submissions_then_ray_is_told_after_one_of_them(
    database, jobs, server
):
    reconciler = reconciler_with(database, server, jobs_at_once=9, quota_jobs_at_once=9)
    (running,) = many(jobs, BUSY, 1)
    reconciler.tick()
    jobs.start(BUSY, running)
    waiting = many(jobs, BUSY, 5)
    submit = server.submit

    def asks_to_stop(job, submission_id):
        submit(job, submission_id)
        jobs.request_stop(BUSY, running)

    server.submit = asks_to_stop
    server.calls.clear()
    reconciler.tick()
    assert server.calls[:3] == [("submit", waiting[0]), ("stop", running), ("submit", waiting[1])]


def test_when_a_team_has_as_many_waiting_as_it_may_then_the_next_is_refused_by_the_name_of_the_bound(
    database, jobs
):
    kept = [jobs.request(BUSY, "ada", SPEC, f"key-{n}", waiting_limit=3) for n in range(3)]
    with pytest.raises(
        TooManyRequests, match=r"3 jobs .* at most 3 .*jobs_waiting.*QUANTIS_QUOTA_JOBS_WAITING"
    ):
        jobs.request(BUSY, "ada", SPEC, "key-3", waiting_limit=3)
    assert jobs.request(BUSY, "ada", SPEC, "key-0", waiting_limit=3) == kept[0]  # the same request again
    assert jobs.request(OTHER, "bob", SPEC, waiting_limit=3).state == JobState.pending
    jobs.request_stop(BUSY, kept[1].id)
    assert jobs.request(BUSY, "ada", SPEC, "key-3", waiting_limit=3).state == JobState.pending
    assert jobs.page(BUSY).items[0].state == JobState.pending


def test_when_a_job_runs_for_longer_than_the_platform_allows_then_it_is_stopped_and_says_why(
    database, jobs, server
):
    reconciler = reconciler_with(database, server, job_seconds=10)
    (job,) = many(jobs, BUSY, 1)
    reconciler.tick()
    jobs.start(BUSY, job)
    reconciler.tick()
    assert jobs.get(BUSY, job).state == JobState.running
    _age(database, job, 12)
    reconciler.tick()
    ended = jobs.get(BUSY, job)
    assert ended.state == JobState.failed
    assert "QUANTIS_JOB_SECONDS" in ended.message
    assert server.calls[-1] == ("stop", job)


def _age(database, job_id, seconds):
    from datetime import timedelta

    from cluster.database.tables import JobRow

    with database.write() as session:
        row = session.get_one(JobRow, (BUSY, job_id))
        row.started_at -= timedelta(seconds=seconds)
