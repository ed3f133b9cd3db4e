"""Anomalies of datasets: actuals that the latest forecast before them held to be all but impossible."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from cluster.model_monitoring.dataset_reports import RECENT, AnomalyQuery
from quantis.types.base import Name, Timestamp
from quantis.types.operations.anomalies import DatasetAnomalies
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1", tags=["datasets"], route_class=StrictRoute)


@router.get("/datasets/{name}/anomalies")
def dataset_anomalies(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    since: Annotated[Timestamp | None, Query(description="First arrival; 30 days ago when absent.")] = None,
    until: Annotated[Timestamp | None, Query(description="End of arrivals, excluded.")] = None,
    model: Annotated[Name | None, Query(description="Forecasts of this model alone.")] = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> DatasetAnomalies:
    """Return the actuals far outside the latest forecast that preceded them, those that arrived last first.

    The false discovery rate is controlled over the series of each append.
    """
    query = AnomalyQuery(name, since or datetime.now(UTC) - RECENT, until, model)
    return services.dataset_reports.anomalies(principal.team, query, cursor, limit)
