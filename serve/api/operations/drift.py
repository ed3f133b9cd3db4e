"""Drift of datasets: their last values against those before, and how fresh they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quantis.types.base import Name
from quantis.types.operations.drift import DatasetDrift
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1", tags=["datasets"], route_class=StrictRoute)


@router.get("/datasets/{name}/drift")
def dataset_drift(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    model: Annotated[Name | None, Query(description="Its residuals are tested, too.")] = None,
) -> DatasetDrift:
    """Return the columns whose last points differ from those before, most important first, and how late data are."""
    return services.dataset_reports.drift(principal.team, name, model)
