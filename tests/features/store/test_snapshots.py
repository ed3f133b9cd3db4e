"""Snapshots: the grid, the cutoff, and the store as it was known then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.store.panel_store import PanelStore, VersionPins
from features.store.snapshots import (
    PanelSnapshots,
    VintageSnapshots,
    cutoffs,
    latest_known_ds,
    snapshot_at,
    snapshot_of_latest,
)
from quantis.errors import InvalidInput
from quantis.panel import Panel, Snapshot, Task, times_of, timestamps
from quantis.types.datasets import Roles

FIRST = np.datetime64("2013-03-01T05:00", "us")
HOUR = np.timedelta64(1, "h")
LAST = FIRST + 199 * HOUR
LAG = timedelta(hours=2)


def of(table: pa.Table, name: str) -> pa.Table:
    return table.filter(pc.equal(table["unique_id"], name))


def test_when_a_snapshot_is_taken_then_histories_end_at_the_cutoff_and_the_future_has_no_y(
    toy: Panel, task: Task
) -> None:
    cutoff = LAST - 10 * HOUR
    snapshot = PanelSnapshots(toy, task)(cutoff)
    assert snapshot.history.schema.names == ["unique_id", "ds", "y", "temp", "promo"]
    assert snapshot.future.schema.names == ["unique_id", "ds", "promo"]
    assert snapshot.static.to_pylist() == toy.static.to_pylist()
    for name, length in (("a", 190), ("b", 140), ("c", 80)):
        history, future = of(snapshot.history, name), of(snapshot.future, name)
        given = of(toy.target, name)
        assert history.num_rows == length
        assert history["y"].to_pylist() == given["y"].to_pylist()[:length]
        assert history["temp"].to_pylist() == given["temp"].to_pylist()[:length]
        np.testing.assert_array_equal(times_of(future["ds"]), cutoff + np.arange(1, 7) * HOUR)
        promo = history["promo"].to_pylist() + future["promo"].to_pylist()
        assert promo == of(toy.future, name)["promo"].to_pylist()[: length + 6]


def test_when_rows_are_missing_then_the_grid_has_them_with_nulls_and_known_covariates(
    toy: Panel, task: Task
) -> None:
    keep = pa.array([row not in (3, 4, 199) for row in range(toy.target.num_rows)])
    snapshot = snapshot_at(Panel(toy.target.filter(keep), toy.future, toy.static), LAST, task)
    history = of(snapshot.history, "a")
    assert history.num_rows == 200
    np.testing.assert_array_equal(np.diff(times_of(history["ds"])), HOUR)
    assert [history["y"][row].as_py() for row in (3, 4, 199)] == [None] * 3
    assert [history["temp"][row].as_py() for row in (3, 4, 199)] == [None] * 3
    assert history["promo"].to_pylist() == of(toy.future, "a")["promo"].to_pylist()[:200]


def test_when_a_series_ended_long_ago_then_it_is_padded_to_the_shared_cutoff(toy: Panel, task: Task) -> None:
    early = toy.target.filter(
        pc.or_(pc.not_equal(toy.target["unique_id"], "a"), _until(toy.target, FIRST + 9 * HOUR))
    )
    snapshot = snapshot_at(Panel(early, toy.future, toy.static), LAST, task)
    history = of(snapshot.history, "a")
    assert history.num_rows == 200
    assert history["y"][10:].null_count == 190


@pytest.mark.parametrize("ahead", [1, 40, 900_000])
def test_when_one_series_has_a_value_far_ahead_then_the_histories_of_the_others_end_as_before(
    toy: Panel, task: Task, ahead: int
) -> None:
    """k01: the end of a history is a property of its series alone."""
    stray = toy.target.filter(pc.equal(toy.target["unique_id"], "a")).slice(0, 1)
    stray = stray.set_column(
        stray.schema.get_field_index("ds"), "ds", timestamps(np.array([LAST + ahead * HOUR]))
    )
    panel = Panel(pa.concat_tables([toy.target, stray]), toy.future, toy.static)
    before = snapshot_of_latest(toy, LAST, task)
    assert snapshot_of_latest(panel, LAST, task).future == before.future  # not known yet
    later = snapshot_of_latest(panel, LAST + 1000 * HOUR, task)
    for name in ("b", "c"):
        assert of(later.future, name) == of(before.future, name)
        assert of(later.history, name) == of(before.history, name)


def _until(table: pa.Table, last: np.datetime64) -> pa.ChunkedArray:
    return pc.less_equal(table["ds"], timestamps(np.array([last]))[0])


def test_when_a_series_begins_after_the_cutoff_then_it_is_left_out(toy: Panel, task: Task) -> None:
    snapshot = snapshot_at(toy, FIRST + 60 * HOUR, task)
    assert snapshot.static["unique_id"].to_pylist() == ["a", "b"]
    assert pc.unique(snapshot.future["unique_id"]).to_pylist() == ["a", "b"]


def test_when_nothing_is_known_of_the_future_then_its_covariates_are_null(toy: Panel, task: Task) -> None:
    snapshot = snapshot_at(toy, LAST + 24 * HOUR, task)
    assert snapshot.future["promo"].null_count == snapshot.future.num_rows == 18


def test_when_the_rows_are_not_sorted_then_the_snapshot_is_the_same(toy: Panel, task: Task) -> None:
    noise = np.random.default_rng(5)

    def mixed(table: pa.Table) -> pa.Table:
        return table.take(noise.permutation(table.num_rows))

    assert snapshot_at(
        Panel(mixed(toy.target), mixed(toy.future), mixed(toy.static)), LAST, task
    ) == snapshot_at(toy, LAST, task)


def test_when_steps_are_months_then_the_grid_keeps_to_the_calendar(task: Task) -> None:
    months = np.array(["2023-11-01", "2023-12-01", "2024-02-01"], dtype="datetime64[us]")
    target = pa.table({"unique_id": ["m"] * 3, "ds": timestamps(months), "y": [1.0, 2.0, 4.0]})
    panel = Panel(target, target.slice(0, 0).select(["unique_id", "ds"]), pa.table({"unique_id": ["m"]}))
    monthly = Task.model_validate(task.model_dump() | {"freq": "MS", "h": 2, "roles": {}})
    snapshot = snapshot_at(panel, np.datetime64("2024-02-15", "us"), monthly)
    assert snapshot.history["y"].to_pylist() == [1.0, 2.0, None, 4.0]
    assert times_of(snapshot.future["ds"]).astype("datetime64[D]").astype(str).tolist() == [
        "2024-03-01",
        "2024-04-01",
    ]


def test_when_cutoffs_are_rolled_then_the_last_window_ends_at_the_end(task: Task) -> None:
    found = cutoffs(LAST, task, n_windows=3, step_size=4)
    np.testing.assert_array_equal(LAST - found, np.array([14, 10, 6]) * HOUR)
    assert task.frequency.after(found[-1], task.h)[-1] == LAST


def test_when_the_lag_is_taken_off_then_the_last_known_time_is_told() -> None:
    as_of = datetime(2013, 12, 25, 5, tzinfo=UTC)
    assert latest_known_ds(as_of, timedelta(hours=1)) == np.datetime64("2013-12-25T04:00")


@pytest.fixture
def store(tmp_path: Path) -> PanelStore:
    return PanelStore(tmp_path / "toy")


@pytest.fixture
def pins(store: PanelStore, toy: Panel) -> VersionPins:
    """Of the toy panel, stored whole."""
    return store.write(
        toy, after=None, recorded_at=datetime(2013, 6, 1, tzinfo=UTC), publication_lag=LAG
    ).pins


def equal(one: Snapshot, other: Snapshot) -> bool:
    return bool(
        one.history.equals(other.history)
        and one.future.equals(other.future)
        and one.static.equals(other.static)
    )


def test_when_nothing_was_corrected_then_plain_and_vintage_snapshots_agree(
    store: PanelStore, pins: VersionPins, toy: Panel, task: Task
) -> None:
    vintage, plain = VintageSnapshots(store, pins, task, LAG), PanelSnapshots(toy, task)
    for cutoff in cutoffs(LAST, task, n_windows=4, step_size=31):
        assert equal(vintage(cutoff), plain(cutoff))


def test_when_a_value_was_corrected_later_then_the_vintage_snapshot_shows_what_was_known(
    store: PanelStore, pins: VersionPins, toy: Panel, task: Task
) -> None:
    corrected_at = datetime(2013, 3, 5, tzinfo=UTC)
    row = toy.target.slice(2, 1)
    correction = row.set_column(2, "y", pa.array([99.0])).append_column(
        "known_at", pa.array([corrected_at], pa.timestamp("us", tz="UTC"))
    )
    pins = store.write(
        Panel(correction, toy.future.slice(0, 0), toy.static.slice(0, 0)),
        after=pins,
        recorded_at=datetime(2013, 6, 2, tzinfo=UTC),
        publication_lag=LAG,
    ).pins
    vintage = VintageSnapshots(store, pins, task, LAG)
    plain = PanelSnapshots(store.read(pins, as_of=datetime(2014, 1, 1, tzinfo=UTC)), task)
    before = np.datetime64(corrected_at.replace(tzinfo=None) - LAG - timedelta(hours=1), "us")
    assert vintage(before).history["y"][2].as_py() == row["y"][0].as_py()
    assert plain(before).history["y"][2].as_py() == 99.0
    assert vintage(before + HOUR).history["y"][2].as_py() == 99.0


def test_when_stored_rows_ask_for_more_steps_than_memory_holds_then_the_snapshot_says_which(
    task: Task,
) -> None:
    """Rows of before the check refused them."""
    stray = np.array(["1970-01-01", "2024-01-01", "2024-01-02"], "datetime64[us]")
    target = pa.table({"unique_id": ["s"] * 3, "ds": timestamps(stray), "y": [1.0, 2.0, 3.0]})
    panel = Panel(target, target.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["s"]}))
    seconds = task.model_copy(update={"freq": "s", "roles": Roles()})
    with pytest.raises(InvalidInput, match=r"s alone spans 1,704,153,601 from 1970-01-01T00:00:00Z"):
        snapshot_of_latest(panel, np.datetime64("2100-01-01", "us"), seconds)
