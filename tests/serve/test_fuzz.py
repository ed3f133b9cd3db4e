"""Schemathesis, with and without a token: no 500, no failed check, and not mostly refusals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from quantis.types.jobs import JobState
from serve.security import tokens
from tests.serve import fuzz
from tests.serve.api_under_test import PASSWORD
from tests.serve.fuzz import Known
from tests.serve.matrix import Makers


@pytest.fixture
def fuzzed(world, monkeypatch):
    """The API over a socket; whoever asks may ask, and be wrong, as often as the run needs."""
    for name in ("ANONYMOUS_PER_ADDRESS", "WRONG_PER_ADDRESS", "WRONG_PER_PAIR", "WRONG_PER_ACCOUNT"):
        monkeypatch.setattr(f"serve.security.rate_limits.{name}", 10**9)
    settings = world.settings.model_copy(update={"stream_seconds": 0.3, "quota_requests_per_minute": None})
    world = replace(world, settings=settings)
    with fuzz.served(world.app) as url:
        yield world, url


def seeded(world) -> Known:
    """Objects of every kind, and their names."""
    admin = world.client("admin")

    def made(method, path, status=201, **body):
        answer = admin.request(method, path, **body)
        assert answer.status_code == status, (path, answer.text)
        return answer.json()

    made("POST", "/v1/datasets", json={"name": "shop", "freq": "D"})
    rows = fuzz.SERIES.format(day=1, y=3) + "".join(f"lamps,2024-01-{day:02},{day}\n" for day in range(1, 31))
    made("POST", "/v1/datasets/shop/versions", content=rows, headers={"Content-Type": "text/csv"})
    made("POST", "/v1/teams", json={"name": "rivals", "admin_name": "spy", "admin_password": PASSWORD})
    guest = made("POST", "/v1/users", json={"user_name": "guest", "password": PASSWORD})
    job = made("POST", "/v1/jobs", 202, json={"spec": {"kind": "featurize", "dataset": "shop"}})
    world.services.jobs.start("default", job["id"])
    world.services.jobs.finish("default", job["id"], JobState.succeeded, "done")
    makers = Makers(world.services)
    done = [makers.job_id("default", "admin"), makers.train_job_id("default", "admin")]
    clients = [made("POST", "/v1/clients", json={"name": f"robot-{n}"})["id"] for n in range(20)]
    keys = [made("POST", "/v1/api-keys", json={"name": f"key-{n}"})["id"] for n in range(20)]
    starts = {"kind": "job", "spec": {"kind": "featurize", "dataset": "shop"}}
    new = {"name": "nightly", "cron": "0 6 * * *", "starts": starts}
    schedule = made("POST", "/v1/schedules", json=new)
    hook = {"kind": "slack", "name": "hook", "url": "https://hooks.example.org/x"}
    channel = made("POST", "/v1/alert-channels", json=hook)
    delivery = made("POST", f"/v1/alert-channels/{channel['id']}/test", 202)["id"]
    steps = [{"name": "look", "job": starts["spec"]}]
    made("PUT", "/v1/pipelines/nightly", 200, json={"steps": steps})
    run = made("POST", "/v1/pipelines/nightly/runs", 202)
    body = {"series": [{"unique_id": "JFK/B6"}]}
    forecast = made("POST", "/v1/models/demand/forecasts", 200, json=body)
    return Known(
        mostly={
            "datasets": ["shop"], "models": ["demand"], "ref": ["demand", "demand@champion", "demand:1"],
            "unique_id": ["lamps", "chairs"], "version": [1], "number": [1], "job_id": [job["id"], *done],
            "rule_id": ["default-drift", makers.rule_id("default", "admin")],
            "delivery_id": [delivery], "channel_id": [channel["id"]],
            "alert_id": [makers.alert_id("default", "admin") for _ in range(10)],
            "client_id": clients, "key_id": keys, "schedule_id": [schedule["id"]],
            "pipeline": ["nightly"], "run_id": [run["id"]],
            "forecast_id": [forecast["forecast_id"]], "as_of": ["2024-03-01T00:00:00Z", "2025-01-02T12:00:00+01:00"],
        },
        reauthentication=world.reauthentication(world.user_id("admin")),
        always={"user_id": guest["id"], "session_id": "ended", "team": "rivals"},
    )  # fmt: skip


def fuzz_through(
    fuzzed,
    role: str | None,
    examples: int,
    seed: int,
    *,
    mode: str = "all",
    without: Sequence[str] = (),
    uncovered: Sequence[str] = (),
) -> fuzz.Report:
    world, url = fuzzed
    known = seeded(world)
    token = tokens.issue(world.user_id(role), world.services.token_keys[0], 12 * 3600) if role else None
    report = fuzz.run(
        url,
        examples=examples,
        seed=seed,
        token=token,
        known=known,
        mode=mode,
        without=without,
        uncovered=uncovered,
    )
    sys.stdout.write(f"{role or 'nobody'}: {report}\n")
    for check, story in report.failures.items():
        sys.stdout.write(f"{check}\n{story}\n\n")
    assert report.failures == {}
    assert report.every["5xx"] == report.every["0xx"] == 0
    return report


@pytest.mark.timeout(900)
def test_when_the_document_is_fuzzed_with_a_token_then_every_check_holds_and_most_that_fits_is_served(fuzzed):
    report = fuzz_through(fuzzed, "admin", examples=2, seed=1, uncovered=fuzz.OF_JOBS)
    assert report.requests >= 2000
    assert report.answered_well > 0.5, report.by_operation


@pytest.mark.timeout(900)
def test_when_the_document_is_fuzzed_without_a_token_then_every_check_holds(fuzzed):
    """Nearly all is 401 before it is looked at, so what the phases left out would add is left to `make soak`."""
    report = fuzz_through(fuzzed, None, examples=4, seed=2, without=("coverage", "stateful"))
    assert report.requests >= 400


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_when_the_document_is_fuzzed_for_long_then_every_check_holds_and_most_requests_are_served(fuzzed):
    report = fuzz_through(fuzzed, "admin", examples=400, seed=5, mode="positive")
    assert report.requests >= 20_000
    assert report.served > 0.5, report.by_operation


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_when_the_document_is_fuzzed_for_long_with_what_breaks_it_then_every_check_still_holds(fuzzed):
    report = fuzz_through(fuzzed, "admin", examples=120, seed=3)
    assert report.requests >= 10_000
    assert report.answered_well > 0.5, report.by_operation


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_when_a_stranger_fuzzes_for_long_then_every_check_still_holds(fuzzed):
    assert fuzz_through(fuzzed, None, examples=70, seed=4).requests >= 7_000
