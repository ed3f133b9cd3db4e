"""The design frame over Ray Data: whole-series blocks, no shuffle; the only door to `ray.data`.

For panels beyond one process, or, file by file, beyond memory. Ray must be initialised by the caller;
its start-up costs seconds, so a small panel is designed in process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from features.design.design_frame import FeatureSpec, design
from features.rolling.dispatch import warm_up
from quantis.errors import InvalidInput
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


def map_files(
    work: Callable[[str], dict[str, Any]], paths: Sequence[str], *, cpus: float
) -> list[dict[str, Any]]:
    """What a function says of each file, in their order; one task a file, and no file is held here."""
    items = [{"place": place, "path": path} for place, path in enumerate(paths)]

    def one(item: dict[str, Any]) -> dict[str, Any]:
        return {"place": item["place"], "said": json.dumps(work(item["path"]))}

    files = ray.data.from_items(items, override_num_blocks=len(items)).map(one, num_cpus=cpus)
    return [json.loads(row["said"]) for row in sorted(files.take_all(), key=lambda row: row["place"])]


def design_files(
    paths: Sequence[Path], task: Task, spec: FeatureSpec, folder: Path, *, workers: int
) -> pa.Table:
    """Design each Parquet file of whole histories into one of the same name in `folder`, by `workers` processes.

    What travels is the files' names: no shuffle, no copy through the object store. Returns a row per
    file: `path`, `rows`, and when its work `started` and `ended`, in seconds of the machine's
    monotonic clock.
    """
    names = ray.data.from_items([{"path": str(path)} for path in paths], override_num_blocks=len(paths))
    done = names.map_batches(
        _FileDesigner,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        fn_constructor_kwargs={"task": task, "spec": spec, "folder": str(folder)},
    )
    return pa.concat_tables(done.iter_batches(batch_size=None, batch_format="pyarrow"))


def design_file(path: Path, task: Task, spec: FeatureSpec, folder: Path) -> int:
    """Design one Parquet file of whole, sorted histories into `folder`; the rows written. InvalidInput for statics."""
    if spec.static:
        raise InvalidInput(
            f"a file of histories has no static columns {spec.static}; leave them out of the spec"
        )
    history = pq.read_table(path, use_threads=False)
    ahead = history.select([ID, DS, *spec.futr]).slice(0, 0)
    frame = design(Snapshot(history, ahead, history.select([ID]).slice(0, 0)), task, spec)
    pq.write_table(frame, folder / path.name, use_dictionary=[ID])
    return int(frame.num_rows)


class _FileDesigner:
    """Keeps its process, so that machine code is loaded once and not within the first file's time."""

    def __init__(self, task: Task, spec: FeatureSpec, folder: str) -> None:
        self.task, self.spec, self.folder = task, spec, Path(folder)
        warm_up()

    def __call__(self, batch: pa.Table) -> pa.Table:
        (path,) = batch["path"].to_pylist()
        started = time.monotonic()
        rows = design_file(Path(path), self.task, self.spec, self.folder)
        row = {"path": path, "rows": rows, "started": started, "ended": time.monotonic()}
        return pa.Table.from_pylist([row])


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
