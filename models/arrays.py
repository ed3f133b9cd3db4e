"""Series of a snapshot as numpy, and predictions back as the table that every forecaster returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.forecaster import quantile_column
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, Y, series_slices, times_of, timestamps
from quantis.types.arrays import Floats, Times


@dataclass(frozen=True)
class Series:
    """One series: its history `y` [time], NaN where missing, and the times `ds` [h] to forecast."""

    unique_id: str
    y: Floats
    ds: Times

    @property
    def observed(self) -> int:
        return int(np.isfinite(self.y).sum())


def floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    """A column of numbers; null becomes NaN. Shape [rows]."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.array(array.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def each_series(snapshot: Snapshot) -> Iterator[Series]:
    """Every series of `snapshot.future`, in its order; an empty `y` where the history has none."""
    y = floats(snapshot.history[Y])
    ds = times_of(snapshot.future[DS])
    rows = dict(series_slices(snapshot.history[ID]))
    for unique_id, steps in series_slices(snapshot.future[ID]):
        yield Series(unique_id, y[rows.get(unique_id, slice(0, 0))], ds[steps])


def require_observed(series: Series) -> None:
    if not series.observed:
        raise InvalidInput(f"series {series.unique_id!r} has no observed value; give at least one")


def predictions(
    future: pa.Table, mean: Floats, quantiles: Sequence[float] = (), values: Floats | None = None
) -> pa.Table:
    """The contract's table: `future`'s keys, `mean` [rows] and `values` [rows, quantiles], uncrossed."""
    columns = {ID: future[ID], DS: future[DS], "mean": pa.array(mean)}
    if values is not None:
        uncrossed = np.sort(values, axis=1)
        order = np.argsort(quantiles)
        for place, index in enumerate(order):
            columns[quantile_column(quantiles[index])] = pa.array(uncrossed[:, place])
    return pa.table(columns)


def one_series(unique_id: str, ds: Times) -> pa.Table:
    """The keys of one series' future, for a forecaster that works series by series."""
    return pa.table({ID: pa.array([unique_id] * len(ds), pa.string()), DS: timestamps(ds)})


def keep_series(snapshot: Snapshot, ids: Sequence[str]) -> Snapshot:
    """The snapshot of these series alone; order and columns stay."""
    wanted = pa.array(list(ids), pa.string())

    def keep(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(table[ID].cast(pa.string()), value_set=wanted))

    return Snapshot(keep(snapshot.history), keep(snapshot.future), keep(snapshot.static))


def split_series(snapshot: Snapshot, size: int) -> list[Snapshot]:
    """The snapshot cut after every `size` series of its future; nothing is copied."""
    ids = [name for name, _ in series_slices(snapshot.future[ID])]
    tables = (snapshot.history, snapshot.future, snapshot.static)
    places = [dict(series_slices(table[ID])) for table in tables]

    def cut(table: pa.Table, rows: dict[str, slice], some: Sequence[str]) -> pa.Table:
        mine = [rows[name] for name in some if name in rows]
        return table.slice(mine[0].start, mine[-1].stop - mine[0].start) if mine else table.slice(0, 0)

    groups = [ids[first : first + size] for first in range(0, len(ids), size)]
    return [
        Snapshot(*(cut(table, rows, some) for table, rows in zip(tables, places, strict=True)))
        for some in groups
    ]


def truncate_history(snapshot: Snapshot, steps: int) -> Snapshot:
    """The snapshot with at most the last `steps` rows of each history."""
    if snapshot.history.num_rows <= steps:
        return snapshot
    kept = np.zeros(snapshot.history.num_rows, bool)
    for _, rows in series_slices(snapshot.history[ID]):
        kept[max(rows.start, rows.stop - steps) : rows.stop] = True
    return Snapshot(snapshot.history.filter(pa.array(kept)), snapshot.future, snapshot.static)


def quantile_columns(table: pa.Table) -> list[str]:
    """The columns named q<number>, lowest first."""
    names = [name for name in table.column_names if name.startswith("q") and _is_number(name[1:])]
    return sorted(names, key=lambda name: float(name[1:]))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
