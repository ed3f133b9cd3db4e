"""Ledger of issued forecasts: written before the answer leaves, kept for good.

While the database does not answer they are written to files, synced before the answer leaves as well, and moved
to the ledger by the first forecast that the database takes again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from sqlalchemy import or_, select

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.database.tables import ForecastRow
from cluster.repositories import paging
from quantis.errors import NotFound, Unavailable
from quantis.files import sync_file, sync_folder, write_atomic
from quantis.types.base import Page
from quantis.types.forecasts import ForecastRequest, ForecastResponse

log = logging.getLogger("quantis.forecaster")


class Vintages:
    def __init__(self, database: Database, waiting: Path | None = None) -> None:
        """Take the folder for forecasts that the database cannot take now; without one they are refused."""
        self._database = database
        self._waiting = waiting

    def append(self, team: str, request: ForecastRequest, response: ForecastResponse) -> None:
        try:
            with self._database.append() as session:
                session.add(_row(team, request, response))
        except Unavailable:
            if self._waiting is None:
                raise
            self._write_waiting(team, request, response)
        else:
            self._import_waiting()

    def get(self, team: str, forecast_id: str) -> ForecastResponse:
        with self._database.read() as session:
            row = session.get(ForecastRow, (team, forecast_id))
            if row is None:
                raise NotFound(f"no forecast {forecast_id[:60]!r}")
            return ForecastResponse.model_validate_json(zstandard.decompress(row.response))

    def page(
        self,
        team: str,
        *,
        model: str | None = None,
        issued_after: datetime | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[str]:
        """Return the ids of issued forecasts, newest first."""
        order = (ForecastRow.issued_at, ForecastRow.id)
        query = select(*order).where(ForecastRow.team_id == team).order_by(*(key.desc() for key in order))
        if model:
            query = query.where(ForecastRow.model == model)
        if issued_after:
            query = query.where(ForecastRow.issued_at > issued_after)
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            query = query.where(
                or_(
                    ForecastRow.issued_at < timestamp,
                    (ForecastRow.issued_at == timestamp) & (ForecastRow.id < last),
                )
            )
        with self._database.read() as session:
            rows = session.execute(query.limit(limit + 1)).all()
        return paging.page(rows, limit, lambda row: str(row[1]), lambda row: (row[0].isoformat(), row[1]))

    def _write_waiting(self, team: str, request: ForecastRequest, response: ForecastResponse) -> None:
        assert self._waiting is not None
        self._waiting.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps([team, request.model_dump_json(), response.model_dump_json()])
        write_atomic(self._waiting / f"{response.forecast_id}.json", text)

    def _import_waiting(self) -> None:
        """Move waiting forecasts into the ledger; several processes may do it at once."""
        if self._waiting is None or not self._waiting.is_dir():
            return
        for path in self._waiting.glob("*.json"):
            try:
                team, request, response = json.loads(path.read_text())
                row = _row(
                    team,
                    ForecastRequest.model_validate_json(request),
                    ForecastResponse.model_validate_json(response),
                )
                with self._database.write() as session:
                    if session.get(ForecastRow, (row.team_id, row.id)) is None:
                        session.add(row)
                path.unlink(missing_ok=True)
            except FileNotFoundError:  # another process was first
                continue
            except Exception:
                log.exception(
                    "a forecast that waits could not be brought into the ledger; it stays in %s", path
                )
                return


class BatchForecasts:
    """All forecasts of a job as one Parquet file in the team's folder, beside the ledger's vintages."""

    def __init__(self, data_layout: DataLayout) -> None:
        self._data_layout = data_layout

    @contextmanager
    def writer(self, team: str, job_id: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
        """Yield a writer of row groups; the file is there once the block has ended well, whole or not at all."""
        path = self._data_layout.batch_forecasts(team, job_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}")
        try:
            with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                yield writer
            sync_file(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)

    def open(self, team: str, job_id: str) -> pq.ParquetFile:
        """Open a job's forecasts; NotFound where the job stored none."""
        path = self._data_layout.batch_forecasts(team, job_id)
        if not path.is_file():
            raise NotFound(
                f"job {job_id[:60]} kept no file of its forecasts, as jobs of earlier releases did not; "
                "GET /v1/forecasts?model=...&issued_after=... has them one by one"
            )
        return pq.ParquetFile(path)


def _row(team: str, request: ForecastRequest, response: ForecastResponse) -> ForecastRow:
    return ForecastRow(
        id=response.forecast_id,
        team_id=team,
        model=response.model.name,
        version=response.model.version,
        as_of=response.as_of,
        issued_at=response.issued_at,
        request=_pack(request.model_dump_json()),
        response=_pack(response.model_dump_json()),
    )


def _pack(text: str) -> bytes:
    return zstandard.compress(text.encode())
