"""Schedules start their jobs: at their times, once each, by the rights of their author."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cluster.automation.planning import RunTimes
from cluster.automation.scheduler import Scheduler
from cluster.database.automation_tables import ScheduleRow
from cluster.repositories.accounts import DEFAULT_TEAM, UserAccounts
from cluster.repositories.keys import ApiKeys
from cluster.repositories.leases import Leases
from cluster.repositories.teams import Teams
from quantis.types.accounts import Role
from quantis.types.jobs import JobState
from quantis.types.keys import NewApiKey, Scope
from quantis.types.operations.schedules import JobTarget, NewSchedule
from quantis.types.teams import Quota
from tests.cluster.automation.conftest import NOON, SPEC

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_when_a_time_has_come_then_one_job_is_there_with_its_promise_and_no_second_tick_adds_one(automated):
    automated.schedule()
    automated.tick()
    assert automated.jobs() == []
    automated.tick(MINUTE)
    automated.tick()
    (job,) = automated.jobs()
    (run,) = automated.runs()
    assert (run.planned_at, run.job_id, run.state) == (NOON + MINUTE, job.id, "running")
    assert (job.created_by, job.kind) == ("ada", "featurize")
    assert [item.job_id for item in automated.backend.jobs.due()] == [job.id]
    assert automated.backend.schedules.get(DEFAULT_TEAM, "nightly").next_at == NOON + 2 * MINUTE


def test_when_two_schedulers_read_the_same_schedule_then_the_planned_time_has_one_job(automated):
    automated.schedule(overlap="allow")
    automated.now += MINUTE
    (item,) = automated.backend.schedules.due(automated.now)
    (planned,) = RunTimes.from_schedule(DEFAULT_TEAM, item.schedule).runs_until(
        automated.now, item.schedule, item.next_at
    )
    outcomes = [automated.backend.schedules.begin(item, planned, None) for _ in range(2)]
    assert [run is None for run in outcomes] == [False, True]
    assert len(automated.jobs()) == 1


def test_when_another_process_has_the_lease_then_nothing_is_started(automated):
    automated.schedule()
    Leases(automated.backend.database).take("scheduler", "another", timedelta(minutes=1))
    automated.tick(MINUTE)
    assert automated.runs() == []
    Leases(automated.backend.database).release("scheduler", "another")
    automated.tick()
    assert automated.states() == ["running"]


@pytest.mark.parametrize("state", [JobState.succeeded, JobState.failed, JobState.stopped])
def test_when_a_job_ends_then_its_run_says_how(automated, state):
    automated.schedule("0 * * * *")
    automated.tick(HOUR)
    automated.end(automated.runs()[0].job_id, state)
    automated.tick()
    assert automated.states() == [state.value.lower()]


def test_when_the_run_before_goes_on_then_the_next_is_skipped_and_says_why(automated):
    automated.schedule("0 * * * *")
    automated.tick(HOUR)
    automated.tick(HOUR)
    assert automated.states() == ["running", "skipped"]
    assert "overlap: skip" in (automated.runs()[1].reason or "")
    automated.end(automated.runs()[0].job_id)
    automated.tick(HOUR)
    assert automated.states() == ["succeeded", "skipped", "running"]


def test_when_runs_queue_then_they_start_one_after_another_in_their_order(automated):
    automated.schedule("0 * * * *", overlap="queue")
    for _ in range(3):
        automated.tick(HOUR)
    assert automated.states() == ["running", "queued", "queued"]
    automated.end(automated.runs()[0].job_id)
    automated.tick()
    assert automated.states() == ["succeeded", "running", "queued"]
    automated.end(automated.runs()[1].job_id)
    automated.tick()
    assert automated.states() == ["succeeded", "succeeded", "running"]
    assert len({run.job_id for run in automated.runs()}) == len(automated.jobs()) == 3


def test_when_overlap_is_allowed_then_runs_go_on_side_by_side(automated):
    automated.schedule("0 * * * *", overlap="allow")
    for _ in range(3):
        automated.tick(HOUR)
    assert automated.states() == ["running"] * 3


@pytest.mark.parametrize(
    ("options", "states"),
    [
        ({}, ["missed"] * 5),
        ({"backfill": "latest"}, ["missed"] * 4 + ["running"]),
        ({"backfill": "all", "overlap": "allow"}, ["running"] * 5),
        ({"backfill": "all"}, ["running"] + ["queued"] * 4),
        ({"backfill": "all", "backfill_limit": 2, "overlap": "allow"}, ["missed"] * 3 + ["running"] * 2),
    ],
)
def test_when_the_platform_was_away_then_as_many_missed_runs_are_made_up_as_the_schedule_says(
    automated, options, states
):
    automated.schedule("0 * * * *", **options)
    automated.tick(5 * HOUR + 30 * MINUTE)
    assert automated.states() == states
    assert [run.planned_at for run in automated.runs()] == [NOON + n * HOUR for n in range(1, 6)]
    assert automated.backend.schedules.get(DEFAULT_TEAM, "nightly").next_at == NOON + 6 * HOUR


def test_when_a_tick_is_minutes_late_then_no_run_was_missed(automated):
    automated.schedule("0 * * * *")
    automated.tick(HOUR + 4 * MINUTE)
    assert automated.states() == ["running"]


def test_when_a_year_of_minutes_was_missed_then_the_record_is_bounded(automated):
    automated.schedule()
    automated.tick(timedelta(days=365))
    assert len(automated.runs()) == 100
    assert automated.backend.schedules.get(DEFAULT_TEAM, "nightly").next_at == automated.now + MINUTE


def test_when_a_schedule_has_jitter_then_each_run_is_late_by_the_same_part_of_it(automated):
    starts = JobTarget(spec=SPEC)
    schedules = [
        NewSchedule(name=f"s{n}", cron="0 * * * *", jitter=30 * MINUTE, starts=starts) for n in range(20)
    ]
    delays = [RunTimes.from_schedule(DEFAULT_TEAM, each).delay for each in schedules]
    assert delays == [RunTimes.from_schedule(DEFAULT_TEAM, each).delay for each in schedules]
    assert all(timedelta(0) <= delay <= 30 * MINUTE for delay in delays)
    assert len(set(delays)) > 10
    schedule = automated.schedule("0 * * * *", jitter="PT30M")
    delay = RunTimes.from_schedule(DEFAULT_TEAM, schedule).delay
    automated.tick(HOUR + delay - timedelta(seconds=1))
    assert automated.runs() == []
    automated.tick(timedelta(seconds=1))
    assert [run.planned_at for run in automated.runs()] == [NOON + HOUR]


def _disable(automated):
    UserAccounts(automated.backend.database).change(DEFAULT_TEAM, automated.user.id, disabled=True)


def _demote(automated):
    UserAccounts(automated.backend.database).change(DEFAULT_TEAM, automated.user.id, role=Role.viewer)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_disable, "'ada' that it acts for is disabled"), (_demote, "has the role viewer")],
)
def test_when_its_author_may_not_start_it_any_more_then_a_schedule_pauses_itself_with_the_reason(
    automated, change, reason
):
    UserAccounts(automated.backend.database).create(DEFAULT_TEAM, "root", "correct horse battery", Role.admin)
    automated.schedule("0 * * * *", overlap="queue")
    automated.tick(HOUR)
    automated.tick(HOUR)
    change(automated)
    automated.tick(HOUR)
    schedule = automated.backend.schedules.get(DEFAULT_TEAM, "nightly")
    assert schedule.paused
    assert reason in (schedule.pause_reason or "")
    automated.end(automated.runs()[0].job_id)
    automated.tick(HOUR)
    assert len(automated.jobs()) == 1


def test_when_the_key_that_made_it_is_revoked_then_a_schedule_pauses_itself(automated):
    keys = ApiKeys(automated.backend.database)
    key = keys.create(DEFAULT_TEAM, automated.user.id, NewApiKey(name="ci", scopes=frozenset({Scope.jobs})))
    schedule = automated.schedule("0 * * * *")
    author = type(automated.author)("key", automated.user.id, "ada", key.id)
    changed = NewSchedule.model_validate(schedule.model_dump(include=set(NewSchedule.model_fields)))
    automated.backend.schedules.change(DEFAULT_TEAM, schedule.id, author, changed, None)
    automated.tick(HOUR)
    keys.revoke(DEFAULT_TEAM, key.id)
    automated.end(automated.runs()[0].job_id)
    automated.tick(HOUR)
    assert automated.states() == ["succeeded", "refused"]
    assert "API key" in (automated.backend.schedules.get(DEFAULT_TEAM, "nightly").pause_reason or "")


def test_when_the_team_s_queue_is_full_then_the_run_waits_and_is_not_lost(automated):
    Teams(automated.backend.database).set_quota(DEFAULT_TEAM, Quota(jobs_waiting=1))
    automated.schedule("0 * * * *", overlap="allow")
    automated.tick(HOUR)
    automated.tick(HOUR)
    assert automated.states() == ["running", "queued"]
    assert "jobs_waiting" in (automated.runs()[1].reason or "")
    automated.end(automated.runs()[0].job_id)
    automated.tick()
    assert automated.states() == ["succeeded", "running"]


def test_when_one_schedule_is_in_trouble_then_the_others_run(automated):
    automated.schedule("0 * * * *")
    automated.schedule("0 * * * *", name="another")
    with automated.backend.database.write() as session:
        row = session.query(ScheduleRow).filter_by(name="another").one()
        row.definition = {**row.definition, "cron": "61 * * * *"}
    automated.tick(HOUR)
    assert automated.states() == ["running"]


def test_when_a_run_is_old_then_its_record_goes_and_it_is_not_run_again(automated):
    automated.schedule("0 0 * * *", overlap="allow")
    automated.tick(timedelta(hours=12))
    automated.end(automated.runs()[0].job_id)
    automated.tick()
    automated.backend.schedules.forget_runs_before(automated.now + timedelta(days=1))
    assert automated.runs() == []
    Scheduler(automated.backend, lambda: automated.now).tick()
    assert len(automated.jobs()) == 1
