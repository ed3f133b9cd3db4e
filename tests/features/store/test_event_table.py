"""An append-only table: an append that was made is not made again, and the counters survive whatever is rewritten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.store import event_table
from features.store.event_table import EventTable

SCHEMA = pa.schema([("name", pa.string()), ("values", pa.list_(pa.float64()))])


@pytest.fixture
def table(tmp_path: Path) -> EventTable:
    return EventTable(tmp_path / "events", SCHEMA, ["name"])


def rows(*names: str) -> pa.Table:
    return pa.table({"name": list(names), "values": [[1.0, 2.0]] * len(names)}, schema=SCHEMA)


def test_when_nothing_was_appended_then_it_is_empty(table: EventTable) -> None:
    assert (table.progress("batch"), table.count(), table.delete("name = 'a'")) == (None, 0, 0)
    assert table.read().schema == SCHEMA
    assert not table.compact()


def test_when_an_append_is_made_again_then_nothing_is_doubled(table: EventTable) -> None:
    assert table.append(rows("a", "b"), {"batch": 1})
    assert not table.append(rows("a", "b"), {"batch": 1})
    assert table.append(rows("c"), {"batch": 1, "version": 5})
    assert (table.count(), table.progress("batch"), table.progress("version")) == (3, 1, 5)
    assert table.read(pc.field("name") == "c", ["name"]).to_pylist() == [{"name": "c"}]


def test_when_there_are_no_rows_then_the_counters_advance_without_a_file(table: EventTable) -> None:
    table.append(rows("a"), {"batch": 1})
    files = len(list(table.folder.glob("*.parquet")))
    assert table.append(rows(), {"batch": 2})
    assert table.progress("batch") == 2
    assert len(list(table.folder.glob("*.parquet"))) == files


def test_when_files_are_many_then_they_are_written_together_and_the_counters_stay(
    table: EventTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_table, "_MANY_FILES", 10)
    table.append(rows("z"), {"other": 7})
    for number in range(1, 31):
        table.append(rows(f"name {number:02}"), {"batch": number})
        table.compact()
    assert len(list(table.folder.glob("*.parquet"))) < 12
    assert (table.count(), table.progress("batch"), table.progress("other")) == (31, 30, 7)
    assert table.delete("name = 'z'") == 1
    assert (table.count(), table.progress("other")) == (30, 7)
    again = EventTable(table.folder, SCHEMA, ["name"])
    assert not again.append(rows("a"), {"other": 7})
