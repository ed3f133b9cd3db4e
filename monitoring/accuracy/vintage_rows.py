"""Issued forecasts as rows, one per series and step: the form in which they meet the actuals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from quantis.frequency import Frequency
from quantis.panel import DS, ID, TIMESTAMP, timestamps
from quantis.types.arrays import Times
from quantis.types.forecasts import ForecastResponse, SeriesForecast
from quantis.types.operations.live import VintageKind

CUTOFF = "cutoff"

VINTAGES = pa.schema(
    [
        ("kind", pa.string()),
        ("scenario", pa.bool_()),
        ("learned", pa.bool_()),
        ("model", pa.string()),
        ("version", pa.int64()),
        ("method", pa.string()),
        ("dataset", pa.string()),
        (ID, pa.string()),
        (CUTOFF, TIMESTAMP),
        (DS, TIMESTAMP),
        ("step", pa.int64()),
        ("as_of", TIMESTAMP),
        ("issued_at", TIMESTAMP),
        ("mean", pa.float64()),
        ("levels", pa.list_(pa.float64())),
        ("values", pa.list_(pa.float64())),
        ("forecast_id", pa.string()),
        ("batch", pa.int64()),
    ]
)
"""Columns of the table of vintages. `levels` and `values` are the quantiles, ascending; `learned`: the version was
fitted on data of later than `as_of`; `scenario`: made with covariates that were sent in place of other stored ones."""

SORT_BY = ("dataset", ID, DS)


@dataclass(frozen=True)
class Vintage:
    """An issued forecast of a stored dataset; `fitted`: the as-of time of each version's data."""

    kind: VintageKind
    response: ForecastResponse
    dataset: str
    fitted: Mapping[int, datetime]


def vintage_rows(issued: Iterable[Vintage], batch: int) -> pa.Table:
    """Return the rows of these forecasts, marked with the number of the batch they are stored in."""
    tables = [_rows(forecast, batch) for forecast in issued]
    return pa.concat_tables([VINTAGES.empty_table(), *tables])


def _rows(issued: Vintage, batch: int) -> pa.Table:
    response, frequency = issued.response, Frequency.parse(issued.response.freq)
    entries = [entry for entry in response.forecasts if entry.ds]
    lengths = [len(entry.ds) for entry in entries]
    total = sum(lengths)

    def each_step(values: Sequence[object]) -> list[object]:
        """Return a value of each entry for all of its steps."""
        return [value for value, length in zip(values, lengths, strict=True) for _ in range(length)]

    versions = [entry.version or response.model.version for entry in entries]
    levels = [sorted(entry.quantiles, key=float) for entry in entries]
    columns = {
        "kind": [issued.kind.value] * total,
        "scenario": each_step([entry.scenario for entry in entries]),
        "learned": each_step([_is_learned(issued, version) for version in versions]),
        "model": [response.model.name] * total,
        "version": each_step(versions),
        "method": each_step([entry.method.value for entry in entries]),
        "dataset": [issued.dataset] * total,
        ID: each_step([entry.unique_id for entry in entries]),
        CUTOFF: timestamps(_cutoffs(entries, frequency)),
        DS: [ds for entry in entries for ds in entry.ds],
        "step": [step for length in lengths for step in range(1, length + 1)],
        "as_of": [response.as_of] * total,
        "issued_at": [response.issued_at] * total,
        "mean": [value for entry in entries for value in entry.mean],
        "levels": each_step([[float(level) for level in entry_levels] for entry_levels in levels]),
        "values": [
            [entry.quantiles[level][step] for level in entry_levels]
            for entry, entry_levels in zip(entries, levels, strict=True)
            for step in range(len(entry.ds))
        ],
        "forecast_id": [response.forecast_id] * total,
        "batch": [batch] * total,
    }
    arrays = [pa.array(columns[field.name], field.type) for field in VINTAGES]
    return pa.Table.from_arrays(arrays, schema=VINTAGES)


def _cutoffs(entries: Sequence[SeriesForecast], frequency: Frequency) -> Times:
    """Return the step before the first one of its forecast, for each row. Shape [rows]."""
    firsts = np.array([entry.ds[0].replace(tzinfo=None) for entry in entries], "datetime64[us]")
    before = frequency.shift(firsts, -1) if len(firsts) else firsts
    return np.repeat(before, [len(entry.ds) for entry in entries])


def _is_learned(issued: Vintage, version: int) -> bool:
    fitted = issued.fitted.get(version)
    return fitted is not None and issued.response.as_of < fitted
