"""Forecasts: issue one, and read one as it was issued."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from cluster.repositories.idempotency import request_hash
from models.prediction.response import issued_schema, issued_table
from quantis.types.base import Id, Name, Page, SeriesId, Timestamp
from quantis.types.forecasts import ForecastRecord, ForecastRequest, ForecastResponse
from quantis.types.operations.reproduction import Reproduction
from serve.api.dependencies import AppServices, CurrentUser, OpenStream
from serve.api.models import Reference
from serve.api.strict_route import SERIES, StrictRoute
from serve.http import deadlines, table_response
from serve.http.shared_calls import while_connected
from serve.http.table_response import StreamedTable
from serve.services import Services

GRACE_SECONDS = 5
"""Margin over a forecast's deadline, so that the forecaster can report the time-out itself."""

REPRODUCTION_SECONDS = 60

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


@router.get(
    "/forecasts",
    response_model=None,
    responses={200: {"model": Page[ForecastRecord], "content": table_response.TABLE}},
)
def issued_forecasts(
    request: Request,
    principal: CurrentUser,
    services: AppServices,
    _: OpenStream,
    model: Name | None = None,
    series: Annotated[list[SeriesId] | None, Query(max_length=100)] = None,
    issued_after: Timestamp | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List issued forecasts, newest first: `limit` of them a page, with a row per series and step.

    With `series` only their rows, so that a page may have none and still a next one. As JSON, CSV, Parquet or an
    Arrow stream, by Accept; the next page is in `next_cursor`, and in the Link header for every format.
    """
    media_type = table_response.choose_format(request)
    page = services.vintages.page(
        principal.team, model=model, issued_after=issued_after, cursor=cursor, limit=limit
    )
    quantiles: set[str] = set()
    for response in _selected(services, principal.team, page.items, series):
        quantiles.update(*(entry.quantiles for entry in response.forecasts))
    schema = issued_schema(quantiles)
    responses = _selected(
        services, principal.team, page.items, series
    )  # one at a time again, not all in memory
    batches = table_response.table_batches(issued_table(response, schema) for response in responses)
    table = StreamedTable(schema, batches, "forecasts", page.next_cursor)
    return table_response.table_response(request, media_type, table)


def _selected(
    services: Services, team: str, forecast_ids: Sequence[str], series: Sequence[str] | None
) -> Iterator[ForecastResponse]:
    """Yield issued forecasts with the entries of the named series, of all where none is named."""
    for forecast_id in forecast_ids:
        response = services.vintages.get(team, forecast_id)
        if series:
            entries = [entry for entry in response.forecasts if entry.unique_id in series]
            response = response.model_copy(update={"forecasts": entries})
        yield response


@router.get("/forecasts/{forecast_id}")
def issued(forecast_id: Id, principal: CurrentUser, services: AppServices) -> ForecastResponse:
    """Return a forecast as it was issued."""
    return services.vintages.get(principal.team, forecast_id)


@router.get("/forecasts/{forecast_id}/reproduction")
async def reproduction(
    forecast_id: Id, request: Request, principal: CurrentUser, services: AppServices
) -> Reproduction:
    """Make a forecast again from what was known, by the versions that made it, and compare; nothing is issued."""
    deadlines.allow(request.scope, REPRODUCTION_SECONDS + GRACE_SECONDS)
    return await while_connected(request, services.forecaster.reproduce(principal.team, forecast_id))
