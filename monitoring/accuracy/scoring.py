"""Scores: issued forecasts joined with the actuals that came, beside what a seasonal naive would have said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.as_of import epoch_us, latest
from monitoring.accuracy.as_of_lookup import AsOfLookup
from monitoring.accuracy.reference import Reference
from monitoring.accuracy.vintage_rows import VINTAGES
from quantis.frequency import Frequency
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP, Y, times_of, timestamps
from quantis.types.arrays import Floats, Integers, Times

SCORES = pa.schema(
    [
        *(field for field in VINTAGES if field.name != "batch"),
        (Y, pa.float64()),
        (KNOWN_AT, TIMESTAMP),
        (RECORDED_AT, TIMESTAMP),
        ("dataset_version", pa.int64()),
        ("correction", pa.bool_()),
        ("hindsight", pa.bool_()),
        ("naive", pa.float64()),
        ("scale", pa.float64()),
        ("scored_at", TIMESTAMP),
    ]
)
"""Columns of the table of scores. `known_at` and `recorded_at` are the actual's, which was the latest of its series and
ds in `dataset_version`; `correction`: the forecast was scored before on an earlier actual; `hindsight`: an actual was
stored before the forecast was issued; `naive`: the seasonal naive from what was known at `as_of`; `scale`: MASE's."""

SCORE_KEY = ["forecast_id", ID, DS]
SEASONS_BACK = 3
"""Seasons beyond the last one in which the seasonal naive looks for a value where there is a gap."""


@dataclass(frozen=True)
class Increment:
    """The actuals that a dataset version has beyond one that was scored: those recorded after `recorded_after`.

    In microseconds since 1970; None for all of them.
    """

    dataset_version: int
    recorded_after: int | None


def naive_start(vintages: pa.Table, frequency: Frequency, season: int) -> datetime:
    """Return the earliest ds that `score` reads for the seasonal naive of these rows."""
    longest = int(pc.max(vintages["step"]).as_py())
    steps = (-(-longest // season) + SEASONS_BACK) * season
    first = times_of(vintages[DS]).min()
    start: datetime = timestamps(frequency.shift(np.array([first]), -steps))[0].as_py()
    return start


def score(
    vintages: pa.Table, records: pa.Table, reference: Reference, frequency: Frequency, increment: Increment
) -> pa.Table:
    """Return the scores of these forecasts by the actuals of an increment.

    Parameters
    ----------
    vintages
        Rows of `VINTAGES`, of one dataset.
    records
        All records of the target of their series, from `naive_start` to the last ds: `unique_id, ds, y, known_at,
        recorded_at`. Of each series and ds the latest record is the actual.
    reference
        Of the version that issued them.
    frequency
        Of the dataset.
    increment
        The actuals to score by.
    """
    actuals = latest(records, (ID, DS))
    recorded_after = increment.recorded_after
    if recorded_after is not None:
        actuals = actuals.filter(pa.array(epoch_us(actuals[RECORDED_AT]) > recorded_after))
    lookup = AsOfLookup.from_records(actuals)
    ds = epoch_us(vintages[DS])
    rows = lookup.rows(vintages[ID], ds, np.full(len(ds), np.iinfo(np.int64).max))
    scored = vintages.filter(pa.array(rows >= 0))
    if not scored.num_rows:
        return SCORES.empty_table()
    matches = lookup.records.take(pa.array(rows[rows >= 0]))
    first_recorded = _first_recorded(records, scored)
    was_scored = np.zeros(scored.num_rows, bool)
    if recorded_after is not None:
        was_scored = first_recorded <= recorded_after
    columns = {
        **{name: scored[name] for name in VINTAGES.names},
        Y: matches[Y],
        KNOWN_AT: matches[KNOWN_AT],
        RECORDED_AT: matches[RECORDED_AT],
        "dataset_version": pa.array(np.full(scored.num_rows, increment.dataset_version)),
        "correction": pa.array(was_scored),
        "hindsight": pa.array(first_recorded <= epoch_us(scored["issued_at"])),
        "naive": pa.array(_naive(scored, records, reference.season, frequency), from_pandas=True),
        "scale": pa.array(reference.scales_of(scored[ID]), from_pandas=True),
        "scored_at": pa.array([datetime.now(UTC)] * scored.num_rows, TIMESTAMP),
    }
    return pa.table([columns[name] for name in SCORES.names], SCORES.names).cast(SCORES)


def _first_recorded(records: pa.Table, scored: pa.Table) -> Integers:
    """Return when the first record of each row's series and ds was stored, in microseconds. Shape [rows]."""
    firsts = records.group_by([ID, DS]).aggregate([(RECORDED_AT, "min")])
    firsts = firsts.rename_columns([ID, DS, RECORDED_AT])
    lookup = AsOfLookup.from_records(
        firsts.append_column(KNOWN_AT, firsts[RECORDED_AT]).append_column(
            Y, pa.nulls(firsts.num_rows, pa.float64())
        )
    )
    rows = lookup.rows(scored[ID], epoch_us(scored[DS]), np.full(scored.num_rows, np.iinfo(np.int64).max))
    return epoch_us(lookup.records[RECORDED_AT])[rows]


def _naive(scored: pa.Table, records: pa.Table, season: int, frequency: Frequency) -> Floats:
    """Return the seasonal naive of each row as known at its `as_of`, NaN where the seasons have a gap. Shape [rows]."""
    lookup = AsOfLookup.from_records(records)
    ds, step, known_to = times_of(scored[DS]), scored["step"].to_numpy(), epoch_us(scored["as_of"])
    seasons_back = -(-step // season)
    values = np.full(len(ds), np.nan)
    for further in range(SEASONS_BACK + 1):
        missing = np.flatnonzero(np.isnan(values))
        if not len(missing):
            break
        sources = frequency.shift(ds[missing], -(seasons_back[missing] + further) * season)
        series = scored[ID].take(pa.array(missing))
        values[missing] = lookup.values(series, _epoch(sources), known_to[missing])
    return values


def _epoch(times: Times) -> Integers:
    return times.astype("datetime64[us]").astype(np.int64)
