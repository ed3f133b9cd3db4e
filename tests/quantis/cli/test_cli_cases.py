"""`quantis data check` on files that users of forecasting tools reported as faults: each prints what is right.

The files are invented after the reports; `k06` are pairs, whose second file is checked against a stored first one in
`tests/cluster/datasets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parents[1] / "cases"


@dataclass(frozen=True)
class Expected:
    outcome: str
    codes: str  # of all findings but those of single series and rows, which others may join
    series: int
    freq: str | None
    options: tuple[str, ...] = ()
    message: str = ""  # part of some finding's


ACCEPT, WARN, REJECT = "accept", "accept_with_warning", "reject"
PANELS = ("--static", "p,q", "--categorical", "p,q")
EXPECTED = {
    "k01_base.csv": Expected(ACCEPT, "", 2, "D"),
    "k02_promo.csv": Expected(
        ACCEPT, "", 3, "D", ("--futr", "promo", "--static", "region", "--categorical", "region")
    ),
    "k05_column_names.csv": Expected(ACCEPT, "D059", 3, "D"),
    "k06_berlin_1_winter.parquet": Expected(
        WARN, "D034", 1, "D", message="kept as the local 2024-11-01T00:00"
    ),
    "k06_berlin_2_spring.parquet": Expected(
        WARN, "D034", 1, "D", message="kept as the local 2025-03-01T00:00"
    ),
    "k06_shifted_1.csv": Expected(ACCEPT, "", 1, "D"),
    "k06_shifted_2.csv": Expected(ACCEPT, "", 1, "D"),
    "k07_gas_day_local_0600.csv": Expected(WARN, "D021", 1, "D", ("--time-zone", "Europe/Berlin")),
    "k07_gas_day_with_offsets.csv": Expected(
        WARN, "D034", 1, "D", message="kept as the local 2024-01-10T06:00"
    ),
    "k08_tokyo_daily.parquet": Expected(WARN, "D034", 1, "D", message="kept as the local 2024-01-01T00:00"),
    "k09_yyyymm.csv": Expected(WARN, "D033", 1, "MS", message="'202101' are read as year and month"),
    "k10_epoch_ms_1995.csv": Expected(WARN, "D033", 1, "D", message="milliseconds since 1970"),
    "k10_epoch_ns_2024.csv": Expected(WARN, "D033", 1, "D", message="nanoseconds since 1970"),
    "k10_epoch_s_1999.csv": Expected(WARN, "D033", 1, "D", message="seconds since 1970"),
    "k10_epoch_s_over_2001_09_09.csv": Expected(WARN, "D033", 1, "D", message="seconds since 1970"),
    "k11_weekly_sorted_first.parquet": Expected(REJECT, "D041", 1002, "D", message="a_weekly has steps of W"),
    "k11_weekly_sorted_last.parquet": Expected(REJECT, "D041", 1002, "D", message="z_weekly has steps of W"),
    "k12_future_rows_missing.csv": Expected(
        WARN, "D061", 1, "D", ("--futr", "price"), "no row for 2 of its 7 steps ahead: 2024-03-03"
    ),
    "k12_future_rows_one_hour_late.csv": Expected(
        REJECT, "D042", 1, "D", ("--futr", "price"), "2024-03-01T01:00:00Z holds values known in advance"
    ),
    "k13_epoch_zero_row_1hz.csv": Expected(REJECT, "D049", 1, "s", message="s has 1970-01-01T00:00:00Z"),
    "k14_big_integer_ids.json": Expected(WARN, "D050", 2, "D", message="1747820000123456789 has 5 values"),
    "k15_string_view.arrow": Expected(ACCEPT, "", 1, "D"),
    "k16_columns_differ_by_case.csv": Expected(
        REJECT,
        "D015",
        0,
        None,
        ("--hist", "Price,price"),
        "'Price' and 'price' differ only by case; rename one",
    ),
    "k17_dot_ids.csv": Expected(REJECT, "D016", 0, None, message="'..'; name the series otherwise"),
    "k18_large_offset.csv": Expected(ACCEPT, "", 1, "MS"),
    "k19_half_hourly_load.csv": Expected(ACCEPT, "", 1, "30min"),
    "k26_mondays_declared_sunday.csv": Expected(
        REJECT, "D042", 1, "W-SUN", ("--freq", "W-SUN"), "the times are those of W-MON"
    ),
    "k28_ten_hertz.csv": Expected(REJECT, "D048", 1, None, message="s has steps of 0.1 seconds"),
    "k29_node_names.csv": Expected(ACCEPT, "", 3, "MS", PANELS),
    "k30_tiny_values.csv": Expected(ACCEPT, "", 3, "D"),
}


def test_when_the_cases_are_listed_then_each_file_has_an_expected_report() -> None:
    assert {path.name for path in CASES.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_when_a_reported_file_is_checked_then_the_report_is_right(quantis: Any, name: str) -> None:
    expected = EXPECTED[name]
    done = quantis("data", "check", str(CASES / name), *expected.options, "--json")
    report = done.json
    assert done.code == (1 if expected.outcome == REJECT else 0)
    codes = {finding["code"] for finding in report["findings"]}
    assert (report["outcome"], codes) == (expected.outcome, set(expected.codes.split()))
    assert (report["series"], report["freq"]) == (expected.series, expected.freq)
    assert (
        any(expected.message in finding["message"] for finding in report["findings"]) or not expected.message
    )
