"""Files that meet are compared where they meet, whatever their number, and only there."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.ingestion import overlaps
from jobs.ingestion.file_checks import CheckedFile
from jobs.ingestion.overlaps import disagreements
from quantis.panel import Panel
from quantis.types.datasets import CheckReport

DAY = 86_400_000_000
Row = tuple[str, int, float | None]


def kept(folder: Path, name: str, rows: list[Row], static: dict[str, str] | None = None) -> CheckedFile:
    """A checked file with these rows (series, day, y), as a child keeps it."""
    from quantis.sandbox.worker import _write_panel

    place = folder / name
    place.mkdir()
    rows = sorted(rows)
    keys = {
        "unique_id": pa.array([row[0] for row in rows], pa.string()),
        "ds": pa.array([row[1] * DAY for row in rows], pa.int64())
        .cast(pa.timestamp("us"))
        .cast(pa.timestamp("us", "UTC")),
    }
    target = pa.table({**keys, "y": pa.array([row[2] for row in rows], pa.float64())})
    regions = static or {row[0]: "north" for row in rows}
    fixed = pa.table({"unique_id": list(regions), "region": list(regions.values())})
    _write_panel(Panel(target=target, future=pa.table(keys).slice(0, 0), static=fixed), place)
    report = CheckReport(file=name, outcome="accept", findings=[], series=1, rows=len(rows), freq="D")
    return CheckedFile(name, place, report, None)


def days(series: str, first: int, last: int, bump: float = 0.0) -> list[Row]:
    return [(series, day, day + bump) for day in range(first, last + 1)]


def test_when_files_only_touch_or_repeat_each_other_then_they_agree(tmp_path: Path) -> None:
    files = [
        kept(tmp_path, "a", days("x", 0, 9) + days("y", 0, 9)),
        kept(tmp_path, "b", days("x", 10, 19)),
        kept(tmp_path, "c", days("x", 5, 12) + [("z", 3, None)]),
        kept(tmp_path, "d", [("z", 3, None)]),
    ]
    assert list(disagreements(files)) == []
    assert list(disagreements([])) == []


def test_when_files_differ_in_a_value_a_null_or_a_static_one_then_each_is_named(tmp_path: Path) -> None:
    files = [
        kept(tmp_path, "a", days("x", 0, 9) + days("y", 0, 9)),
        kept(tmp_path, "b", [("x", 4, 99.0), ("y", 5, None)]),
        kept(tmp_path, "c", days("w", 0, 3), {"w": "south"}),
        kept(tmp_path, "d", days("w", 8, 9), {"w": "north"}),
    ]
    assert list(disagreements(files)) == [
        "x at 1970-01-05T00:00Z differs between a and b",
        "y at 1970-01-06T00:00Z differs between a and b",
        "w differs between c and d",
    ]


@pytest.mark.parametrize("seed", range(8))
def test_when_files_overlap_anyhow_then_what_is_found_is_what_comparing_every_pair_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(overlaps, "_ROWS", chance.choice([1, 10, 1000]))
    contents = []
    for _ in range(12):
        rows: dict[tuple[str, int], Row] = {}
        for _ in range(chance.randrange(1, 4)):
            first = chance.randrange(60)
            for name, day, y in days(chance.choice("abcdef"), first, first + chance.randrange(8)):
                assert y is not None
                rows[name, day] = (name, day, y + (chance.random() < 0.1))
        contents.append(rows)
    expected = {
        (*key, min(pair), max(pair))
        for pair in combinations(range(12), 2)
        for key in contents[pair[0]].keys() & contents[pair[1]].keys()
        if contents[pair[0]][key] != contents[pair[1]][key]
    }
    files = [kept(tmp_path, f"f{number:02}", list(rows.values())) for number, rows in enumerate(contents)]
    found = {line.split()[0] for line in disagreements(files)}
    assert found == {series for series, *_ in expected}
