"""Series of a snapshot as numpy, and predictions back as the table that every forecaster returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.forecaster import quantile_column
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, SeriesIndex, Snapshot
from quantis.panel import floats as floats  # people's own models import it from here
from quantis.types.arrays import Floats, Times


@dataclass(frozen=True)
class Series:
    """A series: its history `y` [time], NaN where missing, and the times `ds` [h] to forecast."""

    unique_id: str
    y: Floats
    ds: Times

    @property
    def observed(self) -> int:
        """Return the number of values that are not missing."""
        return int(np.isfinite(self.y).sum())

    @property
    def observed_span(self) -> int:
        """Return the steps from the first observed value to the end of the history."""
        observed = np.isfinite(self.y)
        return int(len(observed) - np.argmax(observed)) if observed.any() else 0


def each_series(snapshot: Snapshot) -> Iterator[Series]:
    """Yield every series of `snapshot.future`, in its order; an empty `y` where the history has none."""
    history, future = snapshot.history_index, snapshot.future_index
    for unique_id, steps in future.rows.items():
        # A copy, since the snapshot's own array is shared by all who read it.
        y = snapshot.y[history.rows.get(unique_id, slice(0, 0))].copy()
        yield Series(unique_id, y, future.ds[steps])


def require_observed(series: Series) -> None:
    """Raise InvalidInput for a series without any observed value."""
    if not series.observed:
        raise InvalidInput(f"series {series.unique_id!r} has no observed value; give at least one")


def interpolate_gaps(y: Floats) -> Floats:
    """Interpolate gaps linearly; a gap at the start is cut off, one at the end repeats the last value."""
    observed = np.flatnonzero(np.isfinite(y))
    if not len(observed):
        return np.zeros(0)
    return np.interp(np.arange(observed[0], len(y)), observed, y[observed])


def predictions(
    future: pa.Table, mean: Floats, quantiles: Sequence[float] = (), values: Floats | None = None
) -> pa.Table:
    """Return the table of the forecaster contract; quantiles that cross are sorted.

    Parameters
    ----------
    future
        The snapshot's future, whose keys the rows take.
    mean
        Shape [rows].
    quantiles
        The levels of the columns of `values`, in any order.
    values
        Shape [rows, quantiles]; None for a forecast without quantiles.
    """
    columns = {ID: future[ID], DS: future[DS], "mean": pa.array(mean)}
    if values is not None:
        uncrossed = np.sort(values, axis=1)
        for position, index in enumerate(np.argsort(quantiles)):
            columns[quantile_column(quantiles[index])] = pa.array(uncrossed[:, position])
    return pa.table(columns)


def quantile_columns(table: pa.Table) -> list[str]:
    """Return the names of the columns called q<number>, lowest first."""
    names = [name for name in table.column_names if name.startswith("q") and _is_number(name[1:])]
    return sorted(names, key=lambda name: float(name[1:]))


def keep_series(snapshot: Snapshot, ids: Sequence[str]) -> Snapshot:
    """Return the snapshot of these series alone, itself where it has no others; order and columns stay."""
    selected = frozenset(ids)
    present = (snapshot.history_index.rows, snapshot.future_index.rows, snapshot.static[ID].to_pylist())
    if all(selected.issuperset(names) for names in present):
        return snapshot
    value_set = pa.array(list(ids), pa.string())

    def select(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(table[ID].cast(pa.string()), value_set=value_set))

    return Snapshot(select(snapshot.history), select(snapshot.future), select(snapshot.static))


def split_series(snapshot: Snapshot, size: int) -> list[Snapshot]:
    """Cut the snapshot after every `size` series of its future; nothing is copied."""
    ids = list(snapshot.future_index.rows)
    indexes = (snapshot.history_index, snapshot.future_index, SeriesIndex(snapshot.static))

    def cut(index: SeriesIndex, block: Sequence[str]) -> pa.Table:
        slices = [index.rows[name] for name in block if name in index.rows]
        if not slices:
            return index.table.slice(0, 0)
        return index.table.slice(slices[0].start, slices[-1].stop - slices[0].start)

    blocks = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [Snapshot(*(cut(index, block) for index in indexes)) for block in blocks]


def truncate_history(snapshot: Snapshot, steps: int) -> Snapshot:
    """Return the snapshot with at most the last `steps` rows of each history."""
    if snapshot.history.num_rows <= steps:
        return snapshot
    in_tail = np.zeros(snapshot.history.num_rows, bool)
    for rows in snapshot.history_index.rows.values():
        in_tail[max(rows.start, rows.stop - steps) : rows.stop] = True
    if in_tail.all():
        return snapshot
    return Snapshot(snapshot.history.filter(pa.array(in_tail)), snapshot.future, snapshot.static)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
