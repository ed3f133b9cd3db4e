"""The design frame over Ray Data equals the one made in process, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.design.design_frame import FeatureSpec, default_spec, design
from features.ray_data import design_blocks, design_file, design_files, write_design
from features.rolling.terms import Rolling
from features.store.snapshots import snapshot_at
from quantis.errors import InvalidInput
from quantis.panel import Panel, Snapshot, Task

LAST = np.datetime64("2013-03-01T05:00", "us") + 199 * np.timedelta64(1, "h")

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray
    import ray.data

    ours = not ray.is_initialized()
    if ours:
        ray.init(address="local", num_cpus=2, object_store_memory=256 * 2**20, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    if ours:
        ray.shutdown()


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    assert found.schema == expected.schema
    for name in expected.column_names[:2]:
        assert found[name].equals(expected[name])
    for name in expected.column_names[2:]:
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy(), err_msg=name)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_when_the_design_runs_over_blocks_then_it_equals_the_one_in_process(
    toy: Panel, task: Task, blocks: int
) -> None:
    snapshot = snapshot_at(toy, LAST, task)
    spec = default_spec(task, snapshot)
    assert_same(design_blocks(snapshot, task, spec, blocks=blocks), design(snapshot, task, spec))


def test_when_the_design_is_written_twice_then_the_files_hold_it_once_in_whole_series(
    toy: Panel, task: Task, tmp_path: Path
) -> None:
    snapshot = snapshot_at(toy, LAST, task)
    spec = default_spec(task, snapshot)
    for _ in range(2):
        assert write_design(snapshot, task, spec, tmp_path / "frame", blocks=2) == 440 + 18
    parts = [pq.read_table(path) for path in (tmp_path / "frame").glob("*.parquet")]
    owners = [set(part["unique_id"].to_pylist()) for part in parts]
    assert sorted(map(sorted, owners)) == [["a", "b"], ["c"]]
    whole = pa.concat_tables(parts).sort_by([("unique_id", "ascending"), ("ds", "ascending")])
    assert_same(whole, design(snapshot, task, spec))


def test_when_there_are_no_static_covariates_then_blocks_work_too(toy: Panel, task: Task) -> None:
    bare = Task.model_validate(task.model_dump() | {"roles": {}})
    snapshot = snapshot_at(toy, LAST, bare)
    assert snapshot.static.column_names == ["unique_id"]
    assert isinstance(snapshot, Snapshot)
    spec = default_spec(bare)
    assert_same(design_blocks(snapshot, bare, spec, blocks=3), design(snapshot, bare, spec))


def test_when_files_of_histories_are_designed_then_each_becomes_the_file_of_its_frame(
    toy: Panel, task: Task, tmp_path: Path
) -> None:
    bare = Task.model_validate(task.model_dump() | {"roles": {}})
    spec = FeatureSpec(h=6, lags=(6, 24), rolling=(Rolling(window=24),), calendar=("hour",))
    given, made = tmp_path / "given", tmp_path / "made"
    given.mkdir()
    made.mkdir()
    history = snapshot_at(toy, LAST, bare).history
    expected = {}
    for name, rows in (("one", slice(0, 350)), ("two", slice(350, 440))):
        part = history.slice(rows.start, rows.stop - rows.start)
        pq.write_table(part, given / f"{name}.parquet")
        none = part.select(["unique_id", "ds"]).slice(0, 0)
        expected[name] = design(Snapshot(part, none, none.select(["unique_id"])), bare, spec)
    done = design_files(sorted(given.iterdir()), bare, spec, made, workers=1).to_pylist()
    assert sorted(row["rows"] for row in done) == [90, 350]
    assert all(row["started"] < row["ended"] for row in done)
    for name, frame in expected.items():
        assert_same(pq.read_table(made / f"{name}.parquet"), frame)


def test_when_a_spec_asks_for_statics_then_files_of_histories_are_refused(task: Task, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no static columns \('city',\)"):
        design_file(tmp_path / "any", task, FeatureSpec(h=6, static=("city",)), tmp_path)
