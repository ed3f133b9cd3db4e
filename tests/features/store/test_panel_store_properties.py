"""What must hold whatever is written: no view shows the future, no pinned view ever changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.design.design_frame import FeatureSpec, design
from features.rolling.terms import Rolling
from features.store.content_hash import ContentSums
from features.store.panel_store import PanelStore, VersionPins, content_hash
from features.store.snapshots import VintageSnapshots, snapshot_at
from quantis.errors import Conflict
from quantis.panel import TIMESTAMP, Panel, Task, times_of
from quantis.types.datasets import Roles

START = datetime(2024, 1, 1, tzinfo=UTC)
FIRST = np.datetime64("2024-01-01", "us")
HOUR = np.timedelta64(1, "h")
LAG = timedelta(hours=1)
LONG = 12  # hours of each series
SPEC = FeatureSpec(
    h=2, lags=(2, 3), rolling=(Rolling(window=2, statistics=("mean",)),), futr=("promo",), hist=("temp",),
    hist_lags=(2,),
)  # fmt: skip
TASK = Task(
    dataset="toy", version=1, content_hash="0" * 64, as_of=START, freq="h", h=2, season_lengths=(3,),
    roles=Roles(futr_exog=("promo",), hist_exog=("temp",)),
)  # fmt: skip

values = st.floats(-9, 9, width=16)
Change = tuple[str, str, int, float, int | None]
"""What, of which series, at which hour, which value, and known how many hours after the start (None: not said)."""
changes = st.lists(
    st.tuples(
        st.sampled_from(["y", "promo", "delete", "restore"]),
        st.sampled_from("ab"),
        st.integers(0, LONG - 1),
        values,
        st.one_of(st.none(), st.integers(-5, 40)),
    ),
    min_size=1,
    max_size=5,
)


def base() -> Panel:
    hours = [START + timedelta(hours=hour) for hour in range(LONG)]
    keys = {"unique_id": ["a"] * LONG + ["b"] * LONG, "ds": pa.array(hours * 2, TIMESTAMP)}
    y = np.arange(2.0 * LONG)
    return Panel(
        pa.table({**keys, "y": y, "temp": -y}),
        pa.table({**keys, "promo": y % 3}),
        pa.table({"unique_id": ["a", "b"]}),
    )


def apply(store: PanelStore, pins: VersionPins, change: Change, at: datetime) -> VersionPins:
    """Write one change; a change of a deleted series is refused."""
    what, series, hour, value, known = change
    if what in ("delete", "restore"):
        return store.set_deleted(series, what == "delete", after=pins, recorded_at=at).pins
    rows = {"unique_id": [series], "ds": pa.array([START + timedelta(hours=hour)], TIMESTAMP), what: [value]}
    if known is not None:
        rows["known_at"] = pa.array([START + timedelta(hours=known)], TIMESTAMP)
    empty = base()
    target = pa.table(rows) if what == "y" else empty.target.slice(0, 0)
    future = pa.table(rows) if what == "promo" else empty.future.slice(0, 0)
    panel = Panel(target, future, empty.static.slice(0, 0))
    try:
        return store.write(panel, after=pins, recorded_at=at, publication_lag=LAG).pins
    except Conflict:
        assert series in store.deleted_series(pins)
        return pins


def filled(folder: Path) -> tuple[PanelStore, VersionPins]:
    store = PanelStore(folder)
    recorded = START + timedelta(hours=LONG + 2)
    return store, store.write(base(), after=None, recorded_at=recorded, publication_lag=LAG).pins


@settings(max_examples=25, deadline=None)
@given(changes=changes, step=st.integers(-2, 45))
def test_when_anything_is_written_later_then_a_pinned_version_as_of_a_time_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change], step: int
) -> None:
    """Backdated records, deletions and a rewrite of the tables included."""
    store, pins = filled(tmp_path_factory.mktemp("store"))
    as_of = START + timedelta(hours=step)
    seen = [(pins, store.read(pins, as_of=as_of), store.content_hash(pins))]
    for place, change in enumerate(changes):
        pins = apply(store, pins, change, START + timedelta(hours=20 + place))
        seen.append((pins, store.read(pins, as_of=as_of), store.content_hash(pins)))
    for old, view, _ in seen:
        assert store.read(old, as_of=as_of) == view
    rewritten = store.rewrite(pins)
    for old, view, digest in seen:
        moved = {group: rewritten.versions()[group] for group in old.versions()}
        again = VersionPins(**moved, recorded_to=old.recorded_to)
        assert (store.read(again, as_of=as_of), store.content_hash(again)) == (view, digest)


@settings(max_examples=25, deadline=None)
@given(changes=changes, step=st.integers(-2, 18))
def test_when_what_is_written_became_known_later_then_reads_as_of_before_and_features_are_equal(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change], step: int
) -> None:
    store, first = filled(tmp_path_factory.mktemp("store"))
    as_of = START + timedelta(hours=step)
    before = store.read(first, as_of=as_of)
    hashed = features_hash(before)
    pins = first
    for place, (what, series, hour, value, known) in enumerate(changes):
        later = None if known is None else max(known, step + 1)
        pins = apply(store, pins, (what, series, hour, value, later), START + timedelta(hours=20 + place))
    assert store.read(pins, as_of=as_of) == before
    assert features_hash(store.read(pins, as_of=as_of)) == hashed


def features_hash(panel: Panel) -> str:
    last = max([FIRST, *times_of(panel.target["ds"])])
    return content_hash(Panel(_design(panel, last), panel.future.slice(0, 0), panel.static.slice(0, 0)))


def _design(panel: Panel, cutoff: np.datetime64) -> pa.Table:
    if panel.target.num_rows == 0:
        return panel.target
    return design(snapshot_at(panel, cutoff, TASK), TASK, SPEC)


@settings(max_examples=25, deadline=None)
@given(changes=changes, hour=st.integers(2, LONG - 3))
def test_when_a_snapshot_of_a_vintage_is_taken_then_it_shows_what_was_known_at_its_cutoff(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change], hour: int
) -> None:
    """Checked record by record in plain Python, for the target and for the covariate as forecast then."""
    store, pins = filled(tmp_path_factory.mktemp("store"))
    records: list[tuple[str, str, int, float, int, int]] = [
        ("y", name, step, step + LONG * (name == "b"), step + 1, 0) for name in "ab" for step in range(LONG)
    ]
    records += [
        ("promo", name, step, (step + LONG * (name == "b")) % 3, -(10**6), 0)
        for name in "ab"
        for step in range(LONG)
    ]
    for place, (what, name, step, value, known) in enumerate(changes, start=1):
        if what in ("y", "promo") and known is not None:
            pins = apply(store, pins, (what, name, step, value, known), START + timedelta(hours=50 + place))
            records.append((what, name, step, value, known, place))
    cutoff = FIRST + hour * HOUR
    snapshot = VintageSnapshots(store, pins, TASK, LAG)(cutoff)
    for column, table in (("y", snapshot.history), ("promo", snapshot.history), ("promo", snapshot.future)):
        rows = (table["unique_id"].to_pylist(), times_of(table["ds"]), table[column].to_pylist())
        for name, ds, value in zip(*rows, strict=True):
            at = int((ds - FIRST) / HOUR)
            visible = [
                record for record in records if record[:3] == (column, name, at) and record[4] <= hour + 1
            ]
            expected = max(visible, key=lambda record: record[4:])[3] if visible else None
            assert value == (None if expected is None else float(expected))


@settings(max_examples=25, deadline=None)
@given(changes=changes)
def test_when_writes_follow_each_other_then_their_contents_add_up_to_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change]
) -> None:
    store = PanelStore(tmp_path_factory.mktemp("store"))
    done = store.write(base(), after=None, recorded_at=START, publication_lag=LAG)
    pins, content = done.pins, done.content_after(ContentSums.empty())
    for place, (what, series, hour, value, known) in enumerate(changes):
        if what != "y":
            continue
        row = {
            "unique_id": [series],
            "ds": pa.array([START + timedelta(hours=hour)], TIMESTAMP),
            "y": [value],
        }
        if known is not None:
            row["known_at"] = pa.array([START + timedelta(hours=known)], TIMESTAMP)
        empty = base()
        panel = Panel(pa.table(row), empty.future.slice(0, 0), empty.static.slice(0, 0))
        at = START + timedelta(days=9, hours=place)
        done = store.write(panel, after=pins, recorded_at=at, publication_lag=LAG)
        pins, content = done.pins, done.content_after(content)
    assert content == store.content(pins)
    assert ContentSums.from_json(content.to_json()).digest() == store.content_hash(pins)
