"""The design frame over Ray Data equals the one made in process, to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from features.design.design_frame import default_spec, design
from features.ray_data import design_blocks
from features.store.snapshots import snapshot_at
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


def test_when_there_are_no_static_covariates_then_blocks_work_too(toy: Panel, task: Task) -> None:
    bare = Task.model_validate(task.model_dump() | {"roles": {}})
    snapshot = snapshot_at(toy, LAST, bare)
    assert snapshot.static.column_names == ["unique_id"]
    assert isinstance(snapshot, Snapshot)
    spec = default_spec(bare)
    assert_same(design_blocks(snapshot, bare, spec, blocks=3), design(snapshot, bare, spec))
