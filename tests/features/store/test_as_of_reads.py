"""The as-of reads of the panel store against a plain list of records, the operator spelled out in Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.store.panel_store import PanelStore, VersionPins
from quantis.panel import TIMESTAMP, Panel

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
LAG = timedelta(hours=1)

Row = tuple[str, int, float | None, datetime | None]  # series, hour, y, known_at
Stored = tuple[tuple[str, datetime], datetime, int, float | None]  # key, known_at, order of recording, y

numbers = st.one_of(st.none(), st.floats(-9, 9, width=16))
moments = st.one_of(st.none(), st.integers(-3, 30).map(lambda step: START + timedelta(hours=step)))


def _distinct_records(rows: list[Row]) -> list[Row]:
    """Keep the last row per record; without `known_at`, that of `ds` plus the lag may be meant."""
    return list(
        {(row[0], row[1], row[3] or START + timedelta(hours=row[1]) + LAG): row for row in rows}.values()
    )


uploads = st.lists(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 3), numbers, moments), min_size=1, max_size=6
    ).map(_distinct_records),
    min_size=1,
    max_size=4,
)


def upload(rows: list[Row]) -> Panel:
    names, steps, values, known = zip(*rows, strict=True)
    target = pa.table(
        {
            "unique_id": pa.array(names, pa.string()),
            "ds": pa.array([START + timedelta(hours=step) for step in steps], TIMESTAMP),
            "y": pa.array(values, pa.float64()),
            "known_at": pa.array(known, TIMESTAMP),
        }
    )
    static = pa.table({"unique_id": sorted(set(names))})
    return Panel(target, target.slice(0, 0).select(["unique_id", "ds"]), static)


@settings(max_examples=25, deadline=None)
@given(uploads=uploads, step=st.integers(-3, 40))
def test_when_more_is_written_then_no_pinned_view_changes_and_none_shows_the_future(
    tmp_path_factory: pytest.TempPathFactory,
    uploads: list[list[Row]],
    step: int,
) -> None:
    store = PanelStore(tmp_path_factory.mktemp("store"))
    as_of = START + timedelta(hours=step)
    seen: list[tuple[VersionPins, Panel]] = []
    records: list[Stored] = []
    pins: VersionPins | None = None
    for number, rows in enumerate(uploads):
        recorded = NOW + timedelta(minutes=number)
        _record(records, rows, recorded, number)
        pins = store.write(upload(rows), after=pins, recorded_at=recorded, publication_lag=LAG).pins
        view = store.read(pins, as_of=as_of)
        keys = zip(view.target["unique_id"].to_pylist(), view.target["ds"].to_pylist(), strict=True)
        assert dict(zip(keys, view.target["y"].to_pylist(), strict=True)) == _view(records, as_of)
        seen.append((pins, view))
    for old_pins, view in seen:
        assert store.read(old_pins, as_of=as_of) == view


def _record(
    records: list[Stored],
    rows: list[Row],
    recorded: datetime,
    number: int,
) -> None:
    before = list(records)
    for name, step, value, known in rows:
        key = (name, START + timedelta(hours=step))
        stored = [record for record in before if record[0] == key]
        if known is None:
            latest = max(stored, key=lambda record: record[1:3], default=None)
            if latest is not None and latest[3] == value:
                continue
            known = key[1] + LAG if latest is None else max(recorded, latest[1])
        records.append((key, known, number, value))


def _view(records: list[Stored], as_of: datetime) -> dict[tuple[str, datetime], float | None]:
    known = sorted((record for record in records if record[1] <= as_of), key=lambda record: record[1:3])
    return {record[0]: record[3] for record in known}
