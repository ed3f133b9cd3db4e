"""Frequencies: what is inferred, and that shifting, counting and grids agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.frequency_inference import infer, infer_counts
from quantis.types.arrays import Times

PANDAS = ["s", "min", "15min", "h", "6h", "D", "2D", "B", "W-WED", "MS", "2MS", "ME", "QS", "QE", "YS", "YE"]


def times(alias: str, periods: int, start: str = "2019-12-27") -> Times:
    return pd.date_range(start, periods=periods, freq=alias).to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize("alias", PANDAS)
def test_when_times_are_regular_then_their_frequency_is_inferred_and_its_grid_is_theirs(alias: str) -> None:
    ds = times(alias, 24)
    found = infer(ds)
    assert found == Frequency.parse(alias)
    assert found.alias == alias
    assert np.array_equal(found.grid(ds[0], ds[-1]), ds)
    assert np.array_equal(found.after(ds[0], 23), ds[1:])
    assert np.array_equal(found.steps_between(ds[0], ds), np.arange(24))
    assert found.floor(ds[7], ds[-1]) == ds[7]
    assert found.floor(ds[7] + np.timedelta64(1, "us"), ds[-1]) == ds[7]


@pytest.mark.parametrize("alias", PANDAS)
def test_when_some_steps_are_missing_then_the_frequency_is_still_found(alias: str) -> None:
    ds = np.delete(times(alias, 40), [5, 6, 17])
    assert infer(ds) == Frequency.parse(alias)


@pytest.mark.parametrize("alias", ["B", "ME", "QE", "YE", "MS", "W"])
def test_when_a_time_is_moved_off_the_grid_then_it_is_told_apart(alias: str) -> None:
    frequency, ds = Frequency.parse(alias), times(alias, 12)
    off = ds.copy()
    off[4] += np.timedelta64(1, "h")
    assert np.flatnonzero(frequency.steps_between(off[0], off) < 0).tolist() == [4]


def test_when_a_weekend_is_in_business_days_then_it_is_off_the_grid() -> None:
    ds = np.array(["2024-01-05", "2024-01-06", "2024-01-08"], "datetime64[us]")
    assert Frequency.parse("B").steps_between(ds[0], ds).tolist() == [0, -1, 1]


def test_when_months_have_one_day_of_the_month_then_they_are_months() -> None:
    ds: Times = times("MS", 12) + np.timedelta64(14, "D")
    assert infer(ds) == Frequency(1, "MS")
    assert np.array_equal(Frequency(1, "MS").grid(ds[0], ds[-1]), ds)


def test_when_counts_are_given_then_steps_are_integers() -> None:
    counts = np.array([3, 5, 7, 11], "datetime64[s]").astype("datetime64[us]")
    found = infer_counts(counts)
    assert found == Frequency(2, "i")
    assert (found.alias, found.season_lengths) == ("2", (1,))
    assert Frequency.parse("2") == found
    assert found.steps_between(counts[0], counts).tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("alias", ["", "0h", "x", "MS-JAN", "B-MON", "0", "-1", "1.5", "99999h"])
def test_when_an_alias_is_unknown_then_the_known_ones_are_named(alias: str) -> None:
    with pytest.raises(InvalidInput, match="15min"):
        Frequency.parse(alias)


@given(st.sampled_from([a.partition("-")[0] for a in PANDAS]), st.integers(-400, 400), st.integers(1, 100))
def test_when_times_are_shifted_then_shifting_back_returns_them(alias: str, steps: int, place: int) -> None:
    frequency = Frequency.parse(alias)
    start = times(alias, place)[-1:]
    assert np.array_equal(frequency.shift(frequency.shift(start, steps), -steps), start)
    if steps >= 0:
        assert frequency.steps_between(start[0], frequency.shift(start, steps)).tolist() == [steps]


@pytest.mark.parametrize(
    ("alias", "seasons"),
    [
        ("30min", (48, 336)), ("1800s", (48, 336)), ("15min", (96, 672)), ("5min", (288, 2016)),
        ("min", (1440, 10080)), ("60s", (1440, 10080)), ("10s", (8640,)), ("s", (60,)), ("60min", (24, 168)),
        ("h", (24, 168)), ("12h", (2, 14)), ("24h", (7,)), ("1440min", (7,)), ("7min", (1440,)), ("D", (7,)),
    ],
)  # fmt: skip
def test_when_steps_are_shorter_than_a_day_then_the_day_comes_first(
    alias: str, seasons: tuple[int, ...]
) -> None:
    assert Frequency.parse(alias).season_lengths == seasons


@settings(deadline=None)
@given(st.sampled_from(PANDAS[2:]), st.integers(0, 99), st.integers(-3, 60), st.integers(0, 40))
def test_when_the_length_of_a_grid_is_asked_for_then_no_time_of_it_is_after_the_last(
    alias: str, begin: int, steps: int, days: int
) -> None:
    """The last time need not be on the grid."""
    frequency = Frequency.parse(alias)
    start = np.datetime64(str(pd.date_range("2021-01-01", periods=begin + 1, freq=alias)[-1].date()), "us")
    last = frequency.shift(np.array([start]), np.array([steps]))[0] + np.timedelta64(days, "D")
    grid = frequency.grid(start, last)
    assert np.all(grid <= last)
    assert len(grid) == 0 or frequency.after(grid[-1], 1)[0] > last


@pytest.mark.parametrize("alias", ["100ms", "us", "ns"])
def test_when_an_alias_is_a_fraction_of_a_second_then_what_to_do_instead_is_said(alias: str) -> None:
    with pytest.raises(InvalidInput, match="the shortest step is a second: aggregate to seconds or more"):
        Frequency.parse(alias)
