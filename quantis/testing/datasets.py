"""Datasets of the in-memory platform: the real checks, records in dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa

from quantis.errors import Conflict, NotFound, RejectedPanel
from quantis.panel import DS, ID, KNOWN_AT, Panel, Y, fitting_windows
from quantis.reading import read_table
from quantis.types.datasets import (
    CheckReport,
    Dataset,
    DatasetSpec,
    DatasetVersion,
    FittingWindows,
    SeriesSummary,
    StoredSeries,
    UploadResult,
    check_name_clashes,
)
from quantis.types.reading import ReadOptions
from quantis.validation.panel_check import check_panel, detect_spec

Record = dict[str, Any]


@dataclass(frozen=True)
class _Content:
    """The content of a version: observed records by (series, time), known-future ones, static ones."""

    target: dict[tuple[str, datetime], Record] = field(default_factory=dict)
    future: dict[tuple[str, datetime], Record] = field(default_factory=dict)
    static: dict[str, Record] = field(default_factory=dict)

    def with_panel(self, panel: Panel) -> _Content:
        """Return the content with a panel's records; later ones replace earlier ones of the same series and time."""
        return _Content(
            {**self.target, **{(row[ID], row[DS]): row for row in _to_records(panel.target)}},
            {**self.future, **{(row[ID], row[DS]): row for row in _to_records(panel.future)}},
            {**self.static, **{row[ID]: row for row in _to_records(panel.static)}},
        )

    @property
    def hash(self) -> str:
        parts = (sorted(group.items()) for group in (self.target, self.future, self.static))
        return hashlib.sha256(repr([repr(part) for part in parts]).encode()).hexdigest()

    def times(self, unique_id: str) -> list[datetime]:
        return sorted(ds for name, ds in self.target if name == unique_id)


@dataclass
class _Stored:
    dataset: Dataset
    versions: list[tuple[DatasetVersion, _Content]] = field(default_factory=list)


class FakeDatasets:
    def __init__(self) -> None:
        self._stored: dict[str, _Stored] = {}

    def datasets(self) -> list[Dataset]:
        return [stored.dataset for stored in self._stored.values()]

    def create(self, spec: DatasetSpec, user_name: str) -> Dataset:
        if spec.name in self._stored:
            raise Conflict(f"dataset {spec.name!r} exists; choose another name")
        check_name_clashes(spec.roles)
        dataset = Dataset(**spec.model_dump(), created_at=datetime.now(UTC), created_by=user_name)
        self._stored[spec.name] = _Stored(dataset)
        return dataset

    def dataset(self, name: str) -> Dataset:
        return self._get_stored(name).dataset

    def check(self, name: str, request: httpx.Request) -> CheckReport:
        return self._check(name, request)[0]

    def upload(self, name: str, request: httpx.Request, user_name: str) -> UploadResult:
        stored = self._get_stored(name)
        report, panel = self._check(name, request)
        if panel is None:
            raise RejectedPanel(f"{report.file} was rejected; nothing was stored", report.findings)
        latest, before = stored.versions[-1] if stored.versions else (None, _Content())
        content = before.with_panel(panel)
        if latest and latest.content_hash == content.hash:
            return UploadResult(created=False, version=latest, report=report)
        version = _build_version(stored, content, report.freq or "D", user_name)
        stored.versions.append((version, content))
        news = {"latest_version": version.number, "rows": version.rows, "series": version.series}
        stored.dataset = stored.dataset.model_copy(update={**news, "freq": version.freq})
        return UploadResult(created=True, version=version, report=report)

    def versions(self, name: str) -> list[DatasetVersion]:
        return [version for version, _ in reversed(self._get_stored(name).versions)]

    def windows(self, name: str, query: Mapping[str, str]) -> FittingWindows:
        number = int(query["version"]) if "version" in query else None
        versions = [v for v in self.versions(name) if number in (None, v.number)]
        if not versions:
            raise NotFound(f"dataset {name!r} has no version {number or 1}; upload one")
        step_size = int(query["step_size"]) if "step_size" in query else None
        return fitting_windows(
            versions[0], int(query.get("h", 24)), step_size, _parse_time(query.get("as_of"))
        )

    def series(self, name: str, search: str) -> list[SeriesSummary]:
        content = self._content(name, None)
        static = self.dataset(name).roles.stat_exog
        summaries = []
        for unique_id in sorted({name for name, _ in content.target}):
            if search in unique_id:
                times = content.times(unique_id)
                values = content.static.get(unique_id, {})
                summaries.append(
                    SeriesSummary(
                        unique_id=unique_id,
                        rows=len(times),
                        first_ds=times[0],
                        last_ds=times[-1],
                        static={column: values.get(column) for column in static},
                    )
                )
        return summaries

    def read(self, name: str, unique_id: str, query: dict[str, str]) -> StoredSeries:
        """Read a series; a value is known at its `known_at`, else once the publication lag has passed."""
        dataset, roles = self.dataset(name), self.dataset(name).roles
        content = self._content(name, int(query["version"]) if "version" in query else None)
        as_of = _parse_time(query.get("as_of")) or datetime.now(UTC)
        start, end = _parse_time(query.get("start")), _parse_time(query.get("end"))
        times = content.times(unique_id)
        if not times:
            raise NotFound(f"dataset {name!r} has no series {unique_id!r}")
        selected = [
            ds
            for ds in times
            if (content.target[unique_id, ds].get(KNOWN_AT) or ds + dataset.publication_lag) <= as_of
            and (start is None or ds >= start)
            and (end is None or ds <= end)
        ]
        rows = [
            {**content.future.get((unique_id, ds), {}), **content.target[unique_id, ds]} for ds in selected
        ]
        static = content.static.get(unique_id, {})
        return StoredSeries(
            unique_id=unique_id,
            as_of=as_of,
            ds=selected,
            y=[row[Y] for row in rows],
            exog={column: [row.get(column) for row in rows] for column in roles.futr_exog + roles.hist_exog},
            static={column: static.get(column) for column in roles.stat_exog},
        )

    def _check(self, name: str, request: httpx.Request) -> tuple[CheckReport, Panel | None]:
        file = request.url.params.get("file", "upload")
        options = _read_options(request.url.params)
        media_type = request.headers.get("Content-Type")
        table = read_table(request.content, name=file, media_type=media_type, options=options)
        stored = self._stored.get(name)
        spec = stored.dataset if stored else detect_spec(table, name, options)
        return check_panel(table, spec, file=file, options=options)

    def _content(self, name: str, number: int | None) -> _Content:
        for version, content in reversed(self._get_stored(name).versions):
            if number in (None, version.number):
                return content
        raise NotFound(f"dataset {name!r} has no version {number or 1}; upload one")

    def _get_stored(self, name: str) -> _Stored:
        if name not in self._stored:
            raise NotFound(f"there is no dataset {name!r}")
        return self._stored[name]


def _build_version(stored: _Stored, content: _Content, freq: str, user_name: str) -> DatasetVersion:
    times = [ds for _, ds in content.target]
    return DatasetVersion(
        dataset=stored.dataset.name,
        number=len(stored.versions) + 1,
        content_hash=content.hash,
        parent=len(stored.versions) or None,
        rows=len(times),
        series=len({unique_id for unique_id, _ in content.target}),
        freq=freq,
        first_ds=min(times),
        last_ds=max(times),
        created_at=datetime.now(UTC),
        created_by=user_name,
    )


def _to_records(table: pa.Table) -> list[Record]:
    rows: list[Record] = table.to_pylist()
    return rows


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _read_options(params: httpx.QueryParams) -> ReadOptions:
    values: dict[str, object] = {
        key: value for key, value in params.items() if key in ReadOptions.model_fields
    }
    columns = dict(text.rpartition("=")[::2] for text in params.get_list("column"))
    copies = tuple(params.get_list("target_copy"))
    return ReadOptions.model_validate({**values, "columns": columns, "target_copies": copies})
