"""Results of backtests as Parquet files in the team's folder: one per dimension, and all forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.data_layout import DataLayout
from cluster.repositories import paging
from quantis.errors import NotFound
from quantis.files import sync_folder
from quantis.types.base import Page
from quantis.types.registry import Dimension, Figures

FORECASTS = "forecasts"
"""The table of every forecast beside its actual."""


class Backtests:
    def __init__(self, data_layout: DataLayout) -> None:
        self._data_layout = data_layout

    def save(self, team: str, job_id: str, tables: Mapping[str, pa.Table]) -> Path:
        """Write the tables of a backtest, all of them or none; the same job again replaces them."""
        folder = self._data_layout.backtest(team, job_id)
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            partial = folder / f".{name}.parquet"
            pq.write_table(table, partial, compression="zstd")
            partial.replace(folder / f"{name}.parquet")
        sync_folder(folder)
        return folder

    def page(
        self,
        team: str,
        job_id: str,
        dimension: Dimension,
        *,
        model: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[Figures]:
        """Return the figures by a dimension, model after model, in the order of the labels.

        NotFound when the backtest was not broken down that way.
        """
        path = self._data_layout.backtest(team, job_id) / f"{dimension}.parquet"
        if not path.is_file():
            raise NotFound(f"backtest {job_id} has no figures by {dimension}")
        table = pq.read_table(path)
        if model is not None:
            table = table.filter(pc.equal(table["model"], model))
        start = _offset(cursor)
        rows = table.slice(start, limit).to_pylist()
        has_more = start + limit < table.num_rows
        return Page(
            items=[_figures(row) for row in rows],
            next_cursor=paging.encode([str(start + limit)]) if has_more else None,
        )

    def open_forecasts(self, team: str, job_id: str) -> pq.ParquetFile:
        """Open every forecast of a backtest beside its actual; NotFound where they were not kept."""
        path = self._data_layout.backtest(team, job_id) / f"{FORECASTS}.parquet"
        if not path.is_file():
            raise NotFound(f"backtest {job_id[:60]} kept no forecasts; run it again to have them")
        return pq.ParquetFile(path)


def _offset(cursor: str | None) -> int:
    """Return the row at which a page begins; the tables do not change, so a row number is a good cursor."""
    return paging.integer(paging.decode(cursor, 1)[0]) if cursor else 0


def _figures(row: dict[str, object]) -> Figures:
    columns = {name: row.pop(name) for name in ("model", "label", "rows")}
    return Figures.model_validate({**columns, "metrics": row})
