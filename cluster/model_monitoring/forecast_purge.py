"""The purge of forecasts: forecasts and scores of a series, or of a dataset, that is gone for good go with it.

The scorer does it, under its lease, so that no forecast is moved from the ledger to the tables meanwhile. The ledger
comes first and the table of vintages, which says what is left to do, last: killed at any point it is done again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.backend import Backend
from cluster.model_monitoring.tables import LEDGER, MonitoringTables
from cluster.repositories.inventory import Purge
from cluster.repositories.vintages import StoredForecast
from quantis.panel import ID

_NAMES_AT_ONCE = 500
"""Series that one predicate names."""
log = logging.getLogger("quantis.scorer")


def purge_forecasts(backend: Backend, tables: MonitoringTables, purge: Purge) -> bool:
    """Remove forecasts, histories that were sent with them, scores and what alerts say of them.

    False, with the tables as they were, while a backup holds the files.
    """
    with backend.data_layout.removing_files() as alone:
        if not alone:
            return False
        vintages = _vintages_of(tables, purge)
        moved = pc.unique(vintages["forecast_id"]).to_pylist()
        waiting = backend.vintages.ids_after(purge.team, tables.vintages.progress(LEDGER) or 0)
        backend.vintages.rewrite(purge.team, [*moved, *waiting], lambda stored: without_series(stored, purge))
        backend.alerts.forget_details(purge.team, purge.dataset, purge.series)
        _purge_batch_files(backend, purge)
        for issuer in vintages.group_by(["model", "version"]).aggregate([]).to_pylist():
            tables.forget_reference(issuer["model"], issuer["version"])
        for table in (tables.scores, tables.vintages):
            for predicate in _predicates(purge):
                table.purge(predicate)
    log.info("team %s: forecasts of %s were purged", purge.team, purge.dataset)
    return True


def without_series(stored: StoredForecast, purge: Purge) -> StoredForecast | None:
    """Return a forecast without what is purged of it: None where nothing is left, itself where nothing is purged."""
    request, response = stored.request, stored.response
    if response.dataset is None or response.dataset.name != purge.dataset:
        return stored
    if purge.series is None:
        return None
    purged = frozenset(purge.series)
    entries = [entry for entry in response.forecasts if entry.unique_id not in purged]
    requested = [series for series in request.series if series.unique_id not in purged]
    if len(entries) == len(response.forecasts) and len(requested) == len(request.series):
        return stored
    if not entries or not requested:
        return None
    warnings = [text for text in response.warnings if not any(name in text for name in purged)]
    return StoredForecast(
        stored.kind,
        request.model_copy(update={"series": requested}),
        response.model_copy(update={"forecasts": entries, "warnings": warnings}),
    )


def _vintages_of(tables: MonitoringTables, purge: Purge) -> pa.Table:
    condition = pc.field("dataset") == purge.dataset
    if purge.series is not None:
        condition &= pc.field(ID).isin(list(purge.series))
    return tables.vintages.read(condition, ["forecast_id", "model", "version"])


def _predicates(purge: Purge) -> Iterator[str]:
    """Yield SQL predicates that together meet the rows of a purge."""
    dataset = f"dataset = {_literal(purge.dataset)}"
    if purge.series is None:
        yield dataset
        return
    for start in range(0, len(purge.series), _NAMES_AT_ONCE):
        names = ", ".join(map(_literal, purge.series[start : start + _NAMES_AT_ONCE]))
        yield f"{dataset} AND {ID} IN ({names})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _purge_batch_files(backend: Backend, purge: Purge) -> None:
    """Remove the series from the files of forecast jobs on the dataset; a dataset's files go whole."""
    for job_id in backend.jobs.ids_of(purge.team, "forecast", purge.dataset):
        path = backend.data_layout.batch_forecasts(purge.team, job_id)
        if not path.is_file():
            continue
        if purge.series is None:
            path.unlink()
            continue
        table = pq.read_table(path)
        remaining = table.filter(
            pc.invert(pc.is_in(table[ID], pa.array(purge.series, table.schema.field(ID).type)))
        )
        if remaining.num_rows < table.num_rows:
            partial = path.with_name(f".{path.name}")
            pq.write_table(remaining, partial, compression="zstd")
            partial.replace(path)
