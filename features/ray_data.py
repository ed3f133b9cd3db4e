"""The design frame over Ray Data: whole-series blocks, no shuffle; the only door to `ray.data`.

For panels beyond one process. Ray must be initialised by the caller; its start-up costs seconds, so a
small panel is designed in process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from features.design.design_frame import FeatureSpec, design
from quantis.panel import DS, ID, Snapshot, Task

_IN_HORIZON = "__in_horizon"
_STATIC = "__static_"


def design_blocks(
    snapshot: Snapshot, task: Task, spec: FeatureSpec, *, blocks: int, memory: int | None = None
) -> pa.Table:
    """Return the same table as `design`, computed over `blocks` blocks of whole series.

    Each task declares `memory` bytes to Ray, which starts no more of them than a node has room for.
    """
    designed = ray.data.from_arrow(list(_blocks(snapshot, blocks))).map_batches(
        _design_block,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"task": task, "spec": spec},
        memory=memory,
    )
    batches = designed.iter_batches(batch_size=None, batch_format="pyarrow")
    tables = [table for table in batches if table.num_rows]
    return pa.concat_tables(sorted(tables, key=lambda table: (table[ID][0].as_py(), table[DS][0].as_py())))


def map_files(
    work: Callable[[str], dict[str, Any]], paths: Sequence[str], *, cpus: float, memory: int | None = None
) -> list[dict[str, Any]]:
    """Return a function's result for each file, in their order; one task a file, and no file is held here.

    Each task declares `memory` bytes to Ray.
    """
    items = [{"index": index, "path": path} for index, path in enumerate(paths)]

    def run(item: dict[str, Any]) -> dict[str, Any]:
        return {"index": item["index"], "result": json.dumps(work(item["path"]))}

    files = ray.data.from_items(items, override_num_blocks=len(items)).map(run, num_cpus=cpus, memory=memory)
    return [json.loads(row["result"]) for row in sorted(files.take_all(), key=lambda row: row["index"])]


def _blocks(snapshot: Snapshot, blocks: int) -> Iterator[pa.Table]:
    """Yield the snapshot as one long table per block: history, then future, static values on each row."""
    names = snapshot.static[ID].combine_chunks().sort()
    for block in np.array_split(np.arange(len(names)), min(blocks, max(len(names), 1))):
        block_names = names.take(pa.array(block))
        tables = [
            _add_static(table.filter(pc.is_in(table[ID], block_names)), snapshot.static, in_horizon)
            for table, in_horizon in ((snapshot.history, False), (snapshot.future, True))
        ]
        yield pa.concat_tables(tables, promote_options="default")


def _add_static(table: pa.Table, static: pa.Table, in_horizon: bool) -> pa.Table:
    """Return the table with its series' static values, and whether its rows are of the horizon."""
    rows = pc.index_in(table[ID], static[ID])
    for name in static.column_names[1:]:
        table = table.append_column(_STATIC + name, static[name].take(rows))
    return table.append_column(_IN_HORIZON, pa.repeat(in_horizon, table.num_rows))


def _design_block(block: pa.Table, task: Task, spec: FeatureSpec) -> pa.Table:
    """Return the design frame of a block: the inverse of `_blocks`, and `design`."""
    static = [name for name in block.column_names if name.startswith(_STATIC)]
    # The static values stand on each row of a series: one row per series is left of them.
    series = block.select([ID, *static]).group_by([ID, *static], use_threads=False).aggregate([])
    snapshot = Snapshot(
        history=block.filter(pc.invert(block[_IN_HORIZON])).drop([_IN_HORIZON, *static]),
        future=block.filter(block[_IN_HORIZON]).select([ID, DS, *task.roles.futr_exog]),
        static=series.rename_columns([ID, *(name.removeprefix(_STATIC) for name in static)]),
    )
    return design(snapshot, task, spec)
