"""The times of a panel: gaps that cannot be filled, series of other frequencies, rows about the future."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from quantis.panel import TIMESTAMP
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.findings import Severity
from tests.quantis.validation.test_panel_check import START, checked, codes, days


@pytest.mark.parametrize(
    ("stray", "step", "message"),
    [
        ("1970-01-01T00:00:00Z", np.timedelta64(1, "s"), "1,704,067,199 steps of s before its other rows"),
        ("1900-01-01T00:00:00Z", np.timedelta64(1, "m"), "65,217,599 steps of min before its other rows"),
        ("2199-12-31T00:00:00Z", np.timedelta64(1, "m"), "steps of min after its other rows"),
    ],
)
def test_when_one_time_asks_for_more_steps_than_can_be_filled_then_it_is_named(
    stray: str, step: np.timedelta64, message: str
) -> None:
    times = np.datetime64("2024-01-01T00:00:00") + step * np.arange(200)
    ds = sorted([*(f"{time}Z" for time in times), stray])
    columns = {"unique_id": ["s"] * 201, "ds": ds, "y": [float(n % 7) for n in range(201)]}
    report, panel = checked(columns, DatasetSpec(name="a"))
    found = [finding for finding in report.findings if finding.code == "D049"]
    assert [(f.series, f.row, f.severity) for f in found] == [("s", ds.index(stray) + 1, Severity.error)]
    for part in (stray, message, "10,000,000"):
        assert part in found[0].message
    assert "D043" not in codes(report)
    assert panel is None


def test_when_many_series_have_a_stray_time_each_then_their_steps_are_bounded_together() -> None:
    count = 11_000
    names = np.repeat([f"s{number:05}" for number in range(count)], 3)
    ds = np.tile(np.array(["1970-01-01", "2024-01-01", "2024-01-02"], "datetime64[us]"), count)
    columns = {"unique_id": names, "ds": pa.array(ds).cast(TIMESTAMP), "y": np.arange(3.0 * count)}
    report, _ = checked(columns, DatasetSpec(name="a", freq="D"))
    (found,) = [finding for finding in report.findings if finding.code == "D049"]
    assert "the 33,000 rows span 216," in found.message
    assert "more than the 200,000,000 that a panel of so many rows may" in found.message


def test_when_a_long_pause_can_be_filled_then_it_stays_a_warning() -> None:
    ds = [*days(20, START - timedelta(days=9000)), *days(20)]
    columns = {"unique_id": ["s"] * 40, "ds": ds, "y": [float(n % 7) for n in range(40)]}
    assert codes(checked(columns, DatasetSpec(name="a"))[0]) == {"D043"}


@pytest.mark.parametrize("weekly", ["a_weekly", "s0500x", "z_weekly"])
def test_when_one_of_many_series_is_weekly_then_it_is_named_wherever_its_name_sorts(weekly: str) -> None:
    names = [f"s{number:04}" for number in range(1001)]
    ids = [*np.repeat(names, 30).tolist(), *[weekly] * 30]
    ds = [*days(30) * 1001, *(START + timedelta(weeks=week) for week in range(30))]
    columns = {"unique_id": ids, "ds": ds, "y": [float(n % 7) for n in range(len(ids))]}
    report, _ = checked(columns, DatasetSpec(name="a"))
    assert {(f.code, f.series) for f in report.findings if f.severity is Severity.error} == {("D041", weekly)}


@pytest.mark.parametrize("turned", [False, True])
def test_when_two_frequencies_are_as_common_then_the_panels_is_that_of_more_rows(turned: bool) -> None:
    daily, weekly = ("z", "a") if turned else ("a", "z")
    columns = {
        "unique_id": [daily] * 40 + [weekly] * 20,
        "ds": [*days(40), *(START + timedelta(weeks=week) for week in range(20))],
        "y": [float(n % 7) for n in range(60)],
    }
    report, _ = checked(columns, DatasetSpec(name="a"))
    assert (report.freq, {(f.code, f.series) for f in report.findings if f.code == "D041"}) == (
        "D",
        {("D041", weekly)},
    )


@pytest.mark.parametrize("freq", [None, "s", "min", "1"])
@pytest.mark.parametrize(
    ("step_ms", "shown"), [(100, "0.1 seconds"), (1, "0.001 seconds"), (1500, "1.5 seconds")]
)
def test_when_steps_are_fractions_of_a_second_then_that_is_said_and_nothing_else(
    freq: str | None, step_ms: int, shown: str
) -> None:
    times = np.datetime64("2024-01-01T00:00:00", "us") + np.arange(100) * np.timedelta64(step_ms, "ms")
    columns = {
        "unique_id": ["s"] * 100,
        "ds": [f"{time}Z" for time in times],
        "y": [float(n % 7) for n in range(100)],
    }
    report, panel = checked(columns, DatasetSpec(name="a", freq=freq))
    errors = [finding for finding in report.findings if finding.severity is Severity.error]
    assert [(f.code, f.series) for f in errors] == [("D048", "s")]
    assert shown in errors[0].message
    assert "aggregate" in errors[0].message
    assert panel is None


AHEAD = DatasetSpec(name="a", roles=Roles(futr_exog=("price",)))


def with_future(ahead: list[datetime], observed: int = 20) -> dict[str, object]:
    """Daily values with a price, then rows that hold the price alone."""
    count = observed + len(ahead)
    y = [float(n % 7) for n in range(observed)]
    return {
        "unique_id": ["s"] * count,
        "ds": [*days(observed), *ahead],
        "y": [*y, *[None] * len(ahead)],
        "price": [1.0 + n % 3 for n in range(count)],
    }


def test_when_rows_ahead_are_off_the_grid_then_each_is_named() -> None:
    report, panel = checked(with_future(days(7, START + timedelta(days=20, hours=1))), AHEAD)
    found = [finding for finding in report.findings if finding.code == "D042"]
    assert [(f.series, f.row, f.column) for f in found] == [("s", row, "ds") for row in range(21, 28)]
    assert "2024-01-21T01:00:00Z holds values known in advance" in found[0].message
    assert "a whole number of D after 2024-01-01T00:00:00Z" in found[0].message
    assert panel is None


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        ((0, 1, 4, 5, 6), "2 of its 7 steps ahead: 2024-01-23T00:00:00Z, 2024-01-24T00:00:00Z"),
        (
            (6,),
            "6 of its 7 steps ahead: 2024-01-21T00:00:00Z, 2024-01-22T00:00:00Z, 2024-01-23T00:00:00Z and 3 more",
        ),
        ((1, 2), "1 of its 3 steps ahead: 2024-01-21T00:00:00Z"),
    ],
)
def test_when_steps_ahead_have_no_row_then_they_are_named(kept: tuple[int, ...], missing: str) -> None:
    ahead = [START + timedelta(days=20 + day) for day in kept]
    report, panel = checked(with_future(ahead), AHEAD)
    found = [finding for finding in report.findings if finding.code == "D061"]
    assert [(f.series, f.severity) for f in found] == [("s", Severity.warning)]
    assert f"s has no row for {missing};" in found[0].message
    assert panel is not None
    assert panel.future.num_rows == 20 + len(kept)


def test_when_every_step_ahead_has_a_row_then_nothing_is_said() -> None:
    assert checked(with_future(days(7, START + timedelta(days=20))), AHEAD)[0].findings == []


@pytest.mark.parametrize(
    ("freq", "ds"),
    [
        ("MS", ["2024-01-31"]),
        ("ME", ["2024-01-15", "2024-02-15"]),
        ("B", ["2024-01-06"]),
        ("QE-NOV", ["2024-03-31"]),
    ],
)
def test_when_times_are_off_the_calendar_of_the_declared_frequency_then_each_is_named_once(
    freq: str, ds: list[str]
) -> None:
    columns = {"unique_id": ["s"] * len(ds), "ds": ds, "y": [float(n) for n in range(len(ds))]}
    report, _ = checked(columns, DatasetSpec(name="a", freq=freq))
    found = [finding for finding in report.findings if finding.code == "D042"]
    assert [finding.row for finding in found] == list(range(1, len(ds) + 1))
    assert all(f"{day} is not a step of {freq};" in f.message for day, f in zip(ds, found, strict=True))
