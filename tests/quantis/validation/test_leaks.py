"""Covariates that are y, or nearly y: scaled, of another level or time, and noised; honest ones are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.findings import Finding
from quantis.types.reading import ReadOptions
from quantis.validation.panel_check import check_panel

DAYS, SERIES = 200, 5
LEAKS = {"D063", "D064"}
Values = npt.NDArray[np.float64]


def frame(seed: int = 1, days: int = DAYS, series: int = SERIES) -> pd.DataFrame:
    """Series with a trend, a week, and what nobody foresees."""
    rng = np.random.default_rng(seed)
    day = np.tile(np.arange(days), series)
    level = np.repeat(rng.uniform(50, 500, series), days)
    walk = rng.normal(0, 0.03, (series, days)).cumsum(axis=1).ravel()
    season = 0.3 * np.sin(2 * np.pi * day / 7)
    y = level * (1 + 0.001 * day + season + walk + rng.normal(0, 0.05, days * series))
    names = np.repeat([f"s{number}" for number in range(series)], days)
    return pd.DataFrame(
        {"unique_id": names, "ds": pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D"), "y": y}
    )


def check(data: pd.DataFrame, role: str = "hist_exog", **options: Any) -> CheckReport:
    covariates = tuple(name for name in data.columns if name not in ("unique_id", "ds", "y"))
    spec = DatasetSpec(name="x", freq="D", roles=Roles.model_validate({role: covariates}))
    table = pa.Table.from_pandas(data, preserve_index=False)
    report, panel = check_panel(table, spec, file="x", options=ReadOptions.model_validate(options))
    assert (panel is None) == (report.outcome == "reject")
    return report


def leaks(report: CheckReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.code in LEAKS]


def spread(data: pd.DataFrame) -> Values:
    values: Values = data.groupby("unique_id")["y"].transform("std").to_numpy()
    return values


def noise(data: pd.DataFrame, share: float, seed: int = 9) -> Values:
    return np.random.default_rng(seed).normal(size=len(data)) * spread(data) * share


COPIES = {
    "scaled": lambda data: 2.5 * data["y"],
    "of cents": lambda data: (100 * data["y"]).round(),
    "of another level": lambda data: data["y"] + 1000,
    "negative": lambda data: 7 - data["y"],
    "scaled by series": lambda data: data["y"] / data.groupby("unique_id")["y"].transform("mean"),
    "noised by 0.1 %": lambda data: data["y"] + noise(data, 0.001),
    "noised by 1 %": lambda data: data["y"] + noise(data, 0.01),
    "scaled and noised by 5 %": lambda data: 3 * (data["y"] + noise(data, 0.05)) - 2,
    "noised by its own size": lambda data: data["y"] * (1 + noise(data, 0.01) / spread(data)),
    "of the next day, scaled": lambda data: 2 * data.groupby("unique_id")["y"].shift(-1) + 1,
    "of two days before, noised": lambda data: data.groupby("unique_id")["y"].shift(2) + noise(data, 0.01),
    "with holes": lambda data: (2 * data["y"]).where(np.arange(len(data)) % 10 != 3),
}


@pytest.mark.parametrize("role", ["hist_exog", "futr_exog"])
@pytest.mark.parametrize("copy", COPIES)
def test_when_a_covariate_is_nearly_y_then_it_is_one_finding(copy: str, role: str) -> None:
    data = frame()
    report = check(data.assign(x=COPIES[copy](data)), role)
    (finding,) = leaks(report)
    assert (finding.code, finding.column, finding.series) == ("D063", "x", "s0")
    assert "x is nearly a copy of y in 5 of 5 series; of s0 it is about" in finding.message
    assert report.outcome == "accept_with_warning"


def test_when_a_copy_is_scaled_then_the_finding_says_how() -> None:
    data = frame()
    (finding,) = leaks(check(data.assign(x=2.5 * data["y"] - 7)))
    assert "it is about 2.5 times y less 7 (correlation 1.0000)" in finding.message
    late = data.groupby("unique_id")["y"].shift(-2)
    (finding,) = leaks(check(data.assign(x=3 * late)))
    assert "3 times y of 2 steps later plus" in finding.message


def honest(name: str, data: pd.DataFrame) -> Any:
    rng = np.random.default_rng(3)
    day, size = data.groupby("unique_id").cumcount().to_numpy(), len(data)
    return {
        "the trend": day * 2.0,
        "a price that grows": 10 + 0.01 * day + rng.normal(0, 0.01, size),
        "the week": np.sin(2 * np.pi * day / 7),
        "the weekday": day % 7.0,
        "a walk": rng.normal(size=size).cumsum(),
        "customers": data["y"] + noise(data, 0.15),
        "another series of the trade": data["y"] + noise(data, 0.3).cumsum() / 3,
        "a constant": np.ones(size),
        "nothing": np.full(size, np.nan),
    }[name]


HONEST = [
    "the trend", "a price that grows", "the week", "the weekday", "a walk", "customers",
    "another series of the trade", "a constant", "nothing",
]  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_when_a_covariate_is_honest_then_there_is_no_finding(name: str) -> None:
    data = frame()
    assert leaks(check(data.assign(x=honest(name, data)), "futr_exog")) == []


def test_when_both_grow_without_noise_to_speak_of_then_there_is_no_finding() -> None:
    data = frame()
    day = data.groupby("unique_id").cumcount().to_numpy()
    rng = np.random.default_rng(5)
    steady = data.assign(
        y=100 + day + rng.normal(0, 0.3, len(data)), x=5 + 0.1 * day + rng.normal(0, 0.03, len(data))
    )
    assert leaks(check(steady)) == []


def test_when_few_peaks_make_the_correlation_then_there_is_no_finding() -> None:
    data = frame()
    promo = (data.groupby("unique_id").cumcount().to_numpy() % 40 == 0) * np.random.default_rng(1).uniform(
        1, 3, len(data)
    )
    peaks = data.assign(y=1000 * promo + np.random.default_rng(2).normal(0, 5, len(data)), x=promo)
    assert leaks(check(peaks, "futr_exog")) == []


@settings(max_examples=20, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    level=st.floats(-1e3, 1e3),
    sign=st.sampled_from([-1, 1]),
    share=st.sampled_from([0, 0.001, 0.01, 0.03]),
    seed=st.integers(0, 100),
)
def test_when_a_copy_has_any_scale_and_level_then_it_is_found(
    scale: float, level: float, sign: int, share: float, seed: int
) -> None:
    data = frame(seed, days=60, series=2)
    x = sign * scale * (data["y"] + noise(data, share, seed)) + level * scale
    assert [finding.code for finding in leaks(check(data.assign(x=x)))] == ["D063"]


@settings(max_examples=20, deadline=None)
@given(days=st.integers(2, 30), series=st.integers(1, 4), seed=st.integers(0, 1000))
def test_when_series_are_short_then_noise_is_never_a_copy(days: int, series: int, seed: int) -> None:
    data = frame(seed, days, series)
    x = np.random.default_rng(seed).normal(size=len(data))
    assert leaks(check(data.assign(x=x, trend=np.arange(len(data)) * 1.0))) == []


def test_when_only_one_of_many_series_has_a_near_copy_then_the_column_is_none() -> None:
    data = frame(series=10)
    x = np.where(data["unique_id"] == "s3", 2 * data["y"], np.random.default_rng(1).normal(size=len(data)))
    assert leaks(check(data.assign(x=x))) == []


def test_when_a_known_future_column_equals_y_then_it_is_rejected() -> None:
    data = frame()
    report = check(data.assign(x=data["y"]), "futr_exog")
    (finding,) = leaks(report)
    assert (finding.code, finding.column, finding.series, report.outcome) == ("D064", "x", "s0", "reject")
    assert "x is known in advance and equals y in 5 of 5 series" in finding.message
    assert "target_copies" in finding.message


def test_when_a_known_future_column_equals_y_in_the_past_alone_then_it_is_rejected_too() -> None:
    data = frame()
    future = (
        data.groupby("unique_id").tail(7).assign(ds=lambda rows: rows["ds"] + pd.Timedelta(days=7), y=np.nan)
    )
    both = pd.concat([data.assign(x=data["y"]), future.assign(x=5.0)])
    assert [finding.code for finding in leaks(check(both, "futr_exog"))] == ["D064"]


def test_when_a_copy_is_declared_then_there_is_no_finding() -> None:
    data = frame()
    copies = data.assign(x=data["y"], z=2 * data["y"])
    assert leaks(check(copies, "futr_exog", target_copies=["x", "z"])) == []
    assert [finding.column for finding in leaks(check(copies, "futr_exog", target_copies=["z"]))] == ["x"]


def test_when_an_observed_column_equals_y_then_it_is_a_warning() -> None:
    data = frame()
    report = check(data.assign(x=data["y"]))
    assert {finding.code for finding in leaks(report)} == {"D063"}
    assert report.outcome == "accept_with_warning"


def test_when_only_some_series_of_a_known_future_column_equal_y_then_they_are_warned_of() -> None:
    data = frame()
    x = np.where(data["unique_id"] < "s2", data["y"], 1.0)
    found = leaks(check(data.assign(x=x), "futr_exog"))
    assert [(finding.code, finding.series) for finding in found] == [("D063", "s0"), ("D063", "s1")]
