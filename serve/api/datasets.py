"""Datasets: declare, check, upload, read as of any time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from features.design.calendar import require_country
from features.store.record_filter import Bounds
from monitoring import instruments
from quantis.errors import InvalidInput, NotFound
from quantis.panel import DS, ID, Y, fitting_windows
from quantis.sandbox.client import check_untrusted_file
from quantis.types.base import (
    MAX_HISTORY,
    MAX_HORIZON,
    MAX_SERIES_ID,
    Name,
    Number,
    Page,
    SeriesId,
    Timestamp,
)
from quantis.types.datasets import (
    CheckReport,
    Dataset,
    DatasetSpec,
    DatasetVersion,
    FittingWindows,
    ImportRequest,
    Revision,
    SeriesSummary,
    StoredSeries,
    UploadResult,
    check_name_clashes,
)
from serve.api.dependencies import AppServices, CurrentUser, Principal
from serve.api.strict_route import MAX_SECONDS, StrictRoute
from serve.api.uploads import SAME, UPLOADS, ReadRequest, UploadOptions, receive_upload
from serve.services import Services

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute)

FileName = Annotated[str, Query(alias="file", max_length=200)]


@router.get("")
def datasets(principal: CurrentUser, services: AppServices) -> Page[Dataset]:
    return Page(items=services.catalogue.datasets.all(principal.team))


@router.post("", status_code=201)
def create_dataset(spec: DatasetSpec, principal: CurrentUser, services: AppServices) -> Dataset:
    """Declare a dataset: roles, frequency, publication lag."""
    check_name_clashes(spec.roles)
    if spec.holidays is not None:
        require_country(spec.holidays)
    return services.catalogue.datasets.create(principal.team, principal.user_name, spec)


@router.get("/{name}")
def dataset(name: Name, principal: CurrentUser, services: AppServices) -> Dataset:
    return services.catalogue.datasets.get(principal.team, name)


@router.delete("/{name}", status_code=204)
def delete_dataset(name: Name, principal: CurrentUser, services: AppServices) -> None:
    """Delete a dataset with all its versions, for good; its name stays taken.

    409 while a model that was trained from it serves, or a job that reads it has not ended.
    """
    services.deletion.delete_dataset(principal.team, principal.user_name, name)


@router.post("/{name}/check", openapi_extra=UPLOADS)
async def check(
    name: Name,
    request: Request,
    principal: CurrentUser,
    services: AppServices,
    options: UploadOptions,
    file: FileName = "upload",
) -> CheckReport:
    """Check a file as an upload would, and store nothing. Roles are detected for a name that is new."""
    async with receive_upload(request, services) as path:
        return await run_in_threadpool(_check, services, principal, name, path, file, options)


@router.post("/{name}/versions", status_code=201, responses=SAME, openapi_extra=UPLOADS)
async def upload(
    name: Name,
    request: Request,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    options: UploadOptions,
    file: FileName = "upload",
) -> UploadResult:
    """Add a version; 200 and the present version when the content is the same."""
    async with receive_upload(request, services) as path:
        result = await run_in_threadpool(_ingest, services, principal, name, path, file, options)
    response.status_code = 201 if result.created else 200
    return result


@router.post("/{name}/imports", status_code=201, responses=SAME, openapi_extra={MAX_SECONDS: 600})
def import_file(
    name: Name, body: ImportRequest, response: Response, principal: CurrentUser, services: AppServices
) -> UploadResult:
    """Add a version from a file of the configured object store or a mounted folder; otherwise like an upload."""
    catalogue, settings = services.catalogue, services.settings
    catalogue.declared_spec(principal.team, name)
    with settings.data_layout.arriving() as folder:
        path = folder / "body"
        services.imports.fetch(principal.team, body.url, path, settings.max_upload_mb * 1024 * 1024)
        file = body.url.rpartition("/")[2]
        result = _ingest(services, principal, name, path, file, ReadRequest(None, body.options))
    response.status_code = 201 if result.created else 200
    return result


@router.get("/{name}/versions/{number}/report")
def report(name: Name, number: Number, principal: CurrentUser, services: AppServices) -> CheckReport:
    """Return the check report of the file that made a version; at most 200 findings are kept."""
    return services.catalogue.datasets.report(principal.team, name, number)


@router.get("/{name}/revisions")
def revisions(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    series: Annotated[str, Query(max_length=MAX_SERIES_ID)],
    version: Number | None = None,
) -> Page[Revision]:
    """List the times at which values of a series were corrected, oldest first: reads as of before and after differ."""
    dataset_version = services.catalogue.open(principal.team, name, version)
    items = dataset_version.store.revisions(dataset_version.pins, series)
    return Page(items=[Revision.model_validate(item) for item in items])


@router.get("/{name}/versions")
def versions(name: Name, principal: CurrentUser, services: AppServices) -> Page[DatasetVersion]:
    """List the versions, newest first."""
    return Page(items=list(services.catalogue.datasets.versions(principal.team, name)))


@router.get("/{name}/windows")
def windows(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    h: Annotated[int, Query(ge=1, le=MAX_HORIZON)] = 24,
    step_size: Annotated[int | None, Query(ge=1, le=MAX_HISTORY)] = None,
    version: Number | None = None,
    as_of: Timestamp | None = None,
) -> FittingWindows:
    """Return how long a horizon and how many windows a job may have; `step_size` is h when absent."""
    pinned = services.catalogue.datasets.version(principal.team, name, version)
    return fitting_windows(pinned.version, h, step_size, as_of)


@router.get("/{name}/series")
def series(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    search: Annotated[str, Query(max_length=MAX_SERIES_ID)] = "",
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    version: Number | None = None,
    as_of: Timestamp | None = None,
) -> Page[SeriesSummary]:
    """List the series of a version by id, as known at `as_of` (at the end when absent).

    `search` matches any part of the id, `cursor` is the last id seen.
    """
    dataset_version = services.catalogue.open(principal.team, name, version)
    rows = [
        row
        for row in dataset_version.store.series(dataset_version.pins, as_of=as_of).to_pylist()
        if search.lower() in row[ID].lower() and (cursor is None or row[ID] > cursor)
    ]
    items = [_summary(row) for row in rows[:limit]]
    return Page(items=items, next_cursor=items[-1].unique_id if len(rows) > limit else None)


@router.get("/{name}/series/{unique_id:path}")
def read_series(
    name: Name,
    unique_id: SeriesId,
    principal: CurrentUser,
    services: AppServices,
    as_of: Timestamp | None = None,
    start: Timestamp | None = None,
    end: Timestamp | None = None,
    version: Number | None = None,
) -> StoredSeries:
    """Return one series as known at `as_of` (now when absent), between `start` and `end`, both included."""
    dataset_version = services.catalogue.open(principal.team, name, version)
    read_at = as_of or datetime.now(UTC)
    panel = dataset_version.panel(read_at, Bounds(series=[unique_id], start=start, end=end))
    static = panel.static.to_pylist()
    if not static and not panel.target.num_rows:
        store, pins = dataset_version.store, dataset_version.pins
        if not store.has_records(pins, [unique_id]) or unique_id in store.deleted_series(pins, read_at):
            raise NotFound(
                f"dataset {name!r} has no series of this id; GET /v1/datasets/{name}/series lists them"
            )
    columns, future = panel.target.to_pydict(), panel.future.to_pydict()
    return StoredSeries(
        unique_id=unique_id,
        as_of=read_at,
        ds=columns.pop(DS),
        y=columns.pop(Y),
        exog={key: values for key, values in columns.items() if key != ID},
        futr_ds=future.pop(DS),
        futr_exog={key: values for key, values in future.items() if key != ID},
        static={key: value for key, value in (static[0] if static else {}).items() if key != ID},
    )


def _summary(row: dict[str, object]) -> SeriesSummary:
    columns = {key: row.pop(key) for key in (ID, "rows", "first_ds", "last_ds")}
    return SeriesSummary.model_validate({**columns, "static": row})


def _check(
    services: Services, principal: Principal, name: str, path: Path, file: str, read: ReadRequest
) -> CheckReport:
    catalogue, team = services.catalogue, principal.team
    is_declared = catalogue.datasets.find(team, name) is not None
    report, panel, _ = check_untrusted_file(
        path,
        name=file,
        spec=catalogue.declared_spec(team, name) if is_declared else None,
        media_type=read.media_type,
        options=read.options,
        output_dir=path.parent,
    )
    return catalogue.check_grid(team, name, report, panel) if is_declared else report


def _ingest(
    services: Services, principal: Principal, name: str, path: Path, file: str, read: ReadRequest
) -> UploadResult:
    catalogue, team = services.catalogue, principal.team
    declared = catalogue.declared_spec(team, name)
    try:
        report, panel, _ = check_untrusted_file(
            path,
            name=file,
            spec=declared,
            media_type=read.media_type,
            options=read.options,
            output_dir=path.parent,
        )
        with services.quotas.reserved(team, principal.quota, path.stat().st_size):
            result = catalogue.add(team, principal.user_name, name, report, panel)
    except InvalidInput:
        instruments.count_upload("rejected")
        raise
    instruments.count_upload("created" if result.created else "identical")
    instruments.count_rows(result.version.rows if result.created else 0)
    return result
