"""Hierarchies: series that add up, and forecasts of all levels that add up as well.

The levels are static columns: `[["state"], ["state", "region"]]` adds the total, every state and every
region of a state to the series of the panel. hierarchicalforecast does the arithmetic on the means:
MinT with a shrunk covariance (Wickramasuriya, Athanasopoulos and Hyndman, 2019), or bottom-up. The
covariance is that of the seasonal naive's errors in the history, which every series has whatever the
model. Where no history is negative, series of the bottom that come out below zero are set to zero, and
everything is added up again. A series' quantiles move with its mean, so that its interval keeps its
width and place around it: means add up, quantiles do not (and those of a sum need not).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import each_series, floats, quantile_columns
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, SnapshotProvider, Task, Y, series_slices, times_of
from quantis.types.arrays import Floats
from quantis.types.job_specs import Reconciliation

TOTAL = "total"
MIXED = "mixed"
"""What a node has for a category in which its series differ."""
MOST_SERIES = 4000
"""Above this the covariance of MinT would not fit into memory."""
_ERRORS = 400  # the latest errors per series that the covariance is of
_FEWEST_ERRORS = 4  # with fewer there is no covariance: bottom-up


@dataclass(frozen=True)
class Hierarchy:
    """The nodes above the series of a panel; `children` [nodes, series] is 1 where a series belongs to a node."""

    series: tuple[str, ...]
    nodes: tuple[str, ...]
    children: npt.NDArray[np.float64]
    method: Reconciliation = "mint_shrink"

    @classmethod
    def from_static(
        cls, static: pa.Table, hierarchy: Sequence[Sequence[str]], method: Reconciliation = "mint_shrink"
    ) -> Hierarchy:
        """The levels of a panel's static table. InvalidInput for a column that is not in it."""
        ids = static[ID].to_pylist()
        named = {TOTAL: np.ones(len(ids))}
        for columns in hierarchy:
            named |= _level(static, columns)
        nodes = {name: row for name, row in named.items() if row.sum() > 1 or name == TOTAL}
        if taken := sorted(nodes.keys() & set(ids)):
            raise InvalidInput(f"the panel has a series {taken[0]!r}, the name of a level's node; rename it")
        if method == "mint_shrink" and len(nodes) + len(ids) > MOST_SERIES:
            raise InvalidInput(
                f"{len(nodes) + len(ids)} series and nodes are more than the {MOST_SERIES} that mint_shrink "
                "reconciles; take bottom_up"
            )
        return cls(tuple(ids), tuple(nodes), np.stack(list(nodes.values())), method)

    def add_nodes(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the nodes as further series.

        A node's value is the sum of its series', missing where that of one is that has begun and not
        ended; its covariates are their mean, or their common category, or `mixed`.
        """
        history = _without_ended(snapshot.history)
        tables = []
        for table in (history, snapshot.future, snapshot.static):
            keys = [ID, DS] if DS in table.column_names else [ID]
            found = [table, *(self._summed(table, row, name, keys) for name, row in self._rows)]
            tables.append(pa.concat_tables(found).sort_by([(key, "ascending") for key in keys]))
        return Snapshot(*tables)

    def reconcile(self, forecasts: pa.Table, snapshot: Snapshot, task: Task) -> pa.Table:
        """The forecasts of all levels (`unique_id, ds, mean, q...`), made to add up.

        `snapshot` is the extended one that they were made from; it holds the errors. A series that it
        lacks counts as zero.
        """
        places = dict(series_slices(forecasts[ID]))
        series = [name for name in self.series if name in places]
        nodes = [name for name in self.nodes if name in places]
        order = [*nodes, *series]
        _check_same_times(forecasts, places, order)
        children = self.children[np.ix_([self.nodes.index(n) for n in nodes], self._numbers(series))]
        adding = np.vstack([children, np.eye(len(series))])
        mean = floats(forecasts["mean"])
        base = np.stack([mean[places[name]] for name in order])
        bottom = self._bottom(adding, base, snapshot, order, task)
        least = -np.inf if np.any(floats(snapshot.history[Y]) < 0) else 0.0
        bottom = np.maximum(bottom, least)
        made = mean.copy()
        for name, values in zip(order, adding @ bottom, strict=True):
            made[places[name]] = values
        return _moved(forecasts, made - mean, made, least)

    def _bottom(
        self, adding: Floats, base: Floats, snapshot: Snapshot, order: Sequence[str], task: Task
    ) -> Floats:
        """The reconciled means of the bottom series. Shape [series, h]."""
        from hierarchicalforecast.methods import MinTrace

        nodes = len(base) - adding.shape[1]
        errors = _naive_errors(snapshot, order, task.season_lengths[-1])
        scale = np.nanstd(errors) if errors.size else 0.0
        if self.method == "bottom_up" or not scale > 0 or errors.shape[1] < _FEWEST_ERRORS:
            return base[nodes:]
        made = MinTrace("mint_shrink").fit_predict(adding, base, errors / scale, np.zeros_like(errors))
        return np.asarray(made["mean"], np.float64)[nodes:]

    @cached_property
    def _rows(self) -> list[tuple[str, set[str]]]:
        """Each node with the names of its series."""
        names = np.array(self.series)
        return [
            (node, set(names[row > 0].tolist())) for node, row in zip(self.nodes, self.children, strict=True)
        ]

    def _numbers(self, series: Sequence[str]) -> list[int]:
        places = {name: number for number, name in enumerate(self.series)}
        return [places[name] for name in series]

    def _summed(self, table: pa.Table, members: set[str], node: str, keys: list[str]) -> pa.Table:
        """One node's rows of a table."""
        mine = table.filter(
            pc.is_in(table[ID].cast(pa.string()), value_set=pa.array(sorted(members), pa.string()))
        )
        mine = mine.set_column(0, ID, pa.array([node] * mine.num_rows, pa.string()))
        asked = [(name, how) for name in mine.column_names if name not in keys for how in _asked(mine, name)]
        found = mine.group_by(keys, use_threads=False).aggregate(asked)
        columns = {
            name: found[name] if name in keys else _of_node(found, mine, name) for name in mine.column_names
        }
        return pa.table(columns).cast(table.schema)


@dataclass(frozen=True)
class HierarchySnapshots:
    """The snapshots of a provider with the nodes of a hierarchy as further series."""

    provider: SnapshotProvider
    levels: Hierarchy

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        return self.levels.add_nodes(self.provider(cutoff))


def _level(static: pa.Table, columns: Sequence[str]) -> dict[str, Floats]:
    """The nodes of one level by name: `state=ACT` or `state=ACT, region=Canberra`."""
    for name in columns:
        if name not in static.column_names:
            known = ", ".join(column for column in static.column_names if column != ID) or "none"
            raise InvalidInput(f"{name!r} is not a static column of the dataset; it has {known}")
    found: dict[str, Floats] = {}
    for number, row in enumerate(static.select(list(columns)).to_pylist()):
        if any(value is None for value in row.values()):
            raise InvalidInput(
                f"series {static[ID][number].as_py()!r} has no {', '.join(columns)}; a hierarchy needs all"
            )
        name = ", ".join(f"{column}={value}" for column, value in row.items())
        found.setdefault(name, np.zeros(static.num_rows))[number] = 1.0
    return found


def _without_ended(history: pa.Table) -> pa.Table:
    """The history with zeros after the last value of a series that ended: silent for a tenth of its steps."""
    y = floats(history[Y])
    for _, rows in series_slices(history[ID]):
        seen = np.flatnonzero(np.isfinite(y[rows]))
        silent = rows.stop - rows.start - (seen[-1] + 1 if len(seen) else 0)
        if len(seen) and silent > max(24, (rows.stop - rows.start) // 10):
            y[rows.stop - silent : rows.stop] = 0.0
    return history.set_column(history.column_names.index(Y), Y, pa.array(y, from_pandas=True))


def _asked(table: pa.Table, name: str) -> list[str]:
    if name == Y:
        return ["sum", "count"]
    return ["mean"] if pa.types.is_floating(table[name].type) else ["min", "max"]


def _of_node(found: pa.Table, table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of a node, from the aggregates of its series."""
    if name == Y:
        whole = pc.equal(found[f"{Y}_count"], _sizes(found, table))
        return pc.if_else(whole, found[f"{Y}_sum"], pa.scalar(None, pa.float64()))
    if f"{name}_mean" in found.column_names:
        return found[f"{name}_mean"]
    same = pc.equal(found[f"{name}_min"], found[f"{name}_max"])
    return pc.if_else(same, found[f"{name}_min"], pa.scalar(MIXED))


def _sizes(found: pa.Table, table: pa.Table) -> pa.ChunkedArray:
    """How many rows each group has, in the order of `found`."""
    sizes = table.group_by([ID, DS], use_threads=False).aggregate([([], "count_all")])
    return sizes["count_all"]


def _naive_errors(snapshot: Snapshot, order: Sequence[str], season: int) -> Floats:
    """The seasonal naive's latest errors of each series, aligned at the end. Shape [series, steps]."""
    y = {one.unique_id: one.y for one in each_series(snapshot)}
    steps = min(_ERRORS, max((len(values) for values in y.values()), default=0) - season)
    errors = np.full((len(order), max(0, steps)), np.nan)
    for place, name in enumerate(order):
        found = (y[name][season:] - y[name][:-season])[-steps:] if steps > 0 else np.zeros(0)
        errors[place, errors.shape[1] - len(found) :] = found
    return errors[:, np.isfinite(errors).any(axis=0)]


def _check_same_times(forecasts: pa.Table, places: dict[str, slice], order: Sequence[str]) -> None:
    times = times_of(forecasts[DS])
    for name in order:
        if not np.array_equal(times[places[name]], times[places[order[0]]]):
            raise InvalidInput(f"series {name!r} has other times than {order[0]!r}, so they cannot add up")


def _moved(forecasts: pa.Table, shift: Floats, mean: Floats, least: float) -> pa.Table:
    made = forecasts.set_column(forecasts.column_names.index("mean"), "mean", pa.array(mean))
    for name in quantile_columns(forecasts):
        values = pa.array(np.maximum(floats(forecasts[name]) + shift, least))
        made = made.set_column(made.column_names.index(name), name, values)
    return made
