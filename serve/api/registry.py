"""Models and forecasts."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from starlette.concurrency import run_in_threadpool

from cluster.repositories.idempotency import request_hash
from models.registry.model_card import card
from quantis.errors import NotFound
from quantis.types.base import Id, Name, Page
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.job_results import TrainResult
from quantis.types.registry import Model, ModelCard, ModelVersion
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import SERIES, StrictRoute
from serve.http import deadlines

GRACE_SECONDS = 5
"""How much longer a forecast has on its way out than its deadline, so that the forecaster can say so itself."""

router = APIRouter(prefix="/v1", tags=["models"], route_class=StrictRoute)
Ref = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,62}(@[a-z][a-z0-9_-]{0,62}|:[1-9][0-9]{0,8})?$")]
Version = Annotated[int, Path(ge=1, le=10**9)]


@router.get("/models")
def models(principal: CurrentUser, services: AppServices) -> Page[Model]:
    return Page(items=services.registry(principal.team).models())


@router.get("/models/{name}/versions")
def model_versions(name: Name, principal: CurrentUser, services: AppServices) -> Page[ModelVersion]:
    """Newest first."""
    return Page(items=services.registry(principal.team).versions(name))


@router.get("/models/{name}/versions/{version}")
def model_version(
    name: Name, version: Version, principal: CurrentUser, services: AppServices
) -> ModelVersion:
    return services.registry(principal.team).get(name, version)


@router.get("/models/{ref}/card")
def model_card(ref: Ref, principal: CurrentUser, services: AppServices) -> ModelCard:
    """The model card in Markdown: what it is, its data, its figures, its limits and what made it."""
    version = services.registry(principal.team).resolve(ref)
    board = None
    if version.experiment:
        with suppress(NotFound):  # a model outlives its job
            result = services.jobs.get(principal.team, version.experiment).result
            board = result.leaderboard if isinstance(result, TrainResult) else None
    return ModelCard(model=version.model, version=version.version, markdown=card(version, board))


@router.post("/models/{ref}/forecasts", openapi_extra=SERIES)
async def forecast(
    ref: Ref,
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
    if not idempotency_key:
        return await services.forecaster.forecast(principal.team, ref, body)
    hashed = request_hash("forecast", ref, body.model_dump_json())
    key = (principal.team, principal.user_name, idempotency_key, hashed)
    first = await run_in_threadpool(services.idempotency.known, *key)
    if first is None:
        made = await services.forecaster.forecast(principal.team, ref, body)
        first = await run_in_threadpool(services.idempotency.remember, *key, made.forecast_id)
        if first == made.forecast_id:
            return made
    return await run_in_threadpool(services.vintages.get, principal.team, first)


@router.get("/forecasts/{forecast_id}")
def issued(forecast_id: Id, principal: CurrentUser, services: AppServices) -> ForecastResponse:
    """A forecast as it was issued."""
    return services.vintages.get(principal.team, forecast_id)
