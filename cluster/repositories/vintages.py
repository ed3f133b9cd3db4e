"""Ledger of issued forecasts: written before the answer leaves, kept for good.

While the database does not answer they are written to files, synced before the answer leaves as well, and moved
to the ledger by the first forecast that the database takes again.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import zstandard

from cluster.database.engine import Database
from cluster.database.tables import ForecastRow
from quantis.errors import NotFound, Unavailable
from quantis.files import write_atomic
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
