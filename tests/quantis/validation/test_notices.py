"""Notices of values read otherwise than they are written: missing ones, texts as numbers, offsets, dates to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from quantis.reading import read_table
from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.findings import Finding, Severity
from quantis.validation.panel_check import check_panel
from tests.quantis.validation.test_panel_check import checked, good

START = datetime(2024, 1, 1, tzinfo=UTC)


def only(report: CheckReport, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    assert finding.severity is Severity.info
    return finding


def hourly(ds: list[Any], y: list[Any] | pa.Array | None = None) -> CheckReport:
    table = pa.table({"unique_id": ["a"] * len(ds), "ds": ds, "y": range(len(ds)) if y is None else y})
    return check_panel(table, DatasetSpec(name="x", freq="h"), file="x")[0]


def test_when_values_of_y_are_missing_then_they_are_counted_with_their_series() -> None:
    columns = good(("a", "b", "c", "d", "e"))
    for row in (3, 4, 5, 25, 45, 46, 85):
        columns["y"][row] = None
    report, panel = checked(columns)
    finding = only(report, "D059")
    assert (report.outcome, finding.series, finding.column) == ("accept", "a", "y")
    assert "y is missing in 7 of 100 rows, in 4 series (a 3, b 1, c 2 and 1 more);" in finding.message
    assert panel is not None


def test_when_a_series_has_no_value_then_it_is_not_counted_as_missing() -> None:
    columns = good()
    columns["y"][20:] = [None] * 20
    assert {finding.code for finding in checked(columns)[0].findings} == {"D052"}


def test_when_only_the_future_has_no_y_then_nothing_is_missing() -> None:
    columns = good()
    for row in (18, 19, 38, 39):
        columns["y"][row] = columns["temp"][row] = None
    assert checked(columns)[0].findings == []


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (
            ["1.5", " 2 ", None, "+3e1"],
            "y holds 3 texts, taken as numbers: '1.5' as 1.5, ' 2 ' as 2, '+3e1' as 30",
        ),
        (
            [True, False, True, True],
            "y holds 4 truth values, taken as numbers: 'true' as 1, 'false' as 0, 'true' as 1",
        ),
        (["007", "1", "2", "nan"], "y holds 3 texts, taken as numbers: '007' as 7, '1' as 1, '2' as 2"),
    ],
)
def test_when_values_are_no_numbers_but_are_taken_as_such_then_a_finding_shows_some(
    y: list[Any], text: str
) -> None:
    ds = [START + timedelta(hours=hour) for hour in range(4)]
    finding = only(hourly(ds, pa.array(y)), "D039")
    assert (finding.column, text in finding.message) == ("y", True)


def test_when_a_covariate_is_text_then_it_is_named_too_but_a_category_is_not() -> None:
    columns = good() | {"temp": [str(value) for value in good()["temp"]]}
    assert only(checked(columns)[0], "D039").column == "temp"


def test_when_a_csv_holds_plain_numbers_then_they_are_no_texts() -> None:
    data = b"unique_id,ds,y\n" + b"".join(b'"a","2024-01-%02d","%d.5"\n' % (day, day) for day in range(1, 20))
    report, _ = check_panel(read_table(data, name="x"), DatasetSpec(name="x"), file="x")
    assert report.findings == []


@pytest.mark.parametrize("hours", [1, 24], ids=["hours", "days"])
def test_when_times_carry_several_offsets_then_a_finding_says_that_they_are_converted(hours: int) -> None:
    zones = ["+00:00", "+02:00", "-05:00"]
    ds = []
    for step in range(30):
        offset = int(zones[step % 3][:3])
        local = START + timedelta(hours=step * hours + offset)
        ds.append(f"{local:%Y-%m-%dT%H:%M:%S}{zones[step % 3]}")
    table = pa.table({"unique_id": ["a"] * 30, "ds": ds, "y": range(30)})
    spec = DatasetSpec(name="x", freq="h" if hours == 1 else "D")
    report, panel = check_panel(table, spec, file="x")
    assert (
        "times carry 3 offsets (-05:00, +00:00, +02:00): all are converted to UTC"
        in only(report, "D038").message
    )
    assert panel is not None
    assert panel.target["ds"].to_pylist() == [START + timedelta(hours=step * hours) for step in range(30)]


def test_when_values_are_dated_far_ahead_then_a_finding_says_so() -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    ds = [now - timedelta(hours=30 - step) for step in range(30)] + [now + timedelta(days=4000)]
    finding = only(hourly(ds), "D045")
    assert (finding.series, finding.row) == ("a", 31)


def test_when_a_covariate_is_missing_then_y_is_not() -> None:
    columns = good() | {"temp": [None, *good()["temp"][1:]]}
    report, _ = check_panel(
        pa.table(columns),
        DatasetSpec(
            name="x", roles=Roles(hist_exog=("promo", "temp"), stat_exog=("city",), categorical=("city",))
        ),
        file="x",
    )
    assert report.findings == []
