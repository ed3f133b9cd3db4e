"""The data check: each code on a table that breaks one rule, and the panel of one that breaks none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quantis.panel import TIMESTAMP, Panel
from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.findings import Severity
from quantis.validation.findings import RULES, SHOWN_PER_CODE
from quantis.validation.panel_check import check_panel, detect_spec

START = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = DatasetSpec(
    name="shop",
    roles=Roles(futr_exog=("promo",), hist_exog=("temp",), stat_exog=("city",), categorical=("city",)),
)


def days(count: int, start: datetime = START) -> list[datetime]:
    return [start + timedelta(days=day) for day in range(count)]


def good(series: tuple[str, ...] = ("a", "b"), length: int = 20) -> dict[str, list[Any]]:
    """Columns of a table that breaks no rule."""
    rows = len(series) * length
    return {
        "unique_id": [name for name in series for _ in range(length)],
        "ds": days(length) * len(series),
        "y": [float(i % 7) for i in range(rows)],
        "promo": [float(i % 2) for i in range(rows)],
        "temp": [float(i) for i in range(rows)],
        "city": [f"city {name}" for name in series for _ in range(length)],
    }


def checked(columns: Mapping[str, object], spec: DatasetSpec = SPEC) -> tuple[CheckReport, Panel | None]:
    return check_panel(pa.table(columns), spec, file="shop.csv")


def codes(report: CheckReport) -> set[str]:
    return {finding.code for finding in report.findings}


def test_when_nothing_is_wrong_then_the_panel_holds_each_role_apart() -> None:
    report, panel = checked(good())
    assert (report.outcome, report.findings, report.series, report.rows, report.freq) == (
        "accept",
        [],
        2,
        40,
        "D",
    )
    assert panel is not None
    assert panel.target.schema.names == ["unique_id", "ds", "y", "temp"]
    assert panel.target.schema.field("ds").type == TIMESTAMP
    assert panel.target["y"].to_pylist() == good()["y"]
    assert panel.future.schema.names == ["unique_id", "ds", "promo"]
    assert panel.static.to_pylist() == [{"unique_id": n, "city": f"city {n}"} for n in "ab"]


def changed(**cells: tuple[int, object]) -> dict[str, object]:
    """A good table of texts with some cells replaced: column=(row, value)."""
    columns = good()
    columns["ds"] = [moment.strftime("%Y-%m-%dT%H:%MZ") for moment in columns["ds"]]
    for column in ("y", "promo", "temp"):
        columns[column] = [str(value) for value in columns[column]]
    for column, (row, value) in cells.items():
        columns[column][row] = value
    return dict(columns)


BROKEN = {
    "D010": (changed(unique_id=(3, "")), 4, "unique_id"),
    "D011": (changed(unique_id=(3, "x" * 257)), 4, "unique_id"),
    "D013": (changed(unique_id=(3, "a\nb")), 4, "unique_id"),
    "D020": (changed(ds=(5, "2024-02-30")), 6, "ds"),
    "D022": (changed(ds=(5, "0204-01-06")), 6, "ds"),
    "D030": (changed(y=(7, "twelve")), 8, "y"),
    "D031": (changed(temp=(7, "inf")), 8, "temp"),
    "D032": (changed(promo=(7, "yes")), 8, "promo"),
    "D001": (changed(ds=(1, "2024-01-01T00:00Z")), 2, None),
    "D042": (changed(ds=(5, "2024-01-06T00:07Z")), 6, "ds"),
}


@pytest.mark.parametrize("code", BROKEN)
def test_when_one_cell_is_wrong_then_its_row_and_column_are_named_and_nothing_is_kept(code: str) -> None:
    columns, row, column = BROKEN[code]
    report, panel = checked(columns)
    found = [finding for finding in report.findings if finding.code == code]
    assert [(f.row, f.column, f.severity) for f in found] == [(row, column, Severity.error)]
    assert RULES[code].remedy in found[0].message
    assert report.outcome == "reject"
    assert panel is None


@pytest.mark.parametrize("column", ["unique_id", "ds", "y", "promo", "city"])
def test_when_a_declared_column_is_missing_then_it_is_rejected(column: str) -> None:
    columns = good()
    del columns[column]
    report, panel = checked(columns)
    assert [(f.code, f.column) for f in report.findings] == [("D003", column)]
    assert panel is None


def test_when_a_column_has_no_role_then_it_is_left_out_with_a_warning() -> None:
    report, panel = checked({**good(), "note": ["x"] * 40})
    assert (report.outcome, codes(report)) == ("accept_with_warning", {"D004"})
    assert panel is not None
    assert "note" not in panel.target.column_names


def test_when_a_row_is_repeated_then_it_counts_once() -> None:
    columns = {name: [*values, values[0]] for name, values in good().items()}
    report, panel = checked(columns)
    assert {"D002"} < codes(report) <= {"D002", "D044"}
    assert panel is not None
    assert panel.target.num_rows == 40


def test_when_rows_are_shuffled_then_it_is_said_and_the_panel_is_the_same() -> None:
    table = pa.table(good())
    mixed = table.take(np.random.default_rng(1).permutation(40))
    report, panel = check_panel(mixed, SPEC, file="x")
    assert (report.outcome, codes(report)) == ("accept_with_warning", {"D044"})
    assert panel == check_panel(table, SPEC, file="x")[1]


def test_when_whole_series_are_in_another_order_then_nothing_is_said() -> None:
    assert checked(good(("b", "a")))[0].findings == []


def test_when_steps_are_missing_then_the_gap_is_counted_per_series() -> None:
    table = pa.table(good(("a", "b"), 30)).filter(pa.array([i not in (4, 5, 40) for i in range(60)]))
    report, panel = check_panel(table, SPEC, file="x")
    gaps = {f.series: f.message for f in report.findings if f.code == "D043"}
    assert gaps.keys() == {"a", "b"}
    assert gaps["a"].startswith("a lacks 2 steps of 30")
    assert gaps["b"].startswith("b lacks 1 steps of 30")
    assert panel is not None


def test_when_a_series_has_a_step_of_its_own_then_frequencies_are_mixed() -> None:
    weekly = good(("c",), 10)
    weekly["ds"] = [START + timedelta(weeks=week) for week in range(10)]
    both = {name: values + weekly[name] for name, values in good().items()}
    report, _ = checked(both)
    assert [(f.code, f.series) for f in report.findings if f.severity is Severity.error] == [("D041", "c")]


def test_when_no_step_repeats_then_a_frequency_must_be_declared() -> None:
    columns = good(("a",), 2)
    assert "D040" in codes(checked(columns)[0])
    report, _ = checked(columns, SPEC.model_copy(update={"freq": "D"}))
    assert (report.freq, codes(report)) == ("D", {"D050"})


def test_when_times_have_no_zone_then_they_are_utc_and_it_is_said() -> None:
    columns = {
        **good(),
        "ds": [(moment + timedelta(hours=5)).strftime("%Y-%m-%d %H:%M") for moment in days(20)] * 2,
    }
    report, panel = checked(columns)
    assert (report.outcome, codes(report)) == ("accept_with_warning", {"D021"})
    assert panel is not None
    assert panel.target["ds"][0].as_py() == START + timedelta(hours=5)


def test_when_hours_have_offsets_then_they_are_turned_into_utc() -> None:
    hours = [START + timedelta(hours=hour) for hour in range(20)]
    columns = {**good(), "ds": [hour.strftime("%Y-%m-%dT%H:%M+02:00") for hour in hours] * 2}
    report, panel = checked(columns)
    assert report.outcome != "reject"
    assert panel is not None
    assert panel.target["ds"][0].as_py() == START - timedelta(hours=2)


def test_when_days_have_an_offset_then_they_stay_the_days_of_that_clock() -> None:
    columns = {**good(), "ds": [moment.strftime("%Y-%m-%dT%H:%M+02:00") for moment in days(20)] * 2}
    report, panel = checked(columns)
    assert [finding.code for finding in report.findings] == ["D034"]
    assert panel is not None
    assert panel.target["ds"][0].as_py() == START


def test_when_dates_are_given_then_no_zone_is_asked_for() -> None:
    columns = {**good(), "ds": [moment.strftime("%Y-%m-%d") for moment in days(20)] * 2}
    assert checked(columns)[0].findings == []


def test_when_a_series_is_short_constant_or_empty_then_it_is_a_warning() -> None:
    short, constant, empty = good(("s",), 5), good(("k",), 20), good(("e",), 20)
    constant["y"], empty["y"] = [3.0] * 20, [None] * 20
    parts = [good(), short, constant, empty]
    report, panel = checked({name: [value for part in parts for value in part[name]] for name in short})
    found = {(f.code, f.series) for f in report.findings}
    assert found == {("D050", "s"), ("D051", "k"), ("D052", "e")}
    assert report.outcome == "accept_with_warning"
    assert panel is not None


def test_when_no_series_has_a_value_then_it_is_rejected() -> None:
    report, _ = checked({**good(), "y": [None] * 40})
    assert codes(report) == {"D053"}


def test_when_a_static_column_varies_then_the_series_is_named() -> None:
    columns = good()
    columns["city"][25] = "elsewhere"
    report, _ = checked(columns)
    assert [(f.code, f.series, f.column) for f in report.findings] == [("D060", "b", "city")]


def test_when_a_static_value_is_missing_in_places_then_the_given_one_counts() -> None:
    columns = good()
    columns["city"][:19] = [None] * 19
    report, panel = checked(columns)
    assert report.findings == []
    assert panel is not None
    assert panel.static["city"].to_pylist() == ["city a", "city b"]


def test_when_a_known_future_value_is_missing_then_it_is_counted() -> None:
    columns = good()
    columns["promo"][3:5] = [None, None]
    report, _ = checked(columns)
    assert [(f.code, f.column) for f in report.findings] == [("D061", "promo")]
    assert report.findings[0].message.startswith("promo is empty in 2 rows")


def test_when_an_id_reads_as_a_formula_then_it_is_a_warning_at_its_first_row() -> None:
    report, panel = checked(good(("=cmd()", "b")))
    assert [(f.code, f.row) for f in report.findings] == [("D012", 1)]
    assert panel is not None


def test_when_rows_follow_the_last_y_with_known_future_values_then_they_are_future_only() -> None:
    columns = good()
    for row in (18, 19):
        columns["y"][row] = columns["temp"][row] = None
    columns["y"][39] = None  # its temperature was observed, so the row is history
    report, panel = checked(columns)
    (finding,) = report.findings
    assert (finding.code, finding.series, report.outcome) == ("D059", "b", "accept")
    assert finding.message.startswith("y is missing in 1 of 38 rows, in 1 series (b 1);")
    assert panel is not None
    assert panel.target.num_rows == 38
    assert panel.future.num_rows == 40
    assert panel.target["y"].to_pylist()[-1] is None


def test_when_there_is_nan_then_it_is_a_missing_value() -> None:
    columns = good()
    columns["y"][3] = float("nan")
    report, panel = checked(columns)
    assert codes(report) == {"D059"}
    assert panel is not None
    assert panel.target["y"].null_count == 1


def test_when_values_were_corrected_then_known_at_tells_them_apart() -> None:
    columns = {name: [*values, values[0]] for name, values in good().items()}
    columns["y"][40] = 99.0
    columns["known_at"] = [
        moment + timedelta(days=1) for moment in [*days(20), *days(20), START + timedelta(days=9)]
    ]
    report, panel = checked(columns)
    assert codes(report) == {"D044"}
    assert panel is not None
    assert panel.target.num_rows == 41
    assert panel.target.slice(0, 2)["y"].to_pylist() == [0.0, 99.0]
    assert panel.future.num_rows == 40
    assert panel.future["known_at"].null_count == 40


def test_when_a_value_is_known_before_its_time_then_it_is_a_warning() -> None:
    columns = {**good(), "known_at": [START - timedelta(days=1)] * 40}
    assert codes(checked(columns)[0]) == {"D024"}
    columns = {**good(), "known_at": ["2024-13-01"] + ["2025-01-01"] * 39}
    assert codes(checked(columns)[0]) == {"D023"}


def test_when_one_code_is_found_in_many_rows_then_the_rest_is_one_finding() -> None:
    columns = {**good(), "y": ["no"] * 40}
    found = [f for f in checked(columns)[0].findings if f.code == "D030"]
    assert len(found) == SHOWN_PER_CODE + 1
    assert found[-1].row is None
    assert found[-1].message.startswith(f"{40 - SHOWN_PER_CODE} more of the same")


def test_when_there_are_no_rows_then_it_is_rejected() -> None:
    report, panel = checked({name: pa.array([], pa.string()) for name in good()})
    assert (codes(report), report.outcome, panel) == ({"D005"}, "reject", None)


def test_when_roles_are_detected_then_numbers_are_observed_and_constant_texts_static() -> None:
    table = pa.table({**good(), "note": [f"{i}" for i in range(40)]})
    spec = detect_spec(table, "shop")
    assert spec.roles == Roles(hist_exog=("promo", "temp"), stat_exog=("city",), categorical=("city",))
    assert codes(check_panel(table, spec, file="x")[0]) == {"D004"}


def test_when_200_000_rows_are_checked_then_it_takes_few_seconds_at_most() -> None:
    rows, each = 200_000, 2_000
    first = np.datetime64("2024-01-01", "us")
    ds = np.tile(first + np.arange(each) * np.timedelta64(1, "h"), rows // each)
    table = pa.table(
        {
            "unique_id": np.repeat([f"series {i}" for i in range(rows // each)], each),
            "ds": [str(moment) + "Z" for moment in ds],
            "y": np.random.default_rng(1).normal(size=rows),
        }
    )
    began = time.process_time()
    report, panel = check_panel(table, DatasetSpec(name="big"), file="big.csv")
    assert time.process_time() - began < 3
    assert report.findings == []
    assert panel is not None
    assert panel.target.num_rows == rows
