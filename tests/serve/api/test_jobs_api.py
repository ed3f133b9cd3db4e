from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from cluster.ray.reconciler import Reconciler
from quantis.types.jobs import JobError, JobState
from quantis.types.registry import LeaderboardRow
from serve.security.policy import POLICY
from tests.serve.api_under_test import train_result

SPEC = {"kind": "train", "dataset": "flights", "model": "demand", "families": ["seasonal_naive"]}


def submit(client, key=None, **changes):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/v1/jobs", json={"spec": SPEC | changes}, headers=headers)


def reconcile(world):
    reconciler = Reconciler(world.database, world.jobs)
    assert reconciler.tick()
    reconciler.close()


@pytest.fixture
def job(client):
    return submit(client).json()["id"]


def test_when_work_is_asked_for_then_it_is_202_with_its_address_and_the_job_reads_back(client):
    answer = submit(client)
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{body['id']}"
    assert client.get(answer.headers["location"]).json() == body
    assert (body["kind"], body["state"], body["created_by"], body["progress"]) == (
        "train",
        "PENDING",
        "admin",
        0,
    )
    assert body["spec"]["families"] == ["seasonal_naive"]
    assert body["spec"]["tft"]["workers"] == 2


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"dataset": "nothing"}, 404, "not_found"),
        ({"version": 9}, 404, "not_found"),
        ({"kind": "shell"}, 422, "invalid_input"),
        ({"entrypoint": "rm -rf /"}, 422, "invalid_input"),
        ({"model": "demand; reboot"}, 422, "invalid_input"),
        ({"families": ["oracle"]}, 422, "invalid_input"),
        ({"h": 0}, 422, "invalid_input"),
        ({"h": 5000}, 422, "invalid_input"),
        ({"h": 1, "n_windows": 50, "step_size": 1000}, 422, "invalid_input"),
        ({"kind": "forecast", "h": 24, "origins": 1000, "score": True}, 422, "invalid_input"),
        ({"h": 1, "step_size": 10**12}, 422, "invalid_input"),
        ({"kind": "backtest", "model": "demand@champion", "step_size": 10**12}, 422, "invalid_input"),
        ({"tft": {"seed": -1}}, 422, "invalid_input"),
        ({"tft": {"seed": 2**64}}, 422, "invalid_input"),
        ({"tft": {"hidden_size": 8, "attention_heads": 16}}, 422, "invalid_input"),
        ({"tft": {"hidden_size": 10, "attention_heads": 3}}, 422, "invalid_input"),
    ],
)
def test_when_work_cannot_be_done_then_it_is_refused_and_not_recorded(
    world, client, problem, changes, status, code
):
    problem(submit(client, **changes), status, code)
    assert client.get("/v1/jobs").json()["items"] == []
    assert world.services.jobs.pending_outbox() == 0


def test_when_the_same_request_comes_again_with_its_key_then_it_is_the_same_job(world, client, problem):
    first = submit(client, "key-1")
    again = submit(client, "key-1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert "another request" in problem(submit(client, "key-1", h=12), 409, "conflict")["detail"]
    assert submit(client, "key-2").json()["id"] != first.json()["id"]
    assert submit(world.client("ml_engineer"), "key-1").json()["id"] != first.json()["id"]
    assert submit(client).json()["id"] != submit(client).json()["id"]
    assert len(client.get("/v1/jobs").json()["items"]) == 5
    reconcile(world)
    assert submit(client, "key-1").json()["state"] == first.json()["state"]


def test_when_a_refused_request_had_a_key_then_the_key_is_still_free(client, problem):
    problem(submit(client, "key-1", dataset="nothing"), 404, "not_found")
    assert submit(client, "key-1").status_code == 202


def test_when_jobs_are_listed_then_the_newest_is_first_and_pages_make_the_whole(client):
    ids = [submit(client, h=h).json()["id"] for h in range(1, 8)]
    whole = client.get("/v1/jobs").json()["items"]
    assert [one["id"] for one in whole] == ids[::-1]
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/v1/jobs", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert found == whole


def test_when_jobs_are_filtered_then_state_and_kind_both_count(world, client):
    train = submit(client).json()["id"]
    client.post("/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}})
    world.services.jobs.finish("default", train, JobState.failed, "no")
    for query, count in (("", 2), ("?kind=train", 1), ("?state=FAILED", 1), ("?state=PENDING&kind=train", 0)):
        assert len(client.get(f"/v1/jobs{query}").json()["items"]) == count


# Events


def read_events(client, job, last=None):
    """(id, event, data) of a job's stream, read to its end."""
    headers = {"Last-Event-ID": str(last)} if last is not None else {}
    with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] in ("no-cache", "no-store")
        text = "".join(answer.iter_text())
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":")
        )
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def tell_a_story(world, job):
    jobs = world.services.jobs
    jobs.start("default", job)
    jobs.add_event("default", job, "progress", "half\nof it: é", progress=0.5, data={"done": 1})
    jobs.add_event("default", job, "metric", "mase", data={"mase": 0.5})
    jobs.finish("default", job, JobState.succeeded, "done", train_result(job))


def test_when_a_job_has_ended_then_its_stream_tells_the_whole_story_and_ends(world, client, job):
    tell_a_story(world, job)
    events = read_events(client, job)
    assert [number for number, _, _ in events] == [1, 2, 3, 4, 5, 6]
    assert [event for _, event, _ in events] == ["state", "state", "progress", "metric", "result", "state"]
    assert events[2][2]["message"] == "half\nof it: é"
    assert events[2][2]["data"] == {"done": 1}
    assert events[4][2]["data"] == train_result(job)
    assert [data["data"].get("state") for _, event, data in events if event == "state"] == [
        "PENDING",
        "RUNNING",
        "SUCCEEDED",
    ]
    assert all(number == data["seq"] and event == data["kind"] for number, event, data in events)


def test_when_a_stream_is_resumed_then_it_goes_on_after_the_last_event(world, client, job):
    tell_a_story(world, job)
    whole = read_events(client, job)
    for last in range(7):
        assert read_events(client, job, last) == whole[last:]
    assert read_events(client, job, 2**31 - 1) == []


def test_when_more_happens_than_one_look_takes_then_nothing_is_left_out(world, client, job):
    jobs = world.services.jobs
    for step in range(520):
        jobs.add_event("default", job, "step", f"step {step}")
    jobs.finish("default", job, JobState.failed, "no")
    events = read_events(client, job)
    assert [number for number, _, _ in events] == list(range(1, 523))


def test_when_a_job_goes_on_while_it_is_followed_then_the_stream_follows_and_ends_with_it(
    world, client, job, monkeypatch
):
    monkeypatch.setattr("serve.api.jobs.POLL_SECONDS", 0.02)

    def later():
        time.sleep(0.2)
        tell_a_story(world, job)

    thread = threading.Thread(target=later)
    thread.start()
    events = read_events(client, job)
    thread.join()
    assert [number for number, _, _ in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1][2]["data"]["state"] == "SUCCEEDED"


@pytest.mark.parametrize("last", ["abc", "-1", "1.5", "9" * 30])
def test_when_the_last_event_id_is_odd_then_it_is_422_before_the_stream_begins(client, problem, job, last):
    problem(client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last}), 422, "invalid_input")


# Stopping, logs, results


def test_when_a_job_is_stopped_before_it_was_submitted_then_ray_never_keeps_it(world, client, job):
    answer = client.post(f"/v1/jobs/{job}/stop")
    assert answer.status_code == 202
    reconcile(world)
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "STOPPED"
    assert [state for state in world.jobs.states.values() if not state.final] == []


def test_when_a_running_job_is_stopped_then_ray_stops_it_and_the_stream_ends(world, client, job):
    reconcile(world)
    world.services.jobs.start("default", job)
    client.post(f"/v1/jobs/{job}/stop")
    client.post(f"/v1/jobs/{job}/stop")
    reconcile(world)
    assert list(world.jobs.states.values()) == [JobState.stopped]
    events = read_events(client, job)
    assert [data["message"] for _, _, data in events].count("stop requested") == 1
    assert events[-1][2]["data"]["state"] == "STOPPED"
    again = client.post(f"/v1/jobs/{job}/stop")
    assert (again.status_code, again.json()["state"]) == (202, "STOPPED")
    assert read_events(client, job) == events


def test_when_a_job_failed_then_everybody_reads_why_and_what_to_do_and_admins_what_the_machine_said(
    world, client, job
):
    error = JobError(
        cause="The worker ran out of memory (limit 2.0 GiB).",
        remedy="Train with fewer series.",
        details="pid=7",
    )
    world.services.jobs.start("default", job)
    assert world.services.jobs.fail("default", job, error)
    assert not world.services.jobs.fail("default", job, error)
    for role in ("viewer", "analyst", "ml_engineer"):
        body = world.client(role).get(f"/v1/jobs/{job}").json()
        assert body["state"] == "FAILED"
        assert body["message"] == f"{error.cause} {error.remedy}"
        assert body["error"] == {"cause": error.cause, "remedy": error.remedy, "details": None}
    assert world.client("admin").get(f"/v1/jobs/{job}").json()["error"]["details"] == "pid=7"
    assert world.client("admin").get("/v1/jobs").json()["items"][0]["error"]["details"] is None
    assert "pid=7" not in json.dumps([data for _, _, data in read_events(client, job)])


def test_when_logs_are_read_then_they_are_empty_first_and_then_the_end_of_what_was_printed(
    world, client, job
):
    assert client.get(f"/v1/jobs/{job}/logs").json() == {"text": ""}
    reconcile(world)
    assert client.get(f"/v1/jobs/{job}/logs").json() == {"text": f"log of quantis-{job}\n"}


def test_when_a_job_has_no_leaderboard_then_it_is_404_and_says_which_has(client, problem, job):
    body = problem(client.get(f"/v1/experiments/{job}/leaderboard"), 404, "not_found")
    assert "a train or tune job that succeeded" in body["detail"]
    problem(client.get("/v1/experiments/unknown/leaderboard"), 404, "not_found")


def test_when_a_train_job_succeeded_then_its_leaderboard_is_there(world, client, job):
    row = LeaderboardRow(rank=1, model="Naive24", family="seasonal_naive", mase=0.5, wql=0.1, wape=0.2, coverage_80=0.8,
                         seconds=1.0, skill=0.5, chosen=True)  # fmt: skip
    result = train_result(job, row)
    world.services.jobs.finish("default", job, JobState.succeeded, "done", result)
    assert client.get(f"/v1/experiments/{job}/leaderboard").json() == result["leaderboard"]


@pytest.mark.parametrize("path", ["", "/events", "/logs"])
def test_when_a_job_is_unknown_then_it_is_404(client, problem, path):
    problem(client.get(f"/v1/jobs/unknown{path}"), 404, "not_found")
    problem(client.post("/v1/jobs/unknown/stop"), 404, "not_found")


def test_when_a_stream_was_followed_then_it_is_counted_and_is_not_in_the_latencies(client, world, job):
    route = "/v1/jobs/{job_id}/events"
    requests = f'quantis_http_requests_total{{method="GET",route="{route}",status="200"}}'
    latencies = f'quantis_http_request_seconds_count{{route="{route}"}}'

    def count(sample):
        lines = [line for line in client.get("/metrics").text.split("\n") if line.startswith(sample)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    tell_a_story(world, job)
    before = count(requests), count(latencies)
    assert read_events(client, job)
    assert (count(requests), count(latencies)) == (before[0] + 1, before[1])


def test_when_the_api_has_started_then_every_route_counts_its_server_errors_from_zero(client):
    text = client.get("/metrics").text
    for method, route in POLICY:
        for status in (500, 503, 504, 507):
            line = f'quantis_http_requests_total{{method="{method}",route="{route}",status="{status}"}} '
            assert line in text, line
