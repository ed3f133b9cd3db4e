"""The panel store: records, pins, corrections, hashes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.store.panel_store import PanelStore, VersionPins, content_hash
from features.store.record_filter import UNBOUNDED, Bounds
from quantis.errors import NotFound
from quantis.panel import TIMESTAMP, Panel

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
LAG = timedelta(hours=1)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def hours(*steps: int) -> pa.Array:
    return pa.array([START + timedelta(hours=step) for step in steps], TIMESTAMP)


def panel(
    values: dict[str, list[float | None]], first: int = 0, known_at: list[datetime | None] | None = None
) -> Panel:
    """Hourly series from `first` hours after the start."""
    names = [name for name, ys in values.items() for _ in ys]
    steps = [first + step for ys in values.values() for step in range(len(ys))]
    y = pa.array([value for ys in values.values() for value in ys], pa.float64())
    target = pa.table({"unique_id": pa.array(names, pa.string()), "ds": hours(*steps), "y": y})
    future = target.select(["unique_id", "ds"]).append_column("promo", pa.array(np.arange(len(names)) % 2.0))
    if known_at is not None:
        target = target.append_column("known_at", pa.array(known_at, TIMESTAMP))
    static = pa.table({"unique_id": list(values), "city": [f"city {name}" for name in values]})
    return Panel(target, future, static)


LAST: dict[Path, VersionPins] = {}


@pytest.fixture(autouse=True)
def nothing_written() -> None:
    LAST.clear()


@pytest.fixture
def store(tmp_path: Path) -> PanelStore:
    return PanelStore(tmp_path / "shop")


def write(store: PanelStore, what: Panel, at: datetime = NOW) -> VersionPins:
    """After what this store object wrote last."""
    done = store.write(what, after=LAST.get(store.folder), recorded_at=at, publication_lag=LAG)
    LAST[store.folder] = done.pins
    return done.pins


def ys(
    store: PanelStore, pins: VersionPins, as_of: datetime = LATER, bounds: Bounds = UNBOUNDED
) -> list[float | None]:
    values: list[float | None] = store.read(pins, as_of=as_of, bounds=bounds).target["y"].to_pylist()
    return values


def test_when_nothing_was_written_then_nothing_is_read(store: PanelStore) -> None:
    with pytest.raises(NotFound, match="version 0 of 'target'"):
        store.read(VersionPins(0, 0, 0), as_of=NOW)


def test_when_a_panel_is_written_then_it_is_read_back_by_group(store: PanelStore) -> None:
    written = panel({"a": [1.0, None, 3.0], "b": [4.0]})
    pins = write(store, written)
    assert store.read(pins, as_of=NOW) == written


def test_when_a_history_has_no_known_at_then_it_is_known_after_the_lag(store: PanelStore) -> None:
    pins = write(store, panel({"a": [1.0, 2.0, 3.0]}))
    assert ys(store, pins, START + LAG - timedelta(microseconds=1)) == []
    assert ys(store, pins, START + LAG) == [1.0]
    known = store.read(pins, as_of=START + LAG)
    assert known.future.num_rows == 3
    assert known.static["city"].to_pylist() == ["city a"]


def test_when_the_same_rows_are_written_again_then_nothing_is_stored(store: PanelStore) -> None:
    rows = panel({"a": [1.0, None, 3.0], "b": [4.0]}, known_at=[START, None, NOW, None])
    pins = write(store, rows)
    mixed = Panel(rows.target.take([3, 1, 0, 2]), rows.future.take([3, 1, 0, 2]), rows.static.take([1, 0]))
    assert write(store, mixed, NOW + timedelta(days=1)) == pins
    assert write(store, panel({"a": [1.0]}, known_at=[START])) == pins


def test_when_a_value_is_corrected_then_it_is_known_from_when_it_was_recorded(store: PanelStore) -> None:
    first = write(store, panel({"a": [1.0, 2.0]}))
    second = write(store, panel({"a": [1.0, 9.0]}), NOW + timedelta(days=1))
    assert second.versions() == {**first.versions(), "target": first.target + 1}
    assert ys(store, second, NOW) == [1.0, 2.0]
    assert ys(store, second, NOW + timedelta(days=1)) == [1.0, 9.0]
    assert ys(store, first) == [1.0, 2.0]


def test_when_a_value_becomes_missing_then_null_is_the_correction(store: PanelStore) -> None:
    write(store, panel({"a": [1.0, 2.0]}))
    assert ys(store, write(store, panel({"a": [1.0, None]}))) == [1.0, None]


def test_when_a_correction_comes_before_the_value_was_due_then_it_still_wins(store: PanelStore) -> None:
    early = START - timedelta(days=30)
    write(store, panel({"a": [1.0]}), early)
    assert ys(store, write(store, panel({"a": [2.0]}), early)) == [2.0]


def test_when_known_at_is_given_then_it_decides_and_a_backdated_record_leaves_old_pins_alone(
    store: PanelStore,
) -> None:
    first = write(store, panel({"a": [1.0]}, known_at=[START + timedelta(hours=5)]))
    second = write(store, panel({"a": [0.5]}, known_at=[START + timedelta(hours=2)]))
    assert ys(store, second, START + timedelta(hours=3)) == [0.5]
    assert ys(store, second) == [1.0]
    assert ys(store, first, START + timedelta(hours=3)) == []


def test_when_the_clock_goes_back_then_recorded_at_does_not(store: PanelStore) -> None:
    write(store, panel({"a": [1.0]}), NOW)
    write(store, panel({"a": [2.0]}), NOW - timedelta(days=3))
    pins = write(store, panel({"a": [3.0]}), NOW)
    assert ys(store, pins) == [3.0]


def test_when_a_covariate_or_a_static_value_changes_then_only_its_group_moves(store: PanelStore) -> None:
    rows = panel({"a": [1.0, 2.0]})
    first = write(store, rows)
    moved = Panel(rows.target, rows.future, rows.static.set_column(1, "city", pa.array(["elsewhere"])))
    second = write(store, moved)
    assert second.versions() == {**first.versions(), "static": first.static + 1}
    assert store.read(second, as_of=LATER).static["city"].to_pylist() == ["elsewhere"]
    assert store.read(second, as_of=NOW - timedelta(days=1)).static["city"].to_pylist() == ["city a"]


def test_when_keys_are_a_microsecond_and_a_series_apart_then_they_are_not_taken_for_each_other(
    store: PanelStore,
) -> None:
    early, late = START, START + timedelta(microseconds=1)
    rows = [("a", late), ("b", early), ("b", late), ("a", early)]
    for name, moment in rows:
        keys = {"unique_id": [name], "ds": pa.array([moment], TIMESTAMP)}
        one = pa.table({**keys, "y": [1.0]})
        pins = write(store, Panel(one, one.slice(0, 0).drop(["y"]), pa.table({"unique_id": [name]})))
    assert store.read(pins, as_of=LATER).target.num_rows == 4


def test_when_a_covariate_is_new_then_the_older_rows_lack_it(store: PanelStore) -> None:
    write(store, panel({"a": [1.0]}))
    wider = panel({"a": [2.0]}, first=1)
    wider = Panel(wider.target.append_column("temp", pa.array([20.0])), wider.future, wider.static)
    pins = write(store, wider)
    assert store.read(pins, as_of=LATER).target["temp"].to_pylist() == [None, 20.0]


def test_when_series_and_times_are_chosen_then_only_they_are_read(store: PanelStore) -> None:
    pins = write(store, panel({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}))
    second = START + timedelta(hours=1)
    assert ys(store, pins, bounds=Bounds(series=["b"], start=second, end=second)) == [5.0]
    assert store.read(pins, as_of=LATER, bounds=Bounds(series=["b"])).static["unique_id"].to_pylist() == ["b"]
    assert ys(store, pins, bounds=Bounds(series=["nobody"])) == []


def test_when_series_are_listed_then_rows_bounds_and_statics_are_told(store: PanelStore) -> None:
    write(store, panel({"b": [1.0, 2.0], "a": [3.0]}))
    pins = write(store, panel({"a": [9.0]}))
    assert store.series(pins).to_pylist() == [
        {"unique_id": "a", "rows": 1, "first_ds": START, "last_ds": START, "city": "city a"},
        {
            "unique_id": "b",
            "rows": 2,
            "first_ds": START,
            "last_ds": START + timedelta(hours=1),
            "city": "city b",
        },
    ]
    assert store.series(pins, as_of=START + LAG)["rows"].to_pylist() == [1, 1]


def test_when_content_is_hashed_then_the_store_and_the_panel_agree(store: PanelStore) -> None:
    rows = panel({"a": [1.0, None, -0.0], "b": [4.0]}, known_at=[START, None, NOW, None])
    pins = write(store, rows)
    assert store.content_hash(pins) == content_hash(rows)
    again = PanelStore(store.folder.with_name("copy"))
    halves = [Panel(rows.target.filter(m), rows.future.filter(m), rows.static) for m in _halves(rows.target)]
    for half in halves:
        pins = write(again, half, NOW + timedelta(days=7))
    assert again.content_hash(pins) == content_hash(rows)


def _halves(table: pa.Table) -> list[pa.Array]:
    even = pa.array([i % 2 == 0 for i in range(table.num_rows)])
    return [even, pc.invert(even)]


@pytest.mark.parametrize(
    "other",
    [
        panel({"a": [1.0, 2.5]}),
        panel({"a": [1.0, None]}),
        panel({"a": [1.0]}),
        panel({"b": [1.0, 2.0]}),
        panel({"a": [1.0, 2.0]}, first=1),
        panel({"a": [1.0, 2.0]}, known_at=[START, None]),
        panel({"a": [1.0, 2.0]}, known_at=[START, START]),
    ],
)
def test_when_content_differs_then_so_does_the_hash(other: Panel) -> None:
    assert content_hash(other) != content_hash(panel({"a": [1.0, 2.0]}))


numbers = st.one_of(st.none(), st.floats(-9, 9, width=16))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_when_rows_and_columns_are_permuted_then_the_hash_stays(data: st.DataObject) -> None:
    values = data.draw(
        st.dictionaries(st.text(max_size=3), st.lists(numbers, max_size=5), min_size=1, max_size=4)
    )
    rows = panel(values)
    order = data.draw(st.permutations(range(rows.target.num_rows)))
    columns = data.draw(st.permutations(rows.target.column_names))
    chunks = rows.target.take(pa.array(order, pa.int64())).select(columns).to_batches(max_chunksize=2)
    mixed = pa.Table.from_batches(chunks, rows.target.select(columns).schema)
    assert content_hash(Panel(mixed, rows.future, rows.static)) == content_hash(rows)


def test_when_one_series_of_many_rows_is_read_then_it_takes_milliseconds(store: PanelStore) -> None:
    each = 8_760
    names = [f"series {i:02}" for i in range(20)]
    target = pa.table(
        {
            "unique_id": np.repeat(names, each),
            "ds": pa.chunked_array([hours(*range(each))] * 20),
            "y": np.random.default_rng(1).normal(size=20 * each),
        }
    )
    future = target.select(["unique_id", "ds"]).append_column("promo", target["y"])
    pins = write(store, Panel(target, future, pa.table({"unique_id": names})))
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        one = store.read(pins, as_of=LATER, bounds=Bounds(series=["series 07"]))
        taken.append(time.perf_counter() - began)
    assert one.target.num_rows == each
    assert min(taken) < 0.06


def test_when_only_a_later_chunk_meets_what_is_stored_then_it_is_compared_all_the_same(
    store: PanelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.store.append.CHUNK", 4)
    write(store, panel({"m": [1.0, 2.0, 3.0], "n": [4.0, 5.0, 6.0]}))
    both: dict[str, list[float | None]] = {
        "a": [0.0, 0.0, 0.0],
        "b": [0.0, 0.0, 0.0],
        "m": [1.0, 2.0, 9.0],
        "n": [4.0, 5.0, 6.0],
    }
    pins = write(store, panel(both), NOW + timedelta(days=1))
    assert ys(store, pins) == [value for values in both.values() for value in values]
    assert store.record_counts(pins)["target"] == 13
    assert write(store, panel(both), NOW + timedelta(days=2)) == pins


def test_when_tables_are_rewritten_right_after_a_write_then_they_read_the_same(store: PanelStore) -> None:
    pins = write(store, panel({"a": [1.0, 2.0], "b": [3.0, 4.0]}))
    new = store.rewrite(pins)
    assert ys(store, new) == [1.0, 2.0, 3.0, 4.0]
    assert store.content_hash(new) == store.content_hash(pins)
