"""Live accuracy of models: issued forecasts against the actuals that came after them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cluster.model_monitoring.live_reports import LiveQuery
from quantis.types.base import Name, Timestamp
from quantis.types.operations.live import SERVED, LiveAccuracy, LiveDimension, VintageKind
from quantis.types.registry import Serving
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1", tags=["models"], route_class=StrictRoute)


@router.get("/models/{name}/at")
def serving_at(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    time: Annotated[Timestamp, Query(description="The time that is asked about.")],
) -> Serving:
    """Return which versions answered the model's name at a time, and by what share of its series."""
    return services.registry(principal.team).serving_at(name, time)


@router.get("/models/{name}/live")
def live_accuracy(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    by: LiveDimension = LiveDimension.day,
    version: Annotated[int | None, Query(ge=1, le=10**9)] = None,
    since: Annotated[Timestamp | None, Query(description="First `ds` of the actuals.")] = None,
    until: Annotated[Timestamp | None, Query(description="End of their `ds`, excluded.")] = None,
    kind: Annotated[
        list[VintageKind] | None,
        Query(max_length=len(VintageKind), description="online and batch by default."),
    ] = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> LiveAccuracy:
    """Return how far the model's forecasts were off, beside seasonal naive on the same points.

    Only actuals that were stored after a forecast was issued count; a forecast from before the time that its version
    learned until, and one under covariates that were changed on purpose, do not.
    """
    query = LiveQuery(name, by, version, since, until, tuple(kind or SERVED))
    return services.live_reports.report(principal.team, query, cursor, limit)
