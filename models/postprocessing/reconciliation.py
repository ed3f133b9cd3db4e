"""Hierarchies: series that add up, and forecasts of all levels that add up as well.

The levels are static columns: `[["state"], ["state", "region"]]` adds the total, every state and every
region of a state to the series of the panel. hierarchicalforecast does the arithmetic on the means:
MinT with a shrunk covariance (Wickramasuriya, Athanasopoulos and Hyndman, 2019), or bottom-up. The
covariance is that of the seasonal naive's errors in the history, which every series has whatever the
model. Where no history is negative, series of the bottom that come out below zero are set to zero, and
everything is added up again. A series' quantiles move with its mean, so that its interval keeps its
width and position around it: means add up, quantiles do not (and those of a sum need not).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
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

NodeKey = tuple[tuple[str, str], ...]
"""The columns of a node and their values."""
TOTAL = "total"
MIXED = "mixed"
"""The category of a node whose series differ in it."""
MOST_SERIES = 4000
"""Above this the covariance of MinT would not fit into memory."""
_MAX_COVARIANCE_ERRORS = 400  # the latest errors per series that the covariance is of
_MIN_ERRORS = 4  # with fewer there is no covariance: bottom-up


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
        """Build the hierarchy of a panel's static table. InvalidInput for a column that is not in it."""
        ids = static[ID].to_pylist()
        levels: dict[NodeKey, Floats] = {}
        for columns in hierarchy:
            levels |= _level(static, columns)
        groups = {TOTAL: np.ones(len(ids))} | dict(zip(_node_names(levels), levels.values(), strict=True))
        nodes = {name: row for name, row in groups.items() if row.sum() > 1 or name == TOTAL}
        if clashes := sorted(nodes.keys() & set(ids)):
            raise InvalidInput(
                f"the panel has a series {clashes[0]!r}, the name of a level's node; rename it"
            )
        if method == "mint_shrink" and len(nodes) + len(ids) > MOST_SERIES:
            raise InvalidInput(
                f"{len(nodes) + len(ids)} series and nodes are more than the {MOST_SERIES} that mint_shrink "
                "reconciles; take bottom_up"
            )
        return cls(tuple(ids), tuple(nodes), np.stack(list(nodes.values())), method)

    def add_nodes(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the nodes as further series.

        A node's value is the sum of its series' values, missing where a series has a gap; its covariates
        are their mean, or their common category, or `mixed`.
        """
        history = _fill_after_end(snapshot.history)
        tables = []
        for table in (history, snapshot.future, snapshot.static):
            keys = [ID, DS] if DS in table.column_names else [ID]
            nodes = (self._aggregate(table, members, name, keys) for name, members in self._members)
            tables.append(pa.concat_tables([table, *nodes]).sort_by([(key, "ascending") for key in keys]))
        return Snapshot(*tables)

    def reconcile(self, forecasts: pa.Table, snapshot: Snapshot, task: Task) -> pa.Table:
        """Return forecasts of all levels (`unique_id, ds, mean, q...`) that add up.

        `snapshot` is the one with nodes that they were made from; it gives the errors. A series that it
        lacks counts as zero.
        """
        rows = dict(series_slices(forecasts[ID]))
        series = [name for name in self.series if name in rows]
        nodes = [name for name in self.nodes if name in rows]
        order = [*nodes, *series]
        _check_same_times(forecasts, rows, order)
        position = {name: index for index, name in enumerate(self.series)}
        columns = [position[name] for name in series]
        children = self.children[np.ix_([self.nodes.index(name) for name in nodes], columns)]
        summing = np.vstack([children, np.eye(len(series))])  # [nodes + series, series]
        mean = floats(forecasts["mean"])
        base = np.stack([mean[rows[name]] for name in order])  # [nodes + series, h]
        errors = _naive_errors(snapshot, order, task.season_lengths[-1])
        minimum = -np.inf if np.any(snapshot.y < 0) else 0.0
        bottom = np.maximum(self._reconcile_bottom(summing, base, errors), minimum)
        reconciled = mean.copy()
        for name, values in zip(order, summing @ bottom, strict=True):
            reconciled[rows[name]] = values
        return _shift_quantiles(forecasts, reconciled - mean, reconciled, minimum)

    def _reconcile_bottom(self, summing: Floats, base: Floats, errors: Floats) -> Floats:
        """Return the reconciled means of the bottom series. Shape [series, h]."""
        from hierarchicalforecast.methods import MinTrace

        nodes = len(base) - summing.shape[1]
        scale = np.nanstd(errors) if errors.size else 0.0
        if self.method == "bottom_up" or not scale > 0 or errors.shape[1] < _MIN_ERRORS:
            return base[nodes:]
        # One scale for all errors leaves the projection as it is and keeps the covariance well conditioned.
        result = MinTrace("mint_shrink").fit_predict(summing, base, errors / scale, np.zeros_like(errors))
        return np.asarray(result["mean"], np.float64)[nodes:]

    @cached_property
    def _members(self) -> list[tuple[str, set[str]]]:
        """The nodes, each with the names of its series."""
        names = np.array(self.series)
        return [
            (node, set(names[row > 0].tolist())) for node, row in zip(self.nodes, self.children, strict=True)
        ]

    def _aggregate(self, table: pa.Table, members: set[str], node: str, keys: list[str]) -> pa.Table:
        """Return the rows of one node for a table."""
        value_set = pa.array(sorted(members), pa.string())
        rows = table.filter(pc.is_in(table[ID].cast(pa.string()), value_set=value_set))
        rows = rows.set_column(0, ID, pa.array([node] * rows.num_rows, pa.string()))
        aggregations: list[tuple[str | list[str], str]] = [([], "count_all")]
        for name in rows.column_names:
            if name not in keys:
                aggregations += [(name, function) for function in _aggregations(rows, name)]
        groups = rows.group_by(keys, use_threads=False).aggregate(aggregations)
        columns = {
            name: groups[name] if name in keys else _node_column(groups, name) for name in rows.column_names
        }
        return pa.table(columns).cast(table.schema)


@dataclass(frozen=True)
class HierarchySnapshots:
    """Snapshots of a provider with the nodes of a hierarchy as further series."""

    provider: SnapshotProvider
    hierarchy: Hierarchy

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        return self.hierarchy.add_nodes(self.provider(cutoff))


def _node_names(keys: Iterable[NodeKey]) -> list[str]:
    """Return `state=ACT` or `state=ACT, region=Canberra`; quoted where two nodes would have one name."""
    plain = {key: ", ".join(f"{column}={value}" for column, value in key) for key in keys}
    counts = Counter([TOTAL, *plain.values()])
    # A text with quotes and escapes cannot be read as two: what it holds decides no name of another node.
    quoted = {key: ", ".join(f"{json.dumps(c)}={json.dumps(v)}" for c, v in key) for key in plain}
    names = [quoted[key] if counts[name] > 1 else name for key, name in plain.items()]
    if clashes := [name for name, count in Counter([TOTAL, *names]).items() if count > 1]:
        raise InvalidInput(f"two nodes of the hierarchy would be named {clashes[0]!r}; rename a category")
    return names


def _level(static: pa.Table, columns: Sequence[str]) -> dict[NodeKey, Floats]:
    """Return the nodes of one level by their columns and values."""
    for name in columns:
        if name not in static.column_names:
            choices = ", ".join(column for column in static.column_names if column != ID) or "none"
            raise InvalidInput(f"{name!r} is not a static column of the dataset; it has {choices}")
    nodes: dict[NodeKey, Floats] = {}
    for number, row in enumerate(static.select(list(columns)).to_pylist()):
        if any(value is None for value in row.values()):
            raise InvalidInput(
                f"series {static[ID][number].as_py()!r} has no {', '.join(columns)}; a hierarchy needs all"
            )
        key = tuple((column, str(value)) for column, value in row.items())
        nodes.setdefault(key, np.zeros(static.num_rows))[number] = 1.0
    return nodes


def _fill_after_end(history: pa.Table) -> pa.Table:
    """Return the history with zeros after the last value of a series that ended: missing for a tenth of its steps."""
    y = floats(history[Y])
    for _, rows in series_slices(history[ID]):
        observed = np.flatnonzero(np.isfinite(y[rows]))
        if not len(observed):
            continue
        steps = rows.stop - rows.start
        missing = steps - (observed[-1] + 1)
        if missing > max(24, steps // 10):
            y[rows.stop - missing : rows.stop] = 0.0
    return history.set_column(history.column_names.index(Y), Y, pa.array(y, from_pandas=True))


def _aggregations(table: pa.Table, name: str) -> list[str]:
    if name == Y:
        return ["sum", "count"]
    return ["mean"] if pa.types.is_floating(table[name].type) else ["min", "max"]


def _node_column(groups: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of a node from the aggregates of its series."""
    if name == Y:  # a sum is known where no series lacks its value
        complete = pc.equal(groups[f"{Y}_count"], groups["count_all"])
        return pc.if_else(complete, groups[f"{Y}_sum"], pa.scalar(None, pa.float64()))
    if f"{name}_mean" in groups.column_names:
        return groups[f"{name}_mean"]
    same = pc.equal(groups[f"{name}_min"], groups[f"{name}_max"])
    return pc.if_else(same, groups[f"{name}_min"], pa.scalar(MIXED))


def _naive_errors(snapshot: Snapshot, order: Sequence[str], season: int) -> Floats:
    """Return the seasonal naive's latest errors of each series, aligned at the end. Shape [series, steps]."""
    y = {series.unique_id: series.y for series in each_series(snapshot)}
    steps = min(_MAX_COVARIANCE_ERRORS, max((len(values) for values in y.values()), default=0) - season)
    errors = np.full((len(order), max(0, steps)), np.nan)
    for row, name in zip(errors, order, strict=True):
        latest = (y[name][season:] - y[name][:-season])[-steps:] if steps > 0 else np.zeros(0)
        row[len(row) - len(latest) :] = latest
    return errors[:, np.isfinite(errors).any(axis=0)]


def _check_same_times(forecasts: pa.Table, rows: dict[str, slice], order: Sequence[str]) -> None:
    times = times_of(forecasts[DS])
    for name in order:
        if not np.array_equal(times[rows[name]], times[rows[order[0]]]):
            raise InvalidInput(f"series {name!r} has other times than {order[0]!r}, so they cannot add up")


def _shift_quantiles(forecasts: pa.Table, shift: Floats, mean: Floats, minimum: float) -> pa.Table:
    """Return the forecasts with these means and with quantiles shifted by as much, at least `minimum`."""
    shifted = forecasts.set_column(forecasts.column_names.index("mean"), "mean", pa.array(mean))
    for name in quantile_columns(forecasts):
        values = pa.array(np.maximum(floats(forecasts[name]) + shift, minimum))
        shifted = shifted.set_column(shifted.column_names.index(name), name, values)
    return shifted
