"""The design frame over Ray Data: whole-series blocks, no shuffle; the only door to `ray.data`.

For panels beyond one process. Ray must be initialised by the caller; its start-up costs seconds,
so a small panel is designed in process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from features.pipeline import FeatureSpec, design
from quantis.panel import DS, ID, Snapshot, Task

_AHEAD = "__ahead"
_STATIC = "__static_"


def design_blocks(snapshot: Snapshot, task: Task, spec: FeatureSpec, *, blocks: int) -> pa.Table:
    """The same table as `design`, computed over `blocks` blocks of whole series."""
    batches = _designed(snapshot, task, spec, blocks).iter_batches(batch_size=None, batch_format="pyarrow")
    done = [table for table in batches if table.num_rows]
    return pa.concat_tables(sorted(done, key=lambda table: (table[ID][0].as_py(), table[DS][0].as_py())))


def write_design(snapshot: Snapshot, task: Task, spec: FeatureSpec, folder: Path, *, blocks: int) -> int:
    """Write the design frame as Parquet files of whole series in place of `folder`; the rows written."""
    designed = _designed(snapshot, task, spec, blocks).materialize()
    designed.write_parquet(str(folder), mode=ray.data.SaveMode.OVERWRITE)
    return int(designed.count())


def _designed(snapshot: Snapshot, task: Task, spec: FeatureSpec, blocks: int) -> ray.data.Dataset:
    return ray.data.from_arrow(list(_blocks(snapshot, blocks))).map_batches(
        _design_block, batch_size=None, batch_format="pyarrow", fn_kwargs={"task": task, "spec": spec}
    )


def _blocks(snapshot: Snapshot, blocks: int) -> Iterator[pa.Table]:
    """The snapshot as one long table per block: history, then future, static values on every row."""
    names = snapshot.static[ID].combine_chunks().sort()
    for part in np.array_split(np.arange(len(names)), min(blocks, max(len(names), 1))):
        chosen = names.take(pa.array(part))
        yield pa.concat_tables(
            [
                _with_static(table.filter(pc.is_in(table[ID], chosen)), snapshot.static, ahead)
                for table, ahead in ((snapshot.history, False), (snapshot.future, True))
            ],
            promote_options="default",
        )


def _with_static(table: pa.Table, static: pa.Table, ahead: bool) -> pa.Table:
    place = pc.index_in(table[ID], static[ID])
    for name in static.column_names[1:]:
        table = table.append_column(_STATIC + name, static[name].take(place))
    return table.append_column(_AHEAD, pa.repeat(ahead, table.num_rows))


def _design_block(block: pa.Table, task: Task, spec: FeatureSpec) -> pa.Table:
    fixed = [name for name in block.column_names if name.startswith(_STATIC)]
    series = block.select([ID, *fixed]).group_by([ID, *fixed], use_threads=False).aggregate([])
    snapshot = Snapshot(
        history=block.filter(pc.invert(block[_AHEAD])).drop([_AHEAD, *fixed]),
        future=block.filter(block[_AHEAD]).select([ID, DS, *task.roles.futr_exog]),
        static=series.rename_columns([ID, *(name.removeprefix(_STATIC) for name in fixed)]),
    )
    return design(snapshot, task, spec)
