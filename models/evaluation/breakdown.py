"""Metrics of a backtest by series, horizon step, window and segment, as tables."""

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
    """Return a table of one row with every metric."""
    return _table(model, ["all"], Partition.single(rows), rows)


def by_dimension(
    model: str, predictions: pa.Table, rows: EvaluatedRows, segments: Sequence[pa.Table]
) -> dict[Dimension, pa.Table]:
    """Return every metric by series, step, window and segment (see `segment_labels`): tables of `SCHEMA`."""
    keys = predictions.select([ID, DS, CUTOFF]).take(pa.array(rows.table_row))
    steps = np.unique(rows.step)
    tables: dict[Dimension, pa.Table] = {
        "series": _by_column(model, keys[ID], rows),
        "step": _table(
            model,
            [str(step) for step in steps],
            Partition(np.searchsorted(steps, rows.step), len(steps)),
            rows,
        ),
        "window": _by_column(
            model, pc.strftime(keys[CUTOFF].cast(pa.timestamp("s", tz="UTC")), "%Y-%m-%dT%H:%M:%SZ"), rows
        ),
    }
    by_segment = [_by_column(model, _match_labels(keys, segment), rows) for segment in segments]
    return tables | {"segment": pa.concat_tables([SCHEMA.empty_table(), *by_segment])}


def segment_labels(panel: Panel, task: Task, columns: Sequence[str]) -> list[pa.Table]:
    """Return a table of labels `column = value` per column, with `unique_id` and, unless it is static, `ds`.

    InvalidInput for a column that the dataset lacks.
    """
    return [_segment(panel, task, name) for name in columns]


def _segment(panel: Panel, task: Task, name: str) -> pa.Table:
    roles = task.roles
    tables = (
        (panel.static, roles.stat_exog),
        (panel.future, roles.futr_exog),
        (panel.target, roles.hist_exog),
    )
    for table, columns in tables:
        if name in columns:
            keys = [ID, DS] if DS in table.column_names else [ID]
            return table.select(keys).append_column(name, _label_values(name, table[name]))
    choices = ", ".join((*roles.stat_exog, *roles.futr_exog, *roles.hist_exog)) or "none"
    raise InvalidInput(f"{name!r} is no column of the dataset to cut by; it has {choices}")


def _label_values(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values as labels: themselves, or the quarters of a number with many values."""
    values = column.cast(pa.string())
    if pa.types.is_floating(column.type) and len(pc.drop_null(column).unique()) > MOST_VALUES:
        numbers = column.to_numpy()
        edges = np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1])
        quarter = np.clip(np.searchsorted(edges[1:-1], numbers, side="right"), 0, 3)
        names = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges)]
        values = pa.chunked_array([pa.array(np.array(names)[quarter], mask=np.isnan(numbers))])
    labels = pc.binary_join_element_wise(f"{name} = ", pc.fill_null(values, "missing"), "")
    return labels if isinstance(labels, pa.ChunkedArray) else pa.chunked_array([labels])


def _match_labels(rows: pa.Table, segment: pa.Table) -> pa.ChunkedArray:
    """Return the label of each row; `missing` where the segment has none."""
    name = segment.column_names[-1]
    keys = segment.column_names[:-1]
    ordered = rows.append_column("_order", pa.array(np.arange(rows.num_rows)))  # a join loses the order
    joined = ordered.join(segment, keys=keys, join_type="left outer").sort_by("_order")
    return pc.fill_null(joined[name], f"{name} = missing")


def _by_column(model: str, labels: pa.ChunkedArray, rows: EvaluatedRows) -> pa.Table:
    """Return a table with one row per label, sorted."""
    codes = labels.combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    order = np.argsort(np.array(names, dtype=object)) if names else np.zeros(0, np.int64)
    ranks: Integers = np.empty(len(names), np.int64)
    ranks[order] = np.arange(len(names))
    parts = Partition(ranks[codes.indices.to_numpy(zero_copy_only=False)], len(names))
    return _table(model, [names[index] for index in order], parts, rows)


def _table(model: str, labels: Sequence[str], parts: Partition, rows: EvaluatedRows) -> pa.Table:
    metrics_of_parts = metrics_by_part(rows, parts)
    sizes = parts.sizes().astype(np.int64).tolist()
    return pa.Table.from_pylist(
        [
            {"model": model, "label": label, "rows": size, **metrics}
            for label, size, metrics in zip(labels, sizes, metrics_of_parts, strict=True)
        ],
        SCHEMA,
    )
