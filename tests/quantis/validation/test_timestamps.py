"""What `ds` may look like: other forms of dates, local times with their doubts, counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from quantis.panel import Panel
from quantis.types.datasets import CheckReport, DatasetSpec
from quantis.types.reading import ReadOptions
from quantis.validation.panel_check import check_panel

PARIS = DatasetSpec(name="x", time_zone="Europe/Paris")
START = datetime(2013, 1, 25, tzinfo=UTC)


def checked(
    ds: list[object] | pa.Array, spec: DatasetSpec | None = None, **options: object
) -> tuple[CheckReport, Panel | None]:
    table = pa.table(
        {"unique_id": ["a"] * len(ds), "ds": ds, "y": [float(i * i % 7) for i in range(len(ds))]}
    )
    return check_panel(
        table, spec or DatasetSpec(name="x"), file="x", options=ReadOptions.model_validate(options)
    )


def codes(report: CheckReport) -> list[str]:
    return sorted({finding.code for finding in report.findings})


def moments(panel: Panel | None) -> list[datetime]:
    assert panel is not None
    return panel.target["ds"].to_pylist()


DAYS = [START + timedelta(days=day) for day in range(20)]  # 25 January to 13 February


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("%d/%m/%Y", "day first"),
        ("%d.%m.%Y", "day first"),
        ("%d-%m-%Y", "day first"),
        ("%m/%d/%Y", "month first"),
        ("%Y/%m/%d", "year first"),
        ("%Y.%m.%d", "year first"),
        ("%Y%m%d", "without marks"),
        ("%d %b %Y", "named month"),
        ("%d-%b-%Y", "named month"),
        ("%B %d, %Y", "named month"),
        ("%d/%m/%Y %I:%M:%S %p", "day first"),
        ("%Y-%m-%d 00:00:00 UTC", "year first"),
    ],
)
def test_when_dates_are_written_otherwise_but_clearly_then_they_are_read_and_it_is_said(
    form: str, says: str
) -> None:
    report, panel = checked([day.strftime(form) for day in DAYS])
    assert codes(report) == (["D033"] if says != "year first" or "UTC" not in form else codes(report))
    assert all(says in finding.message for finding in report.findings)
    assert moments(panel) == DAYS
    assert report.freq == "D"


@pytest.mark.parametrize(
    ("texts", "freq", "first"),
    [
        ([f"{1990 + i}" for i in range(9)], "YS", datetime(1990, 1, 1, tzinfo=UTC)),
        ([f"2013-{i + 1:02}" for i in range(9)], "MS", datetime(2013, 1, 1, tzinfo=UTC)),
        ([f"{2013 + i // 4}Q{i % 4 + 1}" for i in range(9)], "QS", datetime(2013, 1, 1, tzinfo=UTC)),
        ([f"{2013 + i // 4}-Q{i % 4 + 1}" for i in range(9)], "QS", datetime(2013, 1, 1, tzinfo=UTC)),
        ([1990 + i for i in range(9)], "YS", datetime(1990, 1, 1, tzinfo=UTC)),
        ([20130125 + i for i in range(6)], "D", datetime(2013, 1, 25, tzinfo=UTC)),
        ([1_359_072_000 + 3600 * i for i in range(9)], "h", datetime(2013, 1, 25, tzinfo=UTC)),
        ([1_359_072_000_000 + 60_000 * i for i in range(9)], "min", datetime(2013, 1, 25, tzinfo=UTC)),
    ],
)
def test_when_periods_or_epochs_are_given_then_they_are_moments_and_it_is_said(
    texts: list[object], freq: str, first: datetime
) -> None:
    report, panel = checked(texts)
    assert "D033" in codes(report)
    assert report.freq == freq
    assert moments(panel)[0] == first


AMBIGUOUS = [f"0{day}/02/2013" for day in range(1, 10)]


def test_when_day_and_month_cannot_be_told_apart_then_it_is_rejected_until_the_order_is_said() -> None:
    report, panel = checked(AMBIGUOUS)
    assert (codes(report), report.outcome, panel) == (["D029"], "reject", None)
    assert "dmy or mdy" in report.findings[0].message
    _, panel = checked(AMBIGUOUS, dates="dmy")
    assert moments(panel) == [datetime(2013, 2, day, tzinfo=UTC) for day in range(1, 10)]
    _, panel = checked(AMBIGUOUS, dates="mdy")
    assert moments(panel) == [datetime(2013, day, 2, tzinfo=UTC) for day in range(1, 10)]


def test_when_some_dates_need_the_day_first_and_others_the_month_then_it_is_rejected() -> None:
    assert codes(checked(["31/01/2013", "01/31/2013", "02/02/2013"])[0]) == ["D029"]


@pytest.mark.parametrize(
    "text", ["31/12/13", "yesterday", "2013-13-01", "2013-02-30", "31 Foo 2013", "24:00", "1e9"]
)
def test_when_a_text_is_no_date_then_its_row_is_named(text: str) -> None:
    report, _ = checked(["2013-01-01", "2013-01-02", text])
    assert [(f.code, f.row) for f in report.findings] == [("D020", 3)]


def test_when_ds_counts_then_steps_are_integers_and_it_is_said() -> None:
    for counts in (list(range(1, 20)), [str(i) for i in range(1, 20)], [float(i) for i in range(1, 20)]):
        report, panel = checked(counts)
        assert (codes(report), report.freq) == (["D035"], "1")
        assert moments(panel)[0] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert checked(list(range(0, 240, 24)))[0].freq == "24"


def local(*hours: str, day: str = "2024-10-27") -> list[object]:
    return [f"{day} {hour}" for hour in hours]


def test_when_local_times_have_no_doubt_then_they_are_moments_of_the_declared_zone() -> None:
    ds = [f"2024-07-01 {hour:02}:00" for hour in range(24)]
    report, panel = checked(ds, PARIS)
    assert codes(report) == ["D021", "D050"]
    assert any("local times of Europe/Paris" in finding.message for finding in report.findings)
    assert moments(panel)[0] == datetime(2024, 6, 30, 22, tzinfo=UTC)
    given, _ = checked(ds, DatasetSpec(name="x"), time_zone="Europe/Paris")
    assert given.findings == report.findings


def test_when_the_clock_skipped_a_time_then_its_row_is_named() -> None:
    report, panel = checked(local("00:00", "01:00", "02:00", "03:00", "04:00", day="2024-03-31"), PARIS)
    assert [(f.code, f.row, f.series) for f in report.findings if f.severity == "error"] == [("D025", 3, "a")]
    assert panel is None


def test_when_an_hour_came_twice_and_is_given_once_then_its_row_is_named() -> None:
    report, _ = checked(local("00:00", "01:00", "02:00", "03:00", "04:00"), PARIS)
    assert [(f.code, f.row, f.series) for f in report.findings if f.severity == "error"] == [("D026", 3, "a")]


def test_when_an_hour_came_twice_and_is_given_twice_then_the_first_is_the_earlier() -> None:
    report, panel = checked(local("00:00", "01:00", "02:00", "02:00", "03:00", "04:00"), PARIS)
    assert codes(report) == ["D021", "D027", "D050"]
    first = datetime(2024, 10, 26, 22, tzinfo=UTC)
    assert moments(panel) == [first + timedelta(hours=hour) for hour in range(6)]
    assert panel is not None
    assert panel.target["y"].to_pylist() == [0.0, 1.0, 4.0, 2.0, 2.0, 4.0]


def test_when_some_times_carry_a_zone_and_others_none_then_it_is_rejected_at_the_bare_ones() -> None:
    report, _ = checked(["2024-01-01T00:00Z", "2024-01-01T01:00", "2024-01-01T02:00Z"])
    assert [(f.code, f.row) for f in report.findings] == [("D028", 2)]


def test_when_days_are_local_midnights_over_summer_time_then_they_are_dates() -> None:
    start = datetime(2024, 3, 25, tzinfo=UTC)
    days = [start + timedelta(days=day) for day in range(14)]
    texts = [
        f"{day:%Y-%m-%d}T00:00:00+0{1 if (day.day < 31 and day.month == 3) or day.day == 31 else 2}:00"
        for day in days
    ]
    stamps = pa.array([day.replace(tzinfo=None) for day in days], pa.timestamp("us"))
    import pyarrow.compute as pc

    for ds in (texts, pc.assume_timezone(stamps, "Europe/Paris")):
        report, panel = checked(ds, PARIS)
        assert (codes(report), report.freq) == (["D034"], "D")
        assert moments(panel) == days


def test_when_stamps_without_a_zone_are_all_midnights_then_they_are_dates() -> None:
    stamps = pa.array([day.replace(tzinfo=None) for day in DAYS], pa.timestamp("ns"))
    report, panel = checked(stamps, PARIS)
    assert report.findings == []
    assert moments(panel) == DAYS


@pytest.mark.parametrize("freq", ["B", "ME", "QE", "YE", "W-SUN", "15min"])
def test_when_a_frequency_is_of_another_kind_then_it_is_inferred(freq: str) -> None:
    import pandas as pd

    ds = pd.date_range("2019-06-05", periods=40, freq=freq, tz="UTC")
    report, _ = checked(pa.array(ds.to_pydatetime().tolist(), pa.timestamp("us", "UTC")))
    assert report.freq == freq
    assert report.outcome != "reject"
