"""Ledger of issued forecasts: written before the answer leaves, kept for good.

While the database does not answer they are written to files, synced before the answer leaves as well, and moved
to the ledger by the first forecast that the database takes again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from sqlalchemy import ColumnElement, delete, func, or_, select, update

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.database.tables import ForecastRow, TeamRow
from cluster.repositories import paging
from quantis.errors import NotFound, Unavailable
from quantis.files import sync_file, sync_folder, write_atomic
from quantis.types.base import Page
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.operations.live import SERVED, VintageKind

log = logging.getLogger("quantis.forecaster")

MAX_BATCH, MAX_BATCH_BYTES = 500, 4 * 2**20
"""Forecasts of a batch, and their bytes as they are stored, which are compressed."""


_REWRITTEN_AT_ONCE = 100
"""Forecasts that are rewritten in one transaction, since other writers wait for it."""


@dataclass(frozen=True)
class StoredForecast:
    """A forecast of the ledger: what was asked, what was answered, on which occasion."""

    kind: VintageKind
    request: ForecastRequest
    response: ForecastResponse


class Vintages:
    def __init__(self, database: Database, waiting: Path | None = None) -> None:
        """Take the folder for forecasts that the database cannot take now; without one they are refused."""
        self._database = database
        self._waiting = waiting

    def append(
        self,
        team: str,
        request: ForecastRequest,
        response: ForecastResponse,
        kind: VintageKind = VintageKind.online,
    ) -> None:
        try:
            with self._database.append() as session:
                session.add(ledger_row(team, request, response, kind))
        except Unavailable:
            if self._waiting is None:
                raise
            self._write_waiting(team, request, response)
        else:
            self._import_waiting()

    def get(self, team: str, forecast_id: str) -> ForecastResponse:
        return self.stored(team, forecast_id).response

    def stored(self, team: str, forecast_id: str) -> StoredForecast:
        """Return a forecast with its request; NotFound where nobody got one of this id."""
        with self._database.read() as session:
            row = session.get(ForecastRow, (team, forecast_id))
            if row is None or row.kind not in SERVED:
                raise NotFound(f"no forecast {forecast_id[:60]!r}")
            return _stored(row)

    def page(
        self,
        team: str,
        *,
        model: str | None = None,
        issued_after: datetime | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[str]:
        """Return the ids of issued forecasts that somebody got, newest first."""
        order = (ForecastRow.issued_at, ForecastRow.id)
        query = select(*order).where(ForecastRow.team_id == team, is_served())
        query = query.order_by(*(key.desc() for key in order))
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

    def next_batch(self, team: str, number: int) -> list[StoredForecast]:
        """Return the forecasts of a batch, which is made of the oldest ones without a batch where there is none yet.

        Asked again it returns the same ones, so that a writer which was killed loses and doubles nothing.
        """
        with self._database.write() as session:
            session.get(
                TeamRow, team, with_for_update=True
            )  # two writers would make one batch of different rows
            in_batch = (ForecastRow.team_id == team, ForecastRow.batch == number)
            if session.scalar(select(func.count()).where(*in_batch)) == 0:
                size = func.length(ForecastRow.request) + func.length(ForecastRow.response)
                waiting = session.execute(
                    select(ForecastRow.id, size)
                    .where(ForecastRow.team_id == team, ForecastRow.batch.is_(None))
                    .order_by(ForecastRow.issued_at, ForecastRow.id)
                    .limit(MAX_BATCH)
                ).all()
                ids = _ids_up_to(MAX_BATCH_BYTES, [(row[0], row[1]) for row in waiting])
                session.execute(
                    update(ForecastRow)
                    .where(ForecastRow.team_id == team, ForecastRow.id.in_(ids))
                    .values(batch=number)
                )
        with self._database.read() as session:
            rows = session.scalars(select(ForecastRow).where(*in_batch).order_by(ForecastRow.issued_at))
            return [_stored(row) for row in rows]

    def forget(self, team: str, before: datetime, last_batch: int) -> int:
        """Remove forecasts issued before a time, of batches up to one, for good; return their number."""
        old = delete(ForecastRow).where(
            ForecastRow.team_id == team, ForecastRow.issued_at < before, ForecastRow.batch <= last_batch
        )
        with self._database.write() as session:
            return len(session.execute(old.returning(ForecastRow.id)).all())

    def ids_after(self, team: str, last_batch: int) -> list[str]:
        """Return the ids of forecasts that are in no batch up to one."""
        later = or_(ForecastRow.batch.is_(None), ForecastRow.batch > last_batch)
        with self._database.read() as session:
            return list(session.scalars(select(ForecastRow.id).where(ForecastRow.team_id == team, later)))

    def rewrite(
        self, team: str, ids: Sequence[str], change: Callable[[StoredForecast], StoredForecast | None]
    ) -> None:
        """Put what `change` makes of forecasts in their place; None removes one, and the same leaves it as it is."""
        for start in range(0, len(ids), _REWRITTEN_AT_ONCE):
            with self._database.write() as session:
                chosen = ForecastRow.id.in_(ids[start : start + _REWRITTEN_AT_ONCE])
                for row in session.scalars(select(ForecastRow).where(ForecastRow.team_id == team, chosen)):
                    stored = _stored(row)
                    changed = change(stored)
                    if changed is None:
                        session.delete(row)
                    elif changed is not stored:
                        row.request = _pack(changed.request.model_dump_json())
                        row.response = _pack(changed.response.model_dump_json())

    def teams_without_batch(self) -> list[str]:
        """Return the teams with forecasts that are in no batch."""
        with self._database.read() as session:
            query = select(ForecastRow.team_id).where(ForecastRow.batch.is_(None)).distinct()
            return list(session.scalars(query))

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
                row = ledger_row(
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


def _ids_up_to(limit: int, sizes: Sequence[tuple[str, int]]) -> list[str]:
    """Return the first ids whose sizes add up to at most `limit`, and at least one."""
    ids: list[str] = []
    total = 0
    for forecast_id, size in sizes:
        total += size
        if ids and total > limit:
            break
        ids.append(forecast_id)
    return ids


def _stored(row: ForecastRow) -> StoredForecast:
    return StoredForecast(
        VintageKind(row.kind),
        ForecastRequest.model_validate_json(zstandard.decompress(row.request)),
        ForecastResponse.model_validate_json(zstandard.decompress(row.response)),
    )


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


def is_served() -> ColumnElement[bool]:
    """Return the condition for rows of the ledger that somebody got."""
    return ForecastRow.kind.in_(SERVED)


def ledger_row(
    team: str,
    request: ForecastRequest,
    response: ForecastResponse,
    kind: VintageKind = VintageKind.online,
) -> ForecastRow:
    """Return the row of the ledger of a forecast."""
    return ForecastRow(
        id=response.forecast_id,
        team_id=team,
        model=response.model.name,
        version=response.model.version,
        as_of=response.as_of,
        issued_at=response.issued_at,
        kind=kind.value,
        request=_pack(request.model_dump_json()),
        response=_pack(response.model_dump_json()),
    )


def _pack(text: str) -> bytes:
    return zstandard.compress(text.encode())
