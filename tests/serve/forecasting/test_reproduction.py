"""A forecast made again: the same numbers to the bit whatever came since, or the input that is gone."""

from __future__ import annotations

import pytest

SERIES = "JFK/B6"


def issue(world, **request):
    body = {"series": [{"unique_id": SERIES}], **request}
    response = world.client("admin").post("/v1/models/demand/forecasts", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def reproduced(world, forecast):
    response = world.client("viewer").get(f"/v1/forecasts/{forecast['forecast_id']}/reproduction")
    assert response.status_code == 200, response.text
    return response.json()


OWN = {
    "unique_id": "mine",
    "start": "2024-03-01T00:00:00Z",
    "y": [float(hour % 24) for hour in range(96)],
    "futr_exog": {"scheduled": [5.0] * 120},
}


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"as_of": "2024-01-20T07:30:00Z"},
        {"h": 5, "level": [50, 90]},
        {"series": [OWN]},
        {"series": [OWN, {"unique_id": SERIES}, {"unique_id": "nobody"}]},
        {"series": [{"unique_id": SERIES, "futr_exog": {"scheduled": [2.0] * 24}}]},
    ],
    ids=["stored", "as of", "levels", "own history", "mixed", "scenario"],
)
def test_when_values_come_and_are_corrected_then_a_forecast_is_the_same_again(world, request_body):
    forecast = issue(world, **request_body)
    client = world.client("admin")
    times = ["2024-01-25T22:00:00Z", "2024-01-26T00:00:00Z"]
    series = [{"unique_id": SERIES, "ds": times, "y": [999.0, 1.0]}]
    assert client.post("/v1/datasets/flights/observations", json={"series": series}).status_code == 201
    again = reproduced(world, forecast)
    assert (again["identical"], again["largest_difference"], again["missing"]) == (True, 0.0, [])
    assert again["response"]["forecasts"] == forecast["forecasts"]
    assert again["response"]["forecast_id"] == forecast["forecast_id"]


def test_when_a_forecast_is_made_again_then_none_is_issued(world):
    forecast = issue(world)
    before = world.client("admin").get("/v1/forecasts").json()
    reproduced(world, forecast)
    assert world.client("admin").get("/v1/forecasts").json() == before


def test_when_the_dataset_is_gone_then_it_says_so(world, monkeypatch):
    forecast = issue(world)

    def gone(*_):
        from quantis.errors import NotFound

        raise NotFound("no dataset 'flights'; it was deleted")

    monkeypatch.setattr(world.forecaster.engine.catalogue, "open", gone)
    again = reproduced(world, forecast)
    assert (again["identical"], again["response"]) == (None, None)
    assert "deleted" in again["missing"][0]


def test_when_there_is_no_such_forecast_then_it_is_404(world, problem):
    problem(world.client("viewer").get("/v1/forecasts/no-such-forecast/reproduction"), 404, "not_found")
