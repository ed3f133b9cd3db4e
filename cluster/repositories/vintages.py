"""The ledger of issued forecasts: written before the answer leaves, kept for good."""

from __future__ import annotations

import zstandard

from cluster.database.engine import Database
from cluster.database.tables import ForecastRow
from quantis.errors import NotFound
from quantis.types.forecasts import ForecastRequest, ForecastResponse


class Vintages:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, team: str, request: ForecastRequest, response: ForecastResponse) -> None:
        with self._database.append() as session:
            session.add(
                ForecastRow(
                    id=response.forecast_id,
                    team_id=team,
                    model=response.model.name,
                    version=response.model.version,
                    as_of=response.as_of,
                    issued_at=response.issued_at,
                    request=_pack(request.model_dump_json()),
                    response=_pack(response.model_dump_json()),
                )
            )

    def get(self, team: str, forecast_id: str) -> ForecastResponse:
        with self._database.read() as session:
            row = session.get(ForecastRow, forecast_id)
            if row is None or row.team_id != team:
                raise NotFound(f"no forecast {forecast_id[:60]!r}")
            return ForecastResponse.model_validate_json(zstandard.decompress(row.response))


def _pack(text: str) -> bytes:
    return zstandard.compress(text.encode())
