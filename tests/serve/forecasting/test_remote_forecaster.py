"""The ingress's hop to the forecaster: deadline, errors, nothing lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from quantis.errors import QuantisError, RejectedPanel, TimedOut, all_errors
from quantis.types.forecasts import ForecastRequest, ForecastResponse, SeriesRequest
from serve.forecasting.deployment import RemoteForecaster

GOOD = "JFK/B6"


class Replica:
    """Stands where Ray's handle would: `handle.forecast.remote(...)` gives something to await."""

    def __init__(self, answer, seconds=0.0):
        self.answer, self.seconds, self.asked = answer, seconds, None
        self.forecast = self

    async def remote(self, team, ref, request):
        self.asked = team, ref, ForecastRequest.model_validate_json(request)
        await asyncio.sleep(self.seconds)
        return self.answer


def request_of(**more):
    return ForecastRequest(series=[SeriesRequest(unique_id=GOOD)], **more)


def test_when_the_deadline_passes_then_it_is_504_and_the_waiting_ends():
    with pytest.raises(TimedOut, match=r"within 0\.05 s; allow more time with deadline_ms"):
        asyncio.run(
            RemoteForecaster(Replica({}, seconds=600)).forecast("t", "demand", request_of(deadline_ms=50))
        )


def test_when_the_replica_answers_then_request_and_answer_arrive_whole(client):
    body = {"series": [{"unique_id": GOOD}, {"unique_id": "NO/NE"}]}
    answer = ForecastResponse.model_validate(client.post("/v1/models/demand/forecasts", json=body).json())
    replica = Replica({"answer": answer.model_dump_json()})
    request = request_of(deadline_ms=60_000, level=[80.0])
    assert asyncio.run(RemoteForecaster(replica).forecast("t", "demand", request)) == answer
    assert replica.asked == ("t", "demand", request)


def test_when_the_replica_refuses_then_every_error_arrives_as_it_left():
    for kind in all_errors():
        if kind is RejectedPanel or not kind.__module__.startswith("quantis."):  # no forecast is one
            continue
        details = [{"pointer": "/series/0", "message": "this one"}]
        replica = Replica({"code": kind.code, "message": "because", "errors": details})
        with pytest.raises(QuantisError) as raised:
            asyncio.run(RemoteForecaster(replica).forecast("t", "demand", request_of()))
        assert (type(raised.value), raised.value.message, raised.value.errors) == (kind, "because", details)
