from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.arrays import floats
from models.prediction.cold_start import MAX_PEERS, sample_peers, typical_forecast
from models.prediction.fallback import ForecastEntry
from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.panel import Snapshot, Task, series_slices, times_of, timestamps
from quantis.types.base import Cell


def _typical(
    others: Snapshot, task: Task, start: np.datetime64 | None, static: Mapping[str, Cell]
) -> ForecastEntry:
    entry = typical_forecast(others, task, "new", start, static)
    assert entry is not None
    return entry


@pytest.fixture
def panel(make_task, make_snapshot):
    task = make_task(season_lengths=(24,))
    snapshot, actuals = make_snapshot(task, dict.fromkeys("abcdefgh", 24 * 10))
    return task, snapshot, actuals


def test_when_a_series_has_no_value_then_it_is_what_the_others_were_at_that_hour(panel):
    task, snapshot, _ = panel
    entry = _typical(snapshot, task, None, {})
    y = floats(snapshot.history["y"])
    latest = np.stack(
        [y[rows][-96:].reshape(4, 24) for _, rows in series_slices(snapshot.history["unique_id"])]
    )
    assert entry.mean == pytest.approx(latest.mean(axis=(0, 1)))
    for q, values in entry.quantiles.items():
        assert values == pytest.approx(np.quantile(latest, q, axis=(0, 1)))
    assert entry.ds.tolist() == times_of(snapshot.future["ds"])[:24].tolist()
    assert entry.detail is not None
    assert "8 other series" in entry.detail


def test_when_statics_are_given_then_only_series_that_share_them_count(panel):
    task, snapshot, _ = panel
    alike = _typical(snapshot, task, None, {"carrier": "c1"})  # b, e, h
    y = floats(snapshot.history["y"])
    slices = dict(series_slices(snapshot.history["unique_id"]))
    latest = np.stack([y[slices[name]][-96:].reshape(4, 24) for name in "beh"])
    assert alike.mean == pytest.approx(latest.mean(axis=(0, 1)))
    everyone = _typical(snapshot, task, None, {})
    for nobody in ({"carrier": "c9"}, {"colour": "red"}, {"carrier": None}):
        assert _typical(snapshot, task, None, nobody).mean.tolist() == everyone.mean.tolist()


def test_when_it_covers_then_four_in_five_values_of_a_series_like_the_others_lie_in_its_interval(
    make_task, make_snapshot
):
    task = make_task()
    snapshot, actuals = make_snapshot(task, {f"s{i:02}": 240 for i in range(40)})
    held = [f"s{i:02}" for i in range(0, 40, 4)]
    others = Snapshot(
        *(
            table.filter(pc.invert(pc.is_in(table["unique_id"], pa.array(held))))
            for table in (snapshot.history, snapshot.future, snapshot.static)
        )
    )
    entry = _typical(others, task, None, {})
    low, high = entry.quantiles[0.1], entry.quantiles[0.9]
    y = np.stack(
        [floats(actuals["y"])[rows] for name, rows in series_slices(actuals["unique_id"]) if name in held]
    )
    assert 0.6 <= ((y >= low) & (y <= high)).mean() <= 0.95


def test_when_months_are_walked_then_the_phase_is_the_month():
    task_freq = Frequency.parse("MS")
    task = Task(
        dataset="m", version=1, content_hash="", as_of=datetime.now(UTC), freq="MS", h=3, season_lengths=(12,),
        quantiles=(0.1, 0.5, 0.9),
    )  # fmt: skip
    grid = task_freq.grid(np.datetime64("2020-01-01", "us"), np.datetime64("2023-12-01", "us"))
    ahead = task_freq.after(grid[-1], 3)
    month = (grid.astype("datetime64[M]").astype(int) % 12 + 1).astype(float)
    snapshot = Snapshot(
        pa.table({"unique_id": ["a"] * len(grid), "ds": timestamps(grid), "y": month}),
        pa.table({"unique_id": ["a"] * 3, "ds": timestamps(ahead)}),
        pa.table({"unique_id": ["a"]}),
    )
    assert _typical(snapshot, task, None, {}).mean.tolist() == [1, 2, 3]
    assert _typical(snapshot, task, np.datetime64("2025-06-01", "us"), {}).mean.tolist() == [
        6,
        7,
        8,
    ]
    assert _typical(snapshot, task, np.datetime64("2021-11-01", "us"), {}).mean.tolist() == [
        11,
        12,
        1,
    ]
    with pytest.raises(InvalidInput, match="not a step of MS"):
        _typical(snapshot, task, np.datetime64("2025-06-02", "us"), {})


def test_when_nobody_has_a_value_then_there_is_no_answer(panel):
    task, snapshot, _ = panel
    nothing = pa.nulls(snapshot.history.num_rows, pa.float64())
    empty = snapshot.history.set_column(snapshot.history.column_names.index("y"), "y", nothing)
    assert typical_forecast(Snapshot(empty, snapshot.future, snapshot.static), task, "new", None, {}) is None


def test_when_the_panel_is_large_then_its_peers_are_an_even_draw():
    names = [f"s{i:05}" for i in range(10_000)]
    drawn = sample_peers(frozenset(names))
    assert len(set(drawn)) == MAX_PEERS
    assert (drawn[0], drawn[-1]) == (names[0], names[-1])
    assert sample_peers(["b", "a"]) == ["a", "b"]
