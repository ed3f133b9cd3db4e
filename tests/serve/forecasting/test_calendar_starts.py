"""A start, or a first time, that the calendar of the model's frequency does not have is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from quantis.frequency import Frequency
from quantis.panel import Snapshot, Task, times_of
from quantis.types.forecasts import Reason, SeriesRequest
from serve.forecasting.request_history import RequestHistory, UnusableHistoryError, forecast_start

OFF = [
    ("MS", "2024-01-31", "2024-01-01", "2024-02-01"),
    ("MS", "2024-02-29", "2024-02-01", "2024-03-01"),
    ("2MS", "2023-12-30", "2023-12-01", "2024-01-01"),
    ("ME", "2024-01-15", "2023-12-31", "2024-01-31"),
    ("ME", "2024-02-28", "2024-01-31", "2024-02-29"),
    ("QE", "2024-05-01", "2024-04-30", "2024-05-31"),
    ("QE-NOV", "2024-03-31", "2024-02-29", "2024-05-31"),
    ("QS-FEB", "2024-01-01", "2023-11-01", "2024-02-01"),
    ("YS-APR", "2024-01-01", "2023-04-01", "2024-04-01"),
    ("YE-JUN", "2024-12-31", "2024-06-30", "2025-06-30"),
    ("B", "2024-01-06", "2024-01-05", "2024-01-08"),
    ("W-SUN", "2024-01-01", "2023-12-31", "2024-01-07"),
]
ON = [
    ("MS", "2024-01-15"), ("ME", "2024-02-29"), ("QE-NOV", "2024-02-29"), ("QS", "2024-02-01"), ("B", "2024-01-05"),
    ("W-SUN", "2024-01-07"), ("W", "2024-01-03"), ("D", "2024-01-31"), ("h", "2024-01-06"), ("YE", "2024-12-31"),
]  # fmt: skip


def task(freq: str) -> Task:
    seasons = Frequency.parse(freq).season_lengths
    as_of = datetime(2026, 1, 1, tzinfo=UTC)
    return Task(dataset="x", version=1, content_hash="0", as_of=as_of, freq=freq, h=4, season_lengths=seasons)


def read(series: SeriesRequest, task: Task) -> Snapshot | None:
    """Return the snapshot of a series with values; the start alone is read of one without."""
    if series.y:
        return RequestHistory(series, task, None, 4).snapshot()
    forecast_start(series, task)
    return None


@pytest.mark.parametrize(("freq", "day", "before", "after"), OFF)
@pytest.mark.parametrize("values", [1, 3])
@pytest.mark.parametrize("field", ["start", "ds", "start of a new series"])
def test_when_a_first_time_is_off_the_calendar_then_the_nearest_two_of_it_are_named(
    freq: str, day: str, before: str, after: str, values: int, field: str
) -> None:
    time = f"{day}T06:00:00Z"
    first = np.datetime64(time.removesuffix("Z"), "us")
    later = Frequency.parse(freq).shift(np.full(values, first), np.arange(values))[1:]
    sent: dict[str, dict[str, Any]] = {
        "start": {"start": time, "y": [5.0] * values},
        "ds": {"ds": [time, *(f"{step}Z" for step in later)], "y": [5.0] * values},
        "start of a new series": {"start": time, "y": []},
    }
    series = SeriesRequest.model_validate({"unique_id": "n", **sent[field]})
    with pytest.raises(UnusableHistoryError) as caught:
        read(series, task(freq))
    assert caught.value.reason is Reason.off_grid
    name = "ds" if field == "ds" else "start"
    assert f"{name} {day}T06:00:00Z is no step of {freq}" in caught.value.detail
    assert f"nearest are {before}T06:00:00Z and {after}T06:00:00Z" in caught.value.detail


@pytest.mark.parametrize(("freq", "day"), ON)
def test_when_a_start_is_on_the_calendar_then_every_step_after_it_is(freq: str, day: str) -> None:
    sent = {"unique_id": "n", "start": f"{day}T00:00:00Z", "y": [5.0, 6.0]}
    snapshot = read(SeriesRequest.model_validate(sent), task(freq))
    assert snapshot is not None
    steps = np.concatenate([times_of(snapshot.history["ds"]), times_of(snapshot.future["ds"])])
    frequency = Frequency.parse(freq)
    assert str(steps[0])[:10] == day
    assert frequency.is_on_calendar(steps).all()
    np.testing.assert_array_equal(frequency.steps_between(steps[0], steps), np.arange(6))
