"""Frequencies of many series at once are those of each series on its own."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.frequency import Frequency
from quantis.frequency_inference import infer, infer_counts, infer_each
from quantis.types.arrays import Times

ALIASES = [
    "s",
    "90s",
    "min",
    "15min",
    "h",
    "6h",
    "D",
    "2D",
    "B",
    "W-WED",
    "MS",
    "2MS",
    "ME",
    "QS",
    "QE",
    "YS",
    "YE",
]


def commonest_step(times: Times) -> int:
    """Return the commonest step in microseconds, the shortest of several."""
    steps = np.diff(times).astype(np.int64).tolist()
    counted = Counter(steps)
    return min(step for step in steps if counted[step] == max(counted.values()))


@st.composite
def series(draw: st.DrawFn) -> Times:
    """Times of a calendar with holes, or irregular ones."""
    if draw(st.booleans()):
        count = draw(st.integers(1, 40))
        start = draw(st.dates(date(1950, 1, 1), date(2100, 1, 1)))
        times = pd.date_range(str(start), periods=count, freq=draw(st.sampled_from(ALIASES)))
        kept = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        return times[np.array(kept) | (np.arange(count) == 0)].to_numpy().astype("datetime64[us]")
    numbers = sorted(draw(st.sets(st.integers(0, 10_000), min_size=1, max_size=30)))
    unit = np.timedelta64(draw(st.sampled_from([100, 1000, 60_000])), "ms")
    return np.datetime64("2024-01-01T00:00", "us") + np.array(numbers) * unit


@settings(max_examples=150, deadline=None)
@given(st.lists(series(), min_size=1, max_size=8))
def test_when_many_series_are_inferred_at_once_then_each_has_its_own_frequency(panel: list[Times]) -> None:
    lengths = [len(times) for times in panel]
    starts = np.cumsum(lengths) - np.array(lengths)
    inferred = infer_each(np.concatenate(panel), starts)
    for number, times in enumerate(panel):
        frequency = inferred.distinct[int(inferred.kind[number])]
        alone = infer(times)
        assert frequency == (alone and alone.unanchored)
        if len(times) < 3:
            assert (frequency, inferred.steps_us[number]) == (None, 0)
        else:
            assert inferred.steps_us[number] == commonest_step(times)
            assert (frequency is None) == (commonest_step(times) % 1_000_000 != 0)


@given(st.lists(st.sets(st.integers(0, 500), min_size=1, max_size=30), min_size=1, max_size=6))
def test_when_counts_of_many_series_are_inferred_then_each_has_its_own_step(panel: list[set[int]]) -> None:
    columns = [np.array(sorted(counts)).astype("datetime64[s]").astype("datetime64[us]") for counts in panel]
    lengths = [len(times) for times in columns]
    inferred = infer_each(np.concatenate(columns), np.cumsum(lengths) - np.array(lengths), counted=True)
    for number, times in enumerate(columns):
        frequency = inferred.distinct[int(inferred.kind[number])]
        assert frequency == infer_counts(times)
        assert frequency == (Frequency(commonest_step(times) // 1_000_000, "i") if len(times) > 1 else None)


@pytest.mark.parametrize("alias", ALIASES)
def test_when_one_series_of_each_kind_stands_among_others_then_it_is_told_apart(alias: str) -> None:
    own = pd.date_range("2021-01-01", periods=40, freq=alias).to_numpy().astype("datetime64[us]")
    hours = pd.date_range("2021-01-01", periods=40, freq="h").to_numpy().astype("datetime64[us]")
    inferred = infer_each(np.concatenate([hours, own, hours]), np.array([0, 40, 80]))
    expected = Frequency.parse(alias).unanchored.alias
    aliases = [frequency.alias if frequency else None for frequency in inferred.distinct]
    assert [aliases[kind] for kind in inferred.kind] == ["h", expected, "h"]
