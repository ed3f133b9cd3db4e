"""Observations: append live records; delete and restore series."""

from __future__ import annotations

from fastapi import APIRouter, Response

from monitoring import instruments
from quantis.types.base import Name, SeriesId
from quantis.types.datasets import DatasetVersion
from quantis.types.observations import AppendResult, Observations
from quantis.validation.observations import panel_from_observations
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import SERIES, StrictRoute
from serve.api.uploads import SAME

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute)


@router.post("/{name}/observations", status_code=201, responses=SAME, openapi_extra=SERIES)
def append(
    name: Name, body: Observations, response: Response, principal: CurrentUser, services: AppServices
) -> AppendResult:
    """Append live values or corrections: known from now on, or from their `known_at`. 200 when nothing is new."""
    catalogue = services.catalogue
    panel = panel_from_observations(body.series, catalogue.declared_spec(principal.team, name))
    size = sum(table.nbytes for table in (panel.target, panel.future, panel.static))
    with services.quotas.reserved(principal.team, principal.quota, size):
        result = catalogue.append(principal.team, principal.user_name, name, panel)
    response.status_code = 201 if result.created else 200
    instruments.count_rows(panel.target.num_rows if result.created else 0)
    return result


@router.delete("/{name}/series/{unique_id:path}")
def delete_series(
    name: Name, unique_id: SeriesId, principal: CurrentUser, services: AppServices
) -> DatasetVersion:
    """Delete a series: a new version, and reads as of later, do not have it. A compact job purges it for good."""
    return services.catalogue.delete_series(principal.team, principal.user_name, name, unique_id)


@router.post("/{name}/series/{unique_id:path}/restore")
def restore_series(
    name: Name, unique_id: SeriesId, principal: CurrentUser, services: AppServices
) -> DatasetVersion:
    """Take a deletion back; 404 when the series is not deleted, or is purged already."""
    return services.catalogue.restore_series(principal.team, principal.user_name, name, unique_id)
