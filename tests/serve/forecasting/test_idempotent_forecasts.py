"""A forecast asked for again with the key of the first time is the forecast of the first time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.serve.api.test_forecasts_api import GOOD, URL


def test_when_a_forecast_is_asked_for_twice_with_one_key_then_it_is_issued_once(client, world, problem):
    def keyed(key, who=client, url=URL, **body):
        return who.post(url, json={"series": [{"unique_id": GOOD}], **body}, headers={"Idempotency-Key": key})

    first = keyed("a")
    assert first.status_code == 200
    again = keyed("a")
    assert (again.status_code, again.json()) == (200, first.json())  # its time of issue, too
    assert keyed("b").json()["forecast_id"] != first.json()["forecast_id"]
    assert "another request" in problem(keyed("a", h=3), 409, "conflict")["detail"]
    problem(keyed("a", url="/v1/models/demand@champion/forecasts"), 409, "conflict")
    theirs = keyed("a", who=world.client("viewer"))  # a key is its sender's own
    assert theirs.json()["forecast_id"] != first.json()["forecast_id"]


def test_when_one_key_is_sent_many_times_at_once_then_all_get_the_same_forecast(world):
    def send(_):
        answer = world.client("viewer").post(
            URL, json={"series": [{"unique_id": GOOD}]}, headers={"Idempotency-Key": "race"}
        )
        return answer.status_code, answer.json()["forecast_id"]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(send, range(16)))
    assert len(found) == 1
    assert {status for status, _ in found} == {200}
