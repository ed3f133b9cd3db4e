"""Datasets: declare, check, upload, read as of any time."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from monitoring import instruments
from quantis.check import check_panel, detect_spec
from quantis.errors import InvalidInput, NotFound, RejectedPanel, TooLarge
from quantis.panel import DS, ID, Y
from quantis.reading import read_table
from quantis.types.base import Moment, Name, Number, Page
from quantis.types.datasets import (
    CheckReport,
    Dataset,
    DatasetSpec,
    DatasetVersion,
    SeriesSummary,
    StoredSeries,
    UploadResult,
)
from serve.access import AppServices, CurrentUser, Principal
from serve.body import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute)

FileName = Annotated[str, Query(alias="file", max_length=200)]
_UPLOADS = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("text/csv", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream")
        },
    }
}


@router.get("")
def datasets(principal: CurrentUser, services: AppServices) -> Page[Dataset]:
    return Page(items=services.catalogue.datasets.all(principal.team))


@router.post("", status_code=201)
def create_dataset(spec: DatasetSpec, principal: CurrentUser, services: AppServices) -> Dataset:
    """Declare a dataset: roles, frequency, publication lag."""
    return services.catalogue.datasets.create(principal.team, principal.user_name, spec)


@router.get("/{name}")
def dataset(name: Name, principal: CurrentUser, services: AppServices) -> Dataset:
    return services.catalogue.datasets.get(principal.team, name)


@router.post("/{name}/check", openapi_extra=_UPLOADS)
async def check(
    name: Name, request: Request, principal: CurrentUser, services: AppServices, file: FileName = "upload"
) -> CheckReport:
    """Say what an upload would say, and store nothing. Roles are detected for a name that is new."""
    async with _received(request, services) as path:
        return await run_in_threadpool(_check, services, principal, name, path, file, _media(request))


@router.post("/{name}/versions", status_code=201, openapi_extra=_UPLOADS)
async def upload(
    name: Name,
    request: Request,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    file: FileName = "upload",
) -> UploadResult:
    """Add a version; 200 and the version that is there when the content is the same."""
    async with _received(request, services) as path:
        result = await run_in_threadpool(_ingest, services, principal, name, path, file, _media(request))
    response.status_code = 201 if result.created else 200
    return result


@router.get("/{name}/versions")
def versions(name: Name, principal: CurrentUser, services: AppServices) -> Page[DatasetVersion]:
    """Newest first."""
    return Page(items=list(services.catalogue.datasets.versions(principal.team, name)))


@router.get("/{name}/series")
def series(
    name: Name,
    principal: CurrentUser,
    services: AppServices,
    search: Annotated[str, Query(max_length=256)] = "",
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    version: Number | None = None,
) -> Page[SeriesSummary]:
    """The series of a version by id; `search` matches any part of the id, `cursor` is the last id seen."""
    opened = services.catalogue.open(principal.team, name, version)
    rows = [
        row
        for row in opened.store.series(opened.pins).to_pylist()
        if search.lower() in row[ID].lower() and (cursor is None or row[ID] > cursor)
    ]
    items = [_summary(row) for row in rows[:limit]]
    return Page(items=items, next_cursor=items[-1].unique_id if len(rows) > limit else None)


@router.get("/{name}/series/{unique_id:path}")
def read_series(
    name: Name,
    unique_id: str,
    principal: CurrentUser,
    services: AppServices,
    as_of: Moment | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    version: Number | None = None,
) -> StoredSeries:
    """One series as it was known at `as_of` (now when absent), between `start` and `end`, both included."""
    opened = services.catalogue.open(principal.team, name, version)
    moment = as_of or datetime.now(UTC)
    panel = opened.panel(moment, series=[unique_id], start=start, end=end)
    static = panel.static.to_pylist()
    if not static and not panel.target.num_rows:
        known = opened.store.series(opened.pins)[ID].to_pylist()
        if unique_id not in known:
            raise NotFound(
                f"dataset {name!r} has no series of this id; GET /v1/datasets/{name}/series lists them"
            )
    columns = panel.target.to_pydict()
    return StoredSeries(
        unique_id=unique_id,
        as_of=moment,
        ds=columns.pop(DS),
        y=columns.pop(Y),
        exog={key: values for key, values in columns.items() if key != ID},
        static={key: value for key, value in (static[0] if static else {}).items() if key != ID},
    )


def _summary(row: dict[str, object]) -> SeriesSummary:
    named = {key: row.pop(key) for key in (ID, "rows", "first_ds", "last_ds")}
    return SeriesSummary.model_validate({**named, "static": row})


def _check(
    services: Services, principal: Principal, name: str, path: Path, file: str, media: str | None
) -> CheckReport:
    table = read_table(path, name=file, media_type=media)
    spec = services.catalogue.datasets.find(principal.team, name) or detect_spec(table, name)
    report, _ = check_panel(table, spec, file=file)
    return report


def _ingest(
    services: Services, principal: Principal, name: str, path: Path, file: str, media: str | None
) -> UploadResult:
    services.catalogue.datasets.get(principal.team, name)
    try:
        table: pa.Table = read_table(path, name=file, media_type=media)
        result = services.catalogue.ingest(principal.team, principal.user_name, name, table, file)
    except (RejectedPanel, InvalidInput):
        instruments.count_upload("rejected")
        raise
    instruments.count_upload("created" if result.created else "identical")
    instruments.count_rows(result.version.rows if result.created else 0)
    return result


@asynccontextmanager
async def _received(request: Request, services: Services) -> AsyncIterator[Path]:
    """The body in a private file that is gone afterwards; TooLarge beyond the limit."""
    most = services.settings.max_upload_mb * 1024 * 1024
    with tempfile.NamedTemporaryFile(prefix="quantis-upload-") as file:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise TooLarge(f"the upload is larger than {services.settings.max_upload_mb} MB; split it")
            file.write(chunk)
        if not size:
            raise InvalidInput("the upload is empty; send the file as the body")
        file.flush()
        yield Path(file.name)


def _media(request: Request) -> str | None:
    return request.headers.get("content-type", "").partition(";")[0].strip() or None
