"""Forecasts: issue one, and read one as it was issued."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.concurrency import run_in_threadpool

from cluster.repositories.idempotency import request_hash
from quantis.types.base import Id
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.models import Reference
from serve.api.strict_route import SERIES, StrictRoute
from serve.http import deadlines
from serve.http.shared_calls import while_connected

GRACE_SECONDS = 5
"""Margin over a forecast's deadline, so that the forecaster can report the time-out itself."""

router = APIRouter(prefix="/v1", tags=["models"], route_class=StrictRoute)


@router.post("/models/{ref}/forecasts", openapi_extra=SERIES)
async def forecast(
    ref: Reference,
    body: ForecastRequest,
    request: Request,
    principal: CurrentUser,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> ForecastResponse:
    """Forecast: `ref` is a name (its champion), `name@alias` or `name:7`. Every series gets its entry.

    The same request with the same Idempotency-Key gets the forecast that was issued first.
    """
    deadlines.allow(request.scope, body.seconds + GRACE_SECONDS)

    async def issue() -> ForecastResponse:
        async with services.fair_forecasts.turn(request):
            return await services.forecaster.forecast(principal.team, ref, body)

    if not idempotency_key:
        return await while_connected(request, issue())
    hashed = request_hash("forecast", ref, body.model_dump_json())
    key = (principal.team, principal.user_name, idempotency_key, hashed)

    async def issue_once() -> ForecastResponse:
        forecast_id = await run_in_threadpool(services.idempotency.find, *key)
        if forecast_id is None:
            response = await issue()
            forecast_id = await run_in_threadpool(services.idempotency.save, *key, response.forecast_id)
            if forecast_id == response.forecast_id:
                return response
        return await run_in_threadpool(services.vintages.get, principal.team, forecast_id)

    return await while_connected(request, services.shared_forecasts.run(key, issue_once))


@router.get("/forecasts/{forecast_id}")
def issued(forecast_id: Id, principal: CurrentUser, services: AppServices) -> ForecastResponse:
    """Return a forecast as it was issued."""
    return services.vintages.get(principal.team, forecast_id)
