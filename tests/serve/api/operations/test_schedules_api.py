"""Schedules over HTTP, from the SDK and from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from cluster.automation.scheduler import Scheduler
from quantis.client.connection import Request
from quantis.errors import Conflict, Forbidden, NotFound
from quantis.types.job_specs import BacktestSpec, CompactSpec

SPEC = {"kind": "backtest", "dataset": "flights", "h": 24, "families": ["seasonal_naive"]}
NEW = {"name": "nightly", "cron": "30 6 * * MON-FRI", "starts": {"kind": "job", "spec": SPEC}}


@pytest.fixture
def sdk(sdk_of):
    with sdk_of("analyst") as client:
        yield client


def test_when_a_schedule_is_made_then_it_reads_back_with_its_next_time_and_the_same_key_makes_one(client):
    answers = [client.post("/v1/schedules", json=NEW, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    body = answers[0].json()
    assert answers[1].json() == body
    assert client.get(answers[0].headers["location"]).json() == body
    assert client.get("/v1/schedules/nightly").json() == body
    next_at = datetime.fromisoformat(body["next_at"])
    assert (next_at.hour, next_at.minute) == (6, 30)
    assert next_at.weekday() < 5
    assert (body["acts_for"], body["paused"], body["overlap"], body["backfill"]) == (
        "admin",
        False,
        "skip",
        "none",
    )
    other = client.post("/v1/schedules", json=NEW | {"cron": "0 6 * * *"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 409
    assert client.post("/v1/schedules", json=NEW).status_code == 409


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"cron": "* * * *"}, 422, ""),
        ({"cron": "61 * * * *"}, 422, "bad minute"),
        ({"cron": "0 0 30 2 *"}, 422, "bad day-of-month"),
        ({"time_zone": "Europe/Berln"}, 422, "did you mean Europe/Berlin"),
        ({"jitter": "PT2H"}, 422, ""),
        ({"backfill_limit": 101}, 422, ""),
        ({"starts": {"kind": "job", "spec": SPEC | {"dataset": "flight"}}}, 404, "flights"),
        ({"starts": {"kind": "job", "spec": SPEC | {"h": 5000}}}, 422, ""),
        ({"starts": {"kind": "job", "spec": SPEC | {"families": ["oracle"]}}}, 422, "oracle"),
        ({"starts": {"kind": "shell", "spec": SPEC}}, 422, ""),
    ],
)
def test_when_a_schedule_could_only_fail_then_it_is_refused_with_the_reason(client, changes, status, said):
    answer = client.post("/v1/schedules", json=NEW | changes)
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert client.get("/v1/schedules").json()["items"] == []


def test_when_a_role_may_not_start_a_job_then_it_may_not_schedule_or_take_over_one(sdk_of):
    with (
        sdk_of("admin") as admin,
        sdk_of("analyst") as analyst,
        sdk_of("viewer") as viewer,
    ):
        compact = CompactSpec(dataset="flights")
        with pytest.raises(Forbidden, match="compact job"):
            analyst.create_schedule("nightly", "0 3 * * *", compact)
        schedule = admin.create_schedule("nightly", "0 3 * * *", compact)
        with pytest.raises(Forbidden, match="compact job"):
            analyst.change_schedule("nightly", cron="* * * * *")
        with pytest.raises(Forbidden, match="viewer"):
            viewer.pause_schedule("nightly")
        assert admin.schedule("nightly") == schedule
        assert analyst.pause_schedule("nightly").paused
        with pytest.raises(Forbidden, match="compact job"):
            analyst.resume_schedule("nightly")
        changed = analyst.change_schedule("nightly", starts={"kind": "job", "spec": SPEC}, cron="0 4 * * *")
        assert (changed.acts_for, changed.created_by) == ("analyst", "admin")


def test_when_a_schedule_is_paused_and_resumed_then_nothing_of_the_pause_counts_as_missed(sdk, world):
    sdk.create_schedule("each-minute", "* * * * *", BacktestSpec(dataset="flights"), backfill="all")
    assert sdk.pause_schedule("each-minute").next_at is None
    scheduler = Scheduler(world.services, lambda: datetime.now(UTC) + timedelta(hours=1))
    scheduler.tick()
    assert sdk.schedule_runs("each-minute") == []
    before = datetime.now(UTC)
    resumed = sdk.resume_schedule("each-minute")
    assert resumed.next_at
    assert before < resumed.next_at <= datetime.now(UTC) + timedelta(minutes=1)


def test_when_runs_are_paged_then_they_come_newest_first_each_once(sdk, world):
    schedule = sdk.create_schedule(
        "often",
        "* * * * *",
        BacktestSpec(dataset="flights"),
        overlap="allow",
        backfill="all",
        backfill_limit=12,
    )
    Scheduler(world.services, lambda: schedule.next_at + timedelta(minutes=30)).tick()
    runs = sdk.schedule_runs("often")
    assert len(runs) == 31
    assert [run.planned_at for run in runs] == sorted((run.planned_at for run in runs), reverse=True)
    started = [run for run in runs if run.job_id]
    assert len(started) == 18  # six that are hardly late, and twelve that are made up
    assert {run.job_id for run in started} == {job.id for job in sdk.jobs(limit=100)}
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        page = sdk._connection.send(_page("often", cursor)).json()
        found += [run["planned_at"] for run in page["items"]]
        cursor = page["next_cursor"]
    assert len(found) == len(set(found)) == 31


def _page(schedule, cursor):
    return Request("GET", f"/v1/schedules/{schedule}/runs", {"limit": 7, "cursor": cursor})


def test_when_a_schedule_is_deleted_then_its_jobs_stay_and_its_name_is_free(world, sdk_of):
    with sdk_of("ml_engineer") as sdk:
        schedule = sdk.create_schedule("nightly", "* * * * *", BacktestSpec(dataset="flights"))
        Scheduler(world.services, lambda: schedule.next_at).tick()
        sdk.delete_schedule("nightly")
        with pytest.raises(NotFound, match="quantis schedules ls"):
            sdk.schedule("nightly")
        assert len(sdk.jobs()) == 1
        again = sdk.create_schedule("nightly", "* * * * *", BacktestSpec(dataset="flights"))
        assert again.id != schedule.id
        assert sdk.schedule_runs("nightly") == []


def test_when_a_team_has_200_schedules_then_one_more_is_refused(sdk, monkeypatch):
    monkeypatch.setattr("cluster.repositories.operations.schedules.MAX_SCHEDULES", 2)
    for name in ("a", "b"):
        sdk.create_schedule(name, "0 0 * * *", BacktestSpec(dataset="flights"))
    with pytest.raises(Conflict, match="2 schedules"):
        sdk.create_schedule("c", "0 0 * * *", BacktestSpec(dataset="flights"))


def test_when_schedules_are_used_from_the_command_line_then_each_verb_does_its_work(cli, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text("kind: backtest\ndataset: flights\nfamilies: [seasonal_naive]\n")
    assert cli("schedules", "ls")[2].startswith("no schedule")
    options = (
        "--time-zone",
        "Europe/Berlin",
        "--overlap",
        "queue",
        "--backfill",
        "latest",
        "--jitter",
        "PT5M",
    )
    code, out, _ = cli("schedules", "create", "nightly", "30 6 * * *", str(job), *options, "--json")
    made = json.loads(out)
    assert code == 0
    assert (made["time_zone"], made["overlap"], made["backfill"], made["jitter"]) == (
        "Europe/Berlin", "queue", "latest", "PT5M",
    )  # fmt: skip
    assert "backtest of flights" in cli("schedules", "ls")[1]
    assert "30 6 * * * (Europe/Berlin)" in cli("schedules", "show", "nightly")[1]
    assert "paused" in cli("schedules", "pause", "nightly")[2]
    assert cli("schedules", "change", "nightly", "--cron", "0 7 * * *", "--json")[0] == 0
    assert json.loads(cli("schedules", "resume", "nightly", "--json")[1])["cron"] == "0 7 * * *"
    assert cli("schedules", "change", "nightly")[0] == 2
    assert cli("schedules", "runs", "nightly")[2] == "no run yet\n"
    assert cli("schedules", "create", "bad", "61 * * * *", str(job))[0] == 2
    assert cli("schedules", "delete", "nightly", "--yes")[0] == 0
    assert cli("schedules", "show", "nightly")[0] == 4
