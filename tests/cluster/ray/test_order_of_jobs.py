"""Jobs of a team start by priority, after those that they wait for, and are tried again with a reason."""

from __future__ import annotations

import pytest

from cluster.ray.reconciler import Reconciler
from cluster.ray.submission import FakeJobs
from cluster.repositories.jobs import Jobs
from quantis.errors import Conflict, NotFound
from quantis.types.job_specs import CompactSpec
from quantis.types.jobs import JobError, JobOrder, JobState, Priority

SPEC = CompactSpec(dataset="flights")
ERROR = JobError(cause="The disk was full.", remedy="Free some.")


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def server():
    return FakeJobs()


@pytest.fixture
def reconciler(database, server):
    return Reconciler(database, server)


def ask(jobs, team="a", **order):
    return jobs.request(team, "ada", SPEC, order=JobOrder(**order)).id


def submitted(server):
    return [name.removeprefix("quantis-") for name in server.jobs]


def test_when_jobs_wait_then_a_team_s_urgent_ones_are_first_and_teams_take_turns_all_the_same(
    jobs, server, reconciler
):
    low = ask(jobs, priority=Priority.low)
    normal = [ask(jobs) for _ in range(2)]
    high = [ask(jobs, priority=Priority.high) for _ in range(2)]
    other = ask(jobs, team="b", priority=Priority.low)
    reconciler.tick()
    assert [job for job in submitted(server) if job != other] == [*high, *normal, low]
    assert submitted(server).index(other) <= 1


def test_when_a_job_follows_others_then_it_starts_once_all_of_them_have_succeeded(jobs, server, reconciler):
    first, second = ask(jobs), ask(jobs)
    third = ask(jobs, after=(first, second))
    reconciler.tick()
    assert sorted(submitted(server)) == sorted([first, second])
    assert jobs.get("a", third).after == (first, second)
    jobs.finish("a", first, JobState.succeeded, "done")
    reconciler.tick()
    assert third not in submitted(server)
    jobs.finish("a", second, JobState.succeeded, "done")
    reconciler.tick()
    reconciler.tick()
    assert submitted(server)[-1] == third
    assert jobs.get("a", third).after is None
    assert ask(jobs, after=(first,)) in [item.job_id for item in jobs.due()]


@pytest.mark.parametrize("state", [JobState.failed, JobState.stopped])
def test_when_a_predecessor_does_not_succeed_then_its_followers_are_stopped_and_say_why(
    jobs, server, reconciler, state
):
    first = ask(jobs)
    second = ask(jobs, after=(first,))
    third = ask(jobs, after=(second,))
    jobs.fail("a", first, ERROR) if state == JobState.failed else jobs.request_stop("a", first)
    for _ in range(3):
        reconciler.tick()
    assert [jobs.get("a", job).state for job in (second, third)] == [JobState.stopped] * 2
    assert jobs.get("a", second).message == f"job {first}, which it was to follow, is {state.value}"
    assert not {second, third} & set(submitted(server))


def test_when_a_predecessor_is_another_team_s_then_it_is_not_there(jobs):
    theirs = ask(jobs, team="b")
    with pytest.raises(NotFound):
        ask(jobs, after=(theirs,))


def test_when_a_job_with_retries_fails_then_another_attempt_is_there_in_the_same_transaction(jobs):
    first = ask(jobs, retries=1, priority=Priority.high)
    jobs.fail("a", first, ERROR)
    assert not jobs.fail("a", first, ERROR)
    second, _ = jobs.page("a").items
    assert (second.retry_of, second.priority, second.state) == (first, "high", JobState.pending)
    assert f"retry of {first}: The disk was full." in [event.message for event in jobs.events("a", second.id)]
    assert second.id in [item.job_id for item in jobs.due()]
    jobs.fail("a", second.id, ERROR)
    assert len(jobs.page("a").items) == 2


def test_when_a_job_is_tried_again_by_hand_then_the_same_key_makes_one_and_only_of_one_that_failed(jobs):
    job = ask(jobs)
    with pytest.raises(Conflict, match="clone"):
        jobs.retry("a", "ada", job, "", key=None, waiting_limit=None)
    jobs.fail("a", job, ERROR)
    twice = [jobs.retry("a", "ada", job, "more room", key="k", waiting_limit=None) for _ in range(2)]
    assert twice[0].id == twice[1].id
    assert len(jobs.page("a").items) == 2


def test_when_jobs_of_a_kind_have_run_on_a_dataset_then_their_median_is_the_usual_duration(jobs):
    assert jobs.usual_duration("a", "compact", "flights") is None
    for _ in range(3):
        job = ask(jobs)
        jobs.start("a", job)
        jobs.finish("a", job, JobState.succeeded, "done")
    durations = sorted(job.ended_at - job.started_at for job in jobs.page("a").items)
    assert jobs.usual_duration("a", "compact", "flights") == durations[1]
    assert jobs.usual_duration("a", "compact", "others") is None
    assert jobs.usual_duration("b", "compact", "flights") is None
