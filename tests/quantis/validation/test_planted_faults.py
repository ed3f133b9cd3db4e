"""1,000 series of 400 days with faults of every kind in known places: each is named, and nothing else."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.findings import Severity
from quantis.validation.panel_check import check_panel

SERIES, DAYS = 1000, 400
SPEC = DatasetSpec(
    name="shops",
    roles=Roles(
        futr_exog=("promo", "price"), hist_exog=("temp",), stat_exog=("city",), categorical=("city",)
    ),
)
NAMES = [f"shop {i:04d}" for i in range(SERIES)]
Columns = dict[str, npt.NDArray[Any]]


def clean(seed: int = 7) -> Columns:
    """A panel with trend, week, noise and covariates, that breaks no rule."""
    rng = np.random.default_rng(seed)
    day = np.tile(np.arange(DAYS), SERIES)
    level = np.repeat(rng.uniform(50, 500, SERIES), DAYS)
    week = 1 + 0.3 * np.sin(2 * np.pi * day / 7)
    growth = 1 + np.repeat(rng.normal(0, 0.1, SERIES), DAYS) * day / DAYS
    promo = (rng.random(SERIES * DAYS) < 0.15).astype(float)
    noise = rng.normal(0, 0.08, SERIES * DAYS)
    return {
        "unique_id": np.repeat(np.array(NAMES, object), DAYS),
        "ds": (np.datetime64("2023-01-01") + day).astype(str).astype(object),
        "y": np.round(level * week * growth * (1 + 0.2 * promo + noise), 2),
        "promo": promo,
        "price": np.round(rng.uniform(5, 9, SERIES * DAYS), 2),
        "temp": np.round(15 + 10 * np.sin(2 * np.pi * day / 365) + rng.normal(0, 3, SERIES * DAYS), 1),
        "city": np.repeat(np.array([f"city {i % 9}" for i in range(SERIES)], object), DAYS),
    }


def rows_of(series: int, start: int = 0, stop: int = DAYS) -> slice:
    return slice(series * DAYS + start, series * DAYS + stop)


def checked(columns: Columns, keep: npt.NDArray[Any] | None = None) -> CheckReport:
    table = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})
    if keep is not None:
        table = table.take(pa.array(keep))
    report, panel = check_panel(table, SPEC, file="shops.csv")
    assert (panel is None) == (report.outcome == "reject")
    return report


def found(report: CheckReport) -> set[tuple[str, str | None]]:
    return {(finding.code, finding.series) for finding in report.findings}


def planted_warnings() -> tuple[Columns, npt.NDArray[Any], set[tuple[str, str | None]]]:
    """(columns, rows in the order of the file, what is to be found) of a panel that is still accepted."""
    columns = clean()
    y = columns["y"]
    expected: set[tuple[str, str | None]] = set()

    def plant(code: str, *series: int) -> None:
        expected.update((code, NAMES[one]) for one in series)

    for one in (10, 511):
        y[rows_of(one)] = 42.0
    plant("D051", 10, 511)
    y[rows_of(20)] = 0.0
    plant("D056", 20)
    y[rows_of(30)] = np.nan
    plant("D052", 30)
    rng = np.random.default_rng(3)
    y[rows_of(40)] *= rng.random(DAYS) < 0.2
    plant("D054", 40)
    y[rows_of(50, 0, 120)] = 0.0
    plant("D055", 50)
    y[rows_of(60, 200, 201)] = 90_000.0
    y[rows_of(61, 77, 78)] = -50_000.0
    plant("D057", 60, 61)
    y[rows_of(70, 180)] += 4 * y[rows_of(70)].mean()
    plant("D058", 70)
    columns["promo"][rows_of(80, 380)] = np.nan
    plant("D062", 80)
    columns["price"][rows_of(90)] = y[rows_of(90)]
    columns["temp"][rows_of(91, 0, DAYS - 1)] = y[rows_of(91, 1)]  # tomorrow's y
    columns["temp"][rows_of(92, 7)] = y[rows_of(92, 0, DAYS - 7)]  # last week's
    plant("D063", 90, 91, 92)
    columns["price"][rows_of(100, 50, 52)] = np.nan
    expected.add(("D061", None))
    keep = np.ones(SERIES * DAYS, dtype=bool)
    keep[rows_of(110, 100, 103)] = False
    plant("D043", 110)
    keep[rows_of(120, 10)] = False
    plant("D050", 120)
    columns["unique_id"][rows_of(130)] = "=cmd()"
    columns["unique_id"][rows_of(140)] = " padded"
    expected |= {("D012", "=cmd()"), ("D014", " padded")}
    rows = np.flatnonzero(keep)
    again = np.arange(*rows_of(150, 5, 8).indices(SERIES * DAYS)[:2])
    rows = np.insert(rows, np.searchsorted(rows, again, side="right"), again)
    plant("D002", 150)
    swapped = np.searchsorted(rows, rows_of(160).start)
    rows[[swapped + 3, swapped + 9]] = rows[[swapped + 9, swapped + 3]]
    expected.add(("D044", None))
    return columns, rows, expected


def test_when_a_panel_is_clean_then_nothing_is_said() -> None:
    for seed in (7, 8):
        report = checked(clean(seed))
        assert report.findings == []
        assert (report.outcome, report.series, report.rows, report.freq) == (
            "accept",
            SERIES,
            SERIES * DAYS,
            "D",
        )


def test_when_faults_that_can_be_lived_with_are_planted_then_each_is_named_and_nothing_else() -> None:
    columns, rows, expected = planted_warnings()
    report = checked(columns, rows)
    assert found(report) == expected
    assert report.outcome == "accept_with_warning"
    outlier = next(f for f in report.findings if f.code == "D057" and f.series == NAMES[61])
    assert outlier.row is not None
    assert columns["y"][rows[outlier.row - 1]] == -50_000.0


REJECTED: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    # code: ({column: the value in day 9 of series 200}, series named, column named)
    "D001": ({"ds": "2023-01-09"}, NAMES[200], None),
    "D010": ({"unique_id": ""}, None, "unique_id"),
    "D011": ({"unique_id": "x" * 300}, "x" * 256, "unique_id"),
    "D013": ({"unique_id": "a\x00b"}, "a\x00b", "unique_id"),
    "D020": ({"ds": "2023-02-30"}, None, "ds"),
    "D022": ({"ds": "1023-01-10"}, None, "ds"),
    "D030": ({"y": "twelve"}, None, "y"),
    "D031": ({"y": float("inf")}, None, "y"),
    "D032": ({"promo": "yes"}, None, "promo"),
    "D042": ({"ds": "2023-01-10T06:30Z"}, NAMES[200], "ds"),
    "D060": ({"city": "elsewhere"}, NAMES[200], "city"),
}


@pytest.mark.parametrize("code", REJECTED)
def test_when_a_fault_that_leaves_a_value_open_is_planted_then_it_alone_is_named(code: str) -> None:
    change, series, column = REJECTED[code]
    columns, row = clean(), 200 * DAYS + 9
    for name, value in change.items():
        columns[name] = columns[name].astype(object)
        texts = isinstance(value, str) and name in ("y", "promo")
        columns[name] = np.array([str(v) for v in columns[name]], object) if texts else columns[name]
        columns[name][row] = value
    report = checked(columns)
    errors = [finding for finding in report.findings if finding.severity is Severity.error]
    assert [(f.code, f.series, f.row, f.column) for f in errors] == [
        (code, series, None if code == "D060" else row + 1, column)
    ]
    # A row that is elsewhere leaves a gap behind where it was.
    assert {f.code for f in report.findings} - {code} <= ({"D043"} if "ds" in change else set())
    assert report.outcome == "reject"


def test_when_400_000_rows_are_checked_then_it_takes_less_than_two_seconds() -> None:
    columns, rows, _ = planted_warnings()
    table = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()}).take(
        pa.array(rows)
    )
    began = time.process_time()
    check_panel(table, SPEC, file="shops.csv")
    assert time.process_time() - began < 2
