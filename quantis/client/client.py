"""The client of the platform's API."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from quantis import settings
from quantis.client.access import Access
from quantis.client.accounts import AccountsMixin
from quantis.client.administration import AdministrationMixin
from quantis.client.automation import AutomationMixin
from quantis.client.bodies import format_query_time, quote_segment, to_upload_body
from quantis.client.connection import Connection, Request
from quantis.client.credentials import CredentialsFile, read_login_file
from quantis.client.events import JobFollower, OnEvent
from quantis.client.frames import series_requests
from quantis.client.governance import GovernanceMixin
from quantis.client.operations import OperationsMixin
from quantis.client.problems import validate
from quantis.client.references import parse_reference
from quantis.errors import InvalidInput, NotFound
from quantis.types.base import Page
from quantis.types.datasets import (
    CheckReport,
    Dataset,
    DatasetSpec,
    DatasetVersion,
    FittingWindows,
    ImportRequest,
    Roles,
    SeriesSummary,
    StoredSeries,
    UploadResult,
)
from quantis.types.forecasts import ForecastRequest, ForecastResponse, SeriesRequest
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import Job, JobRequest, JobState, LogText
from quantis.types.observations import AppendResult, Observations, ObservedSeries
from quantis.types.reading import ReadOptions
from quantis.types.registry import Model, ModelVersion

T = TypeVar("T", bound=BaseModel)
Options = ReadOptions | None


class Client(AccountsMixin, AdministrationMixin, AutomationMixin, GovernanceMixin, OperationsMixin):
    """A connection to one Quantis platform, to be used as a context manager.

    Signs in with, in this order: `token`; `user` and `password`; QUANTIS_API_KEY or QUANTIS_TOKEN; what `quantis login`
    left. What is safe to repeat (reads, deletions, work with its idempotency key) is sent again after a failed
    connection, a 503 and a failure that is not the API's word: `retries` times, or for a minute while a server is away
    that was there or says when to try again. Raises the errors of `quantis.errors`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        self.url = settings.normalize_url(url) if url else settings.server_url()
        access = self._choose_access(token, user, password)
        self._connection = Connection(self.url, access, transport=transport, timeout=timeout, retries=retries)

    @classmethod
    def from_login_file(cls, path: str | Path, url: str | None = None) -> Client:
        """Sign in with a private JSON file of user_name and password, as `quantis demo` writes it."""
        user, password = read_login_file(path)
        return cls(url, user=user, password=password)

    def _choose_access(self, token: str | None, user: str | None, password: str | None) -> Access:
        if token or user or password:
            return Access(token=token, user=user, password=password)
        if settings.token():
            return Access(token=settings.token())
        return Access(store=CredentialsFile(settings.config_dir()), url=self.url)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # Datasets

    def datasets(self, *, limit: int = 1000) -> list[Dataset]:
        return self._get_all(Dataset, "/datasets", limit)

    def create_dataset(self, spec: DatasetSpec) -> Dataset:
        return self._send(Dataset, "POST", "/datasets", spec.model_dump_json())

    def dataset(self, name: str) -> Dataset:
        return self._get(Dataset, f"/datasets/{quote_segment(name)}")

    def check(self, name: str, data: Any, *, file: str | None = None, options: Options = None) -> CheckReport:
        """Return what an upload of `data` would find. Bytes, a path, an Arrow table or any dataframe."""
        return self._upload(CheckReport, f"/datasets/{quote_segment(name)}/check", data, file, options)

    def upload(
        self, name: str, data: Any, *, file: str | None = None, options: Options = None
    ) -> UploadResult:
        """Store a new version; the same content again makes none. RejectedPanel carries the findings.

        `data` may be the address of a file that the platform fetches itself, such as s3://bucket/file.
        """
        if isinstance(data, str) and "://" in data:
            request = validate(ImportRequest, url=data, options=options or ReadOptions())
            path = f"/datasets/{quote_segment(name)}/imports"
            return self._send(UploadResult, "POST", path, request.model_dump_json(), repeatable=True)
        return self._upload(UploadResult, f"/datasets/{quote_segment(name)}/versions", data, file, options)

    def versions(self, name: str, *, limit: int = 1000) -> list[DatasetVersion]:
        return self._get_all(DatasetVersion, f"/datasets/{quote_segment(name)}/versions", limit)

    def series(
        self, name: str, *, search: str | None = None, as_of: datetime | None = None, limit: int = 1000
    ) -> list[SeriesSummary]:
        path = f"/datasets/{quote_segment(name)}/series"
        return self._get_all(SeriesSummary, path, limit, search=search, as_of=format_query_time(as_of))

    def read_series(
        self,
        name: str,
        unique_id: str,
        *,
        as_of: datetime | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> StoredSeries:
        """Return a stored series as it was known at `as_of` (now when absent)."""
        path = f"/datasets/{quote_segment(name)}/series/{quote_segment(unique_id)}"
        bounds = {"as_of": as_of, "start": start, "end": end}
        times: dict[str, Any] = {key: format_query_time(value) for key, value in bounds.items()}
        return self._get(StoredSeries, path, version=version, **times)

    def fitting_windows(
        self,
        name: str,
        *,
        h: int = 24,
        step_size: int | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
    ) -> FittingWindows:
        """Return how long a horizon and how many windows of `h` steps a job on this dataset may have."""
        params: dict[str, Any] = {
            "h": h,
            "step_size": step_size,
            "version": version,
            "as_of": format_query_time(as_of),
        }
        return self._get(FittingWindows, f"/datasets/{quote_segment(name)}/windows", **params)

    def append(self, name: str, series: Sequence[ObservedSeries]) -> AppendResult:
        """Append live values or corrections; the same again changes nothing."""
        body = Observations(series=list(series)).model_dump_json(exclude_unset=True)
        path = f"/datasets/{quote_segment(name)}/observations"
        return self._send(AppendResult, "POST", path, body, repeatable=True)

    def delete_series(self, name: str, unique_id: str) -> DatasetVersion:
        """Delete a series from now on; reads as of an earlier time still see it until it is purged."""
        return self._send(
            DatasetVersion,
            "DELETE",
            f"/datasets/{quote_segment(name)}/series/{quote_segment(unique_id)}",
            None,
        )

    def restore_series(self, name: str, unique_id: str) -> DatasetVersion:
        """Take a deletion back."""
        path = f"/datasets/{quote_segment(name)}/series/{quote_segment(unique_id)}/restore"
        return self._send(DatasetVersion, "POST", path, None)

    # Jobs

    def submit(self, spec: JobSpec, *, idempotency_key: str | None = None, **order: Any) -> Job:
        """Ask for work, in an `order` (priority, after, retries); the same key again gives the same job."""
        body = validate(JobRequest, spec=spec, **order).model_dump_json()
        key = idempotency_key or str(uuid.uuid4())
        return self._send(Job, "POST", "/jobs", body, headers={"Idempotency-Key": key}, repeatable=True)

    def job(self, job_id: str) -> Job:
        return self._get(Job, f"/jobs/{quote_segment(job_id)}")

    def jobs(
        self, *, state: JobState | str | None = None, kind: str | None = None, limit: int = 100
    ) -> list[Job]:
        """List the jobs, newest first."""
        return self._get_all(Job, "/jobs", limit, state=JobState(state).value if state else None, kind=kind)

    def wait(self, job_id: str, on_event: OnEvent | None = None, *, timeout: float | None = None) -> Job:
        """Return the job once it has ended, well or not; TimedOut after `timeout` seconds (it goes on)."""
        return JobFollower(self._connection, quote_segment(job_id), on_event, timeout).wait()

    def stop(self, job_id: str) -> Job:
        return self._send(Job, "POST", f"/jobs/{quote_segment(job_id)}/stop", None, repeatable=True)

    def logs(self, job_id: str) -> str:
        return self._get(LogText, f"/jobs/{quote_segment(job_id)}/logs").text

    # Models

    def models(self, *, limit: int = 1000) -> list[Model]:
        return self._get_all(Model, "/models", limit)

    def model_versions(self, name: str, *, limit: int = 1000) -> list[ModelVersion]:
        return self._get_all(ModelVersion, f"/models/{quote_segment(name)}/versions", limit)

    def model_version(self, name: str, version: int) -> ModelVersion:
        return self._get(ModelVersion, f"/models/{quote_segment(name)}/versions/{version}")

    def resolve(self, ref: str) -> ModelVersion:
        """Return the version that `name` (its champion), `name@alias` or `name:7` selects now."""
        name, number, alias = parse_reference(ref)
        if number is not None:
            return self.model_version(name, number)
        for version in self.model_versions(name):
            if alias in version.aliases:
                return version
        raise NotFound(
            f"model {name!r} has no {alias}; see `quantis models show {name}`, or name a version as {name}:1"
        )

    # Forecasts

    def forecast(
        self,
        model: str,
        series: Any,
        *,
        h: int | None = None,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        as_of: datetime | str | None = None,
        future: Any | None = None,
        roles: Roles | None = None,
    ) -> ForecastResponse:
        """Forecast each requested series, in the requested order.

        Parameters
        ----------
        model
            `name` (its champion), `name@alias` or `name:7`.
        series
            An id, ids, `SeriesRequest`s, or a dataframe `unique_id, ds, y` and covariates, read as an upload is.
        h
            Steps; the model's own horizon when absent, and at most that.
        level, quantiles
            Coverage of intervals in percent, such as 80, or quantiles such as 0.9; not both.
        as_of
            Forecast with what was known then; now when absent.
        future
            The known-future covariates of a dataframe, over the horizon, matched by time.
        roles
            The roles of a dataframe's columns; those of the model's dataset when absent.
        """
        request = validate(
            ForecastRequest,
            h=h,
            level=None if level is None else list(level),
            quantiles=None if quantiles is None else list(quantiles),
            series=self._build_series(model, series, future, roles, h),
            as_of=as_of,
        )
        path = f"/models/{quote(model, safe='@:')}/forecasts"
        body = request.model_dump_json(exclude_defaults=True)
        return self._send(ForecastResponse, "POST", path, body, repeatable=True)

    def get_forecast(self, forecast_id: str) -> ForecastResponse:
        return self._get(ForecastResponse, f"/forecasts/{quote_segment(forecast_id)}")

    def openapi(self) -> dict[str, Any]:
        """Return the platform's OpenAPI document."""
        document = self._connection.send(Request("GET", "/openapi.json", repeatable=True)).json()
        return dict(document)

    def _build_series(
        self, model: str, series: Any, future: Any | None, roles: Roles | None, h: int | None
    ) -> list[SeriesRequest]:
        if isinstance(series, str | SeriesRequest):
            series = [series]
        if isinstance(series, list | tuple | set | frozenset):
            if future is not None:
                raise InvalidInput(
                    "future goes with a dataframe of histories; for a stored series send "
                    "SeriesRequest(unique_id=..., futr_exog={...})"
                )
            return [
                validate(SeriesRequest, unique_id=item) if isinstance(item, str) else item for item in series
            ]
        version = self.resolve(model)
        dataset = self.dataset(version.dataset) if version.dataset else None
        if roles is None:
            roles = dataset.roles if dataset else Roles()
        return series_requests(
            series,
            future,
            roles,
            freq=version.freq,
            h=h or version.h,
            horizon=version.h,
            time_zone=dataset.time_zone if dataset else "UTC",
        )

    def _get(self, kind: type[T], path: str, /, *, signed: bool = True, **params: Any) -> T:
        return self._connection.read(
            kind, Request("GET", f"/v1{path}", params, repeatable=True, signed=signed)
        )

    def _send(self, kind: type[T], method: str, path: str, body: str | None, **extra: Any) -> T:
        return self._connection.read(kind, Request(method, f"/v1{path}", json=body, **extra))

    def _upload(self, kind: type[T], path: str, data: Any, file: str | None, options: Options) -> T:
        body = to_upload_body(data, name=file)
        params = {"file": body.name, **(options.query() if options else {})}
        return self._connection.read(kind, Request("POST", f"/v1{path}", params, body=body, repeatable=True))

    def _get_all(self, kind: type[T], path: str, limit: int, /, **params: Any) -> list[T]:
        """Read page after page, up to `limit` items."""
        items: list[T] = []
        cursor = None
        while len(items) < limit:
            page = self._get(Page[kind], path, cursor=cursor, **params)  # type: ignore[valid-type]
            items += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return items[:limit]
