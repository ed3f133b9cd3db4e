"""Who answered a model's name at a time, by share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

NOW = "%Y-%m-%dT%H:%M:%S.%fZ"


@pytest.fixture
def at(world):
    def ask(time: datetime):
        return world.client("viewer").get("/v1/models/demand/at", params={"time": time.strftime(NOW)})

    return ask


def test_when_traffic_is_divided_and_given_back_then_each_time_has_its_shares(world, at) -> None:
    client = world.client("admin")
    before = datetime.now(UTC)
    divided = client.put("/v1/models/demand/traffic", json={"shares": [{"version": 1, "percent": 30}]})
    assert divided.status_code == 200, divided.text
    between = datetime.now(UTC)
    assert client.put("/v1/models/demand/traffic", json={"shares": []}).status_code == 200
    serving = at(between).json()
    assert serving["shares"] == [{"version": 1, "percent": 100}]
    assert before <= datetime.fromisoformat(serving["since"]) <= between
    assert between <= datetime.fromisoformat(serving["until"]) <= datetime.now(UTC)
    after = at(datetime.now(UTC)).json()
    assert (after["champion"], after["shares"], after["until"]) == (1, [{"version": 1, "percent": 100}], None)


def test_when_nobody_answered_yet_then_it_says_from_when_it_is_known(at, problem) -> None:
    body = problem(at(datetime.now(UTC) - timedelta(days=9000)), 404, "not_found")
    assert "the first recorded change is of" in body["detail"]


def test_when_the_model_is_unknown_then_it_is_404(world, problem) -> None:
    answer = world.client("viewer").get("/v1/models/demnd/at", params={"time": "2026-01-01T00:00:00Z"})
    problem(answer, 404, "not_found")
