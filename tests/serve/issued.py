"""Issued forecasts and jobs that have some, as a test puts them into an API."""

from __future__ import annotations

from datetime import timedelta

from cluster.repositories.backtests import FORECASTS
from models.prediction.response import issued_schema, issued_table
from quantis.types.forecasts import (
    ForecastMethod,
    ForecastRequest,
    ForecastResponse,
    ModelRef,
    Reason,
    SeriesForecast,
)
from quantis.types.jobs import JobState
from quantis.types.registry import Backtest
from tests.serve.api_under_test import START


def entry(unique_id, steps=3, quantiles=("0.1", "0.9")):
    if not steps:
        return SeriesForecast(
            unique_id=unique_id, status="refused", method=ForecastMethod.none, reason=Reason.no_history,
            detail="no value", ds=[], mean=[], quantiles={},
        )  # fmt: skip
    times = [START + timedelta(hours=step) for step in range(steps)]
    values = [float(step) for step in range(steps)]
    return SeriesForecast(
        unique_id=unique_id, status="ok", method=ForecastMethod.model, ds=times, mean=values,
        quantiles=dict.fromkeys(quantiles, values),
    )  # fmt: skip


def issue(world, number, entries, *, model="demand", team="default"):
    response = ForecastResponse(
        forecast_id=f"f-{number}", model=ModelRef(name=model, version=1, family="naive"), freq="h", as_of=START,
        issued_at=START + timedelta(minutes=number), forecasts=entries,
    )  # fmt: skip
    request = ForecastRequest.model_validate({"series": [{"unique_id": "a"}]})
    world.services.vintages.append(team, request, response)
    return response


def batch(world, entries, quantiles=("0.1", "0.9"), times=1):
    """A forecast job that ended well, with its file."""
    spec = {"kind": "forecast", "dataset": "flights", "model": "demand"}
    job = world.client("analyst").post("/v1/jobs", json={"spec": spec}).json()["id"]
    schema = issued_schema(quantiles)
    with world.services.batch_forecasts.writer("default", job, schema) as file:
        for _ in range(times):
            file.write_table(issued_table(response_of(entries), schema))
    version = world.client("analyst").get("/v1/models/demand/versions/1").json()
    result = {"model": version, "h": 3, "origins": [], "methods": {"model": len(entries)}}
    world.services.jobs.finish("default", job, JobState.succeeded, "done", result)
    return job


def response_of(entries):
    return ForecastResponse(
        forecast_id="f", model=ModelRef(name="demand", version=1, family="naive"), freq="h", as_of=START,
        issued_at=START, forecasts=entries,
    )  # fmt: skip


def backtested(world, rows):
    spec = {"kind": "backtest", "dataset": "flights", "h": 4, "families": ["statistical"]}
    job = world.client("analyst").post("/v1/jobs", json={"spec": spec}).json()["id"]
    world.services.backtests.save("default", job, {FORECASTS: rows})
    result = Backtest(
        id=job, dataset="flights", dataset_version=1, mode="plain", cutoffs=[START], h=4, refit=False, rows=[],
        overall=[], dimensions=[],
    )  # fmt: skip
    done = {"backtest": result.model_dump(mode="json")}
    world.services.jobs.finish("default", job, JobState.succeeded, "done", done)
    return job
