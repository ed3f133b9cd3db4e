from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from cluster.database.tables import IdempotencyKeyRow, JobEventRow, JobRow, OutboxRow
from cluster.repositories.jobs import Jobs
from cluster.repositories.operations import job_rows
from cluster.repositories.outbox import STOP, SUBMIT
from quantis.errors import Conflict, InvalidInput, NotFound
from quantis.types.job_results import CompactResult
from quantis.types.job_specs import CompactSpec, FeaturizeSpec, ForecastSpec, TrainSpec
from quantis.types.jobs import JobState
from tests.cluster.concurrency import at_once

TEAM, USER = "default", "ada"
SPEC = TrainSpec(dataset="flights", model="demand")
COMPACT = CompactSpec(dataset="flights")
RESULT = {"versions": 1, "files_before": 9, "files_after": 1, "purged": 0, "removed": 8}


@pytest.fixture
def jobs(database):
    return Jobs(database)


def rows(database, *tables):
    with database.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in tables]


# Asking


def test_when_a_job_is_requested_then_row_promise_key_and_first_event_are_there_together(jobs, database):
    job = jobs.request(TEAM, USER, SPEC, "key")
    assert jobs.get(TEAM, job.id) == job
    assert (job.state, job.spec, job.created_by) == (JobState.pending, SPEC, USER)
    assert rows(database, JobRow, OutboxRow, IdempotencyKeyRow, JobEventRow) == [1, 1, 1, 1]
    (item,) = jobs.due()
    assert (item.team, item.topic, item.job_id, item.attempts) == (TEAM, SUBMIT, job.id, 0)
    assert jobs.submission(TEAM, job.id) is None
    assert jobs.team_of(job.id) == TEAM


@pytest.mark.parametrize("table", ["outbox", "idempotency_keys", "job_events"])
def test_when_it_breaks_half_way_then_nothing_of_the_request_is_there(jobs, database, table):
    def broken(connection, cursor, statement, *others):
        if statement.startswith(f"INSERT INTO {table}"):
            raise KeyboardInterrupt("killed")

    event.listen(database.engine, "before_cursor_execute", broken)
    with pytest.raises(KeyboardInterrupt):
        jobs.request(TEAM, USER, SPEC, "key")
    event.remove(database.engine, "before_cursor_execute", broken)
    assert rows(database, JobRow, OutboxRow, IdempotencyKeyRow, JobEventRow) == [0, 0, 0, 0]
    assert jobs.request(TEAM, USER, SPEC, "key").state == JobState.pending


def test_when_a_key_is_used_again_then_the_same_request_gives_the_same_job_and_another_a_conflict(
    jobs, database
):
    first = jobs.request(TEAM, USER, SPEC, "key")
    assert jobs.request(TEAM, USER, SPEC, "key").id == first.id
    with pytest.raises(Conflict, match="'key' was used for another request"):
        jobs.request(TEAM, USER, SPEC.model_copy(update={"h": 3}), "key")
    assert jobs.request(TEAM, "bob", SPEC, "key").id != first.id
    assert jobs.request("others", USER, SPEC, "key").id != first.id
    assert jobs.request(TEAM, USER, SPEC).id != jobs.request(TEAM, USER, SPEC).id
    assert rows(database, JobRow, OutboxRow) == [5, 5]


def test_when_one_key_is_used_at_once_then_there_is_one_job(jobs, database):
    found = at_once(6, lambda number: jobs.request(TEAM, USER, SPEC, "key"))
    assert len({job.id for job in found}) == 1
    assert rows(database, JobRow, OutboxRow) == [1, 1]


def test_when_another_team_asks_then_the_job_is_not_there(jobs):
    job = jobs.request(TEAM, USER, SPEC)
    for call in (jobs.get, jobs.submission, jobs.events, jobs.start, jobs.request_stop):
        with pytest.raises(NotFound):
            call("others", job.id)
    for call in (jobs.get, jobs.events):
        with pytest.raises(NotFound):
            call(TEAM, "unknown")
    with pytest.raises(NotFound):
        jobs.team_of("unknown")
    assert jobs.page("others").items == []


def test_when_an_id_cannot_be_one_then_it_is_refused_as_input_or_not_found(jobs):
    for odd in ("a\0b", "x" * 5000, "", "é"):
        with pytest.raises((NotFound, InvalidInput)):
            jobs.get(TEAM, odd)


# Pages


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 9), kind=st.sampled_from([None, "train", "featurize"]))
def test_when_pages_are_followed_then_together_they_are_everything_once_newest_first(many, limit, kind):
    whole = many.page(TEAM, kind=kind, limit=100)
    assert whole.next_cursor is None
    times = [(job.created_at, job.id) for job in whole.items]
    assert times == sorted(times, reverse=True)
    found, cursor = [], None
    while True:
        page = many.page(TEAM, kind=kind, limit=limit, cursor=cursor)
        assert 0 < len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == whole.items


@pytest.fixture
def many(jobs, monkeypatch):
    """Jobs of which several were made in the same microsecond."""
    start = job_rows.now()
    ticks = iter(range(10_000))
    monkeypatch.setattr(job_rows, "now", lambda: start + timedelta(microseconds=next(ticks) // 20))
    for number in range(14):
        spec = SPEC if number % 3 else FeaturizeSpec(dataset="flights")
        jobs.request(TEAM, USER, spec)
        jobs.request("others", USER, spec)
    return jobs


def test_when_jobs_come_and_go_between_pages_then_no_old_one_is_missed(jobs):
    old = [jobs.request(TEAM, USER, SPEC).id for _ in range(6)]
    first = jobs.page(TEAM, limit=3)
    jobs.request(TEAM, USER, SPEC)
    second = jobs.page(TEAM, limit=10, cursor=first.next_cursor)
    assert [job.id for job in first.items + second.items] == old[::-1]


@pytest.mark.parametrize(
    "cursor", ["nonsense", "", "W10", "WyJhIl0", "bnVsbA", "WzEsMl0", "é", "WyJ4IiwieSJd", "====", "WyJh"]
)
def test_when_a_cursor_is_not_ours_then_it_is_refused(jobs, cursor):
    jobs.request(TEAM, USER, SPEC)
    if cursor:
        with pytest.raises(InvalidInput, match="cursor"):
            jobs.page(TEAM, cursor=cursor)


# The story


def test_when_a_job_runs_then_its_story_is_numbered_from_one(jobs):
    job = jobs.request(TEAM, USER, COMPACT)
    jobs.start(TEAM, job.id)
    jobs.add_event(TEAM, job.id, "progress", "half", progress=0.5)
    jobs.add_event(TEAM, job.id, "progress", "back", progress=0.2)
    jobs.add_event(TEAM, job.id, "progress", "over", progress=7.0, data={"n": [1, None, "é"]})
    assert jobs.get(TEAM, job.id).progress == 1.0
    assert jobs.finish(TEAM, job.id, JobState.succeeded, "done", RESULT)
    events = jobs.events(TEAM, job.id)
    assert [event.seq for event in events] == list(range(1, 8))
    assert [event.kind for event in events] == [
        "state",
        "state",
        "progress",
        "progress",
        "progress",
        "result",
        "state",
    ]
    assert events[4].data == {"n": [1, None, "é"]}
    assert jobs.events(TEAM, job.id, after=3) == events[3:]
    assert jobs.events(TEAM, job.id, after=3, limit=2) == events[3:5]
    ended = jobs.get(TEAM, job.id)
    assert (ended.state, ended.result, ended.message) == (JobState.succeeded, CompactResult(**RESULT), "done")
    assert ended.created_at <= ended.started_at <= ended.ended_at


def test_when_progress_never_goes_back_then_it_is_kept(jobs):
    job = jobs.request(TEAM, USER, SPEC)
    for told, kept in ((0.3, 0.3), (0.1, 0.3), (-5, 0.3), (0.6, 0.6)):
        jobs.add_event(TEAM, job.id, "progress", "", progress=told)
        assert jobs.get(TEAM, job.id).progress == kept


def test_when_many_tell_at_once_then_every_event_is_kept_and_numbered_once(jobs):
    job = jobs.request(TEAM, USER, SPEC)

    def tell(number):
        for step in range(10):
            jobs.add_event(TEAM, job.id, "step", f"{number}-{step}")

    assert at_once(4, tell) == [None] * 4
    events = jobs.events(TEAM, job.id)
    assert [event.seq for event in events] == list(range(1, 42))
    assert len({event.message for event in events}) == 41
    for number in range(4):
        mine = [event.message for event in events if event.message.startswith(f"{number}-")]
        assert mine == [f"{number}-{step}" for step in range(10)]


def test_when_a_job_has_ended_then_nothing_moves_it_any_more(jobs):
    job = jobs.request(TEAM, USER, SPEC)
    assert jobs.finish(TEAM, job.id, JobState.stopped, "stopped")
    ended = jobs.get(TEAM, job.id)
    assert not jobs.finish(TEAM, job.id, JobState.succeeded, "done", RESULT)
    jobs.add_event(TEAM, job.id, "step", "late")
    with pytest.raises(Conflict, match="STOPPED already"):
        jobs.start(TEAM, job.id)
    assert jobs.request_stop(TEAM, job.id) == ended
    assert jobs.get(TEAM, job.id) == ended
    assert jobs.events(TEAM, job.id)[-1].data == {"state": "STOPPED"}
    assert len(jobs.due()) == 1


def test_when_several_finish_at_once_then_one_of_them_did(jobs):
    job = jobs.request(TEAM, USER, COMPACT)
    states = [JobState.succeeded, JobState.failed, JobState.stopped, JobState.succeeded]
    results = [RESULT | {"removed": number} for number in range(4)]
    found = at_once(4, lambda n: jobs.finish(TEAM, job.id, states[n], str(n), results[n]))
    assert sorted(found) == [False, False, False, True]
    ended, winner = jobs.get(TEAM, job.id), found.index(True)
    assert (ended.state, ended.message, ended.result) == (
        states[winner],
        str(winner),
        CompactResult(**results[winner]),
    )
    assert [event.kind for event in jobs.events(TEAM, job.id)] == ["state", "result", "state"]


def test_when_a_stop_is_asked_for_several_times_then_it_is_promised_once(jobs):
    job = jobs.request(TEAM, USER, SPEC)
    at_once(3, lambda number: jobs.request_stop(TEAM, job.id))
    assert jobs.due() == []  # nobody was given it
    assert jobs.get(TEAM, job.id).state == JobState.stopped
    assert [event.message for event in jobs.events(TEAM, job.id)] == [
        "requested",
        "stop requested",
        "stopped on request",
    ]
    assert jobs.pending_outbox() == 0


def test_when_a_job_that_runs_is_stopped_several_times_then_it_is_promised_once(jobs):
    job = jobs.request(TEAM, USER, SPEC)
    jobs.mark_submitted(TEAM, job.id, "quantis-1")
    jobs.start(TEAM, job.id)
    at_once(3, lambda number: jobs.request_stop(TEAM, job.id))
    assert [item.topic for item in jobs.due()] == [STOP]
    assert jobs.get(TEAM, job.id).state == JobState.running


def test_when_a_running_job_starts_again_then_its_start_stays(jobs):
    job = jobs.request(TEAM, USER, SPEC)
    first = jobs.start(TEAM, job.id)
    assert jobs.start(TEAM, job.id) == first


def test_when_a_job_was_submitted_by_hand_then_it_runs_without_a_promise(jobs):
    job = jobs.adopt(TEAM, USER, ForecastSpec(dataset="flights", model="demand"), "raysubmit_1")
    assert job.state == JobState.running
    assert jobs.due() == []
    assert [(team, one.id, name) for team, one, name in jobs.list_unfinished()] == [
        (TEAM, job.id, "raysubmit_1")
    ]


# The outbox


def test_when_a_promise_is_postponed_or_kept_then_it_is_due_later_or_never(jobs):
    first, second = jobs.request(TEAM, USER, SPEC), jobs.request(TEAM, USER, SPEC)
    items = jobs.due()
    assert [item.job_id for item in items] == [first.id, second.id]
    jobs.postpone(items[0], timedelta(seconds=60))
    assert [item.job_id for item in jobs.due()] == [second.id]
    jobs.settle(items[1])
    assert jobs.due() == []
    assert jobs.pending_outbox() == 1
    jobs.postpone(items[0], timedelta(seconds=-1))
    assert [(item.job_id, item.attempts) for item in jobs.due()] == [(first.id, 2)]


def test_when_jobs_are_counted_then_by_state_and_kind_and_only_given_ones_are_followed(jobs):
    given = jobs.request(TEAM, USER, SPEC)
    jobs.request(TEAM, USER, FeaturizeSpec(dataset="flights"))
    jobs.mark_submitted("default", given.id, "quantis-1")
    assert [name for _, _, name in jobs.list_unfinished()] == ["quantis-1"]
    jobs.finish(TEAM, given.id, JobState.failed, "no")
    assert jobs.list_unfinished() == []
    assert jobs.counts() == {("FAILED", "train"): 1, ("PENDING", "featurize"): 1}
