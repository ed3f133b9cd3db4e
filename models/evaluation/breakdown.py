"""A backtest's figures by series, horizon step, window and segment, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.evaluation.evaluated import CUTOFF, EvaluatedRows
from models.evaluation.metrics import METRICS, Partition, metrics_by_part
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Panel, Task
from quantis.types.arrays import Integers
from quantis.types.registry import Dimension

DIMENSIONS: tuple[Dimension, ...] = ("series", "step", "window", "segment")
SCHEMA = pa.schema(
    [("model", pa.string()), ("label", pa.string()), ("rows", pa.int64())]
    + [(name, pa.float64()) for name in METRICS]
)
MOST_VALUES = 20
"""A numeric column with more values than this is cut into quarters."""


def overall(model: str, rows: EvaluatedRows) -> pa.Table:
    """One row of every metric."""
    return _table(model, ["all"], Partition.single(rows), rows)


def by_dimension(
    model: str, predictions: pa.Table, rows: EvaluatedRows, segments: Sequence[pa.Table]
) -> dict[Dimension, pa.Table]:
    """Every metric for each series, step, window and segment (see `segment_labels`): tables of `SCHEMA`."""
    kept = predictions.select([ID, DS, CUTOFF]).take(pa.array(rows.table_row))
    steps = np.unique(rows.step)
    found: dict[Dimension, pa.Table] = {
        "series": _by_column(model, kept[ID], rows),
        "step": _table(
            model,
            [str(step) for step in steps],
            Partition(np.searchsorted(steps, rows.step), len(steps)),
            rows,
        ),
        "window": _by_column(
            model, pc.strftime(kept[CUTOFF].cast(pa.timestamp("s", tz="UTC")), "%Y-%m-%dT%H:%M:%SZ"), rows
        ),
    }
    cut = [_by_column(model, _labels(kept, segment), rows) for segment in segments]
    return found | {"segment": pa.concat_tables([SCHEMA.empty_table(), *cut])}


def segment_labels(panel: Panel, task: Task, columns: Sequence[str]) -> list[pa.Table]:
    """For each column its labels: `unique_id`, `ds` unless it is static, and the column, as `column = value`.

    InvalidInput for a column that the dataset has not.
    """
    return [_segment(panel, task, name) for name in columns]


def _segment(panel: Panel, task: Task, name: str) -> pa.Table:
    roles = task.roles
    places = (
        (panel.static, roles.stat_exog),
        (panel.future, roles.futr_exog),
        (panel.target, roles.hist_exog),
    )
    for table, known in places:
        if name in known:
            keys = [ID, DS] if DS in table.column_names else [ID]
            return table.select(keys).append_column(name, _named(name, table[name]))
    columns = ", ".join((*roles.stat_exog, *roles.futr_exog, *roles.hist_exog)) or "none"
    raise InvalidInput(f"{name!r} is no column of the dataset to cut by; it has {columns}")


def _named(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as labels: themselves, or the quarters of a number with many values."""
    values = column.cast(pa.string())
    if pa.types.is_floating(column.type) and len(pc.drop_null(column).unique()) > MOST_VALUES:
        numbers = column.to_numpy()
        edges = np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1])
        quarter = np.clip(np.searchsorted(edges[1:-1], numbers, side="right"), 0, 3)
        names = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges)]
        values = pa.chunked_array([pa.array(np.array(names)[quarter], mask=np.isnan(numbers))])
    labels = pc.binary_join_element_wise(f"{name} = ", pc.fill_null(values, "missing"), "")
    return labels if isinstance(labels, pa.ChunkedArray) else pa.chunked_array([labels])


def _labels(kept: pa.Table, segment: pa.Table) -> pa.ChunkedArray:
    """The label of each kept row; `missing` where the segment has none."""
    name = segment.column_names[-1]
    keys = segment.column_names[:-1]
    order = kept.append_column("_order", pa.array(np.arange(kept.num_rows)))
    joined = order.join(segment, keys=keys, join_type="left outer").sort_by("_order")
    return pc.fill_null(joined[name], f"{name} = missing")


def _by_column(model: str, labels: pa.ChunkedArray, rows: EvaluatedRows) -> pa.Table:
    """A table with one row per label, sorted."""
    codes = labels.combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    order = np.argsort(np.array(names, dtype=object)) if names else np.zeros(0, np.int64)
    ranks: Integers = np.empty(len(names), np.int64)
    ranks[order] = np.arange(len(names))
    parts = Partition(ranks[codes.indices.to_numpy(zero_copy_only=False)], len(names))
    return _table(model, [names[place] for place in order], parts, rows)


def _table(model: str, labels: Sequence[str], parts: Partition, rows: EvaluatedRows) -> pa.Table:
    found = metrics_by_part(rows, parts)
    sizes = parts.sizes().astype(np.int64).tolist()
    return pa.Table.from_pylist(
        [
            {"model": model, "label": label, "rows": size, **metrics}
            for label, size, metrics in zip(labels, sizes, found, strict=True)
        ],
        SCHEMA,
    )
