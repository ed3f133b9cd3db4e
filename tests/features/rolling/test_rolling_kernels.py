"""Windows: as pandas has them, dependent on their own values only, compiled and in NumPy to the same bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.design.design_frame import FeatureSpec
from features.rolling import dispatch
from features.rolling.dispatch import initial_carry, operations, run
from features.rolling.numpy_kernel import rolling
from features.rolling.state import SeriesState, advance
from features.rolling.terms import (
    ClockLag,
    Difference,
    Expanding,
    Lag,
    Rolling,
    Statistic,
    Term,
    TrailingWindow,
)
from quantis.errors import InvalidInput
from quantis.types.arrays import Floats

NAMES: tuple[Statistic, ...] = ("mean", "std", "min", "max")
VALUES = st.lists(st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(
    values=VALUES,
    window=st.integers(2, 70),
    before=st.lists(st.floats(-1e6, 1e6), max_size=90),
    first_step=st.integers(-100, 10**6),
)
def test_when_a_window_rolls_then_it_agrees_with_pandas_and_not_with_what_came_before_it(
    values: list[float], window: int, before: list[float], first_step: int
) -> None:
    alone = rolling(np.array(values), window, NAMES, first_steps=np.array([first_step]))
    frame = pd.Series(values)
    for name in NAMES:
        expected = [getattr(frame[max(0, i - window + 1) : i + 1], name)() for i in range(len(values))]
        np.testing.assert_allclose(alone[name], expected, rtol=1e-7, atol=1e-6)
    within = rolling(
        np.array(before + values), window, NAMES, first_steps=np.array([first_step - len(before)])
    )
    for name in NAMES:
        np.testing.assert_array_equal(within[name][len(before) + window - 1 :], alone[name][window - 1 :])


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_when_values_are_far_from_zero_then_the_deviation_is_not_lost(scale: float) -> None:
    values = scale + np.random.default_rng(5).normal(size=400)
    expected = [np.std(values[i - 23 : i + 1] - scale, ddof=1) for i in range(23, 400)]
    np.testing.assert_allclose(rolling(values, 24, ("std",))["std"][23:], expected, rtol=1e-6)


def test_when_a_peak_has_left_the_window_then_nothing_of_it_stays() -> None:
    values = np.ones(200)
    values[20] = 1e15
    rolled = rolling(values, 24, NAMES)
    assert set(rolled["std"][44:]) == {0.0}
    assert set(rolled["mean"][44:]) == set(rolled["max"][44:]) == {1.0}


def _panel(seed: int) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Series of mixed lengths, levels and gaps, laid end to end."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 90, random.integers(1, 5))
    starts = np.append(0, np.cumsum(lengths))
    values = random.normal(size=starts[-1]) * 10.0 ** random.integers(-3, 6) + 10.0 ** random.integers(0, 9)
    values[random.random(len(values)) < random.choice([0.0, 0.05, 0.5, 0.95])] = np.nan
    return values, starts, random.integers(-50, 10**6, len(lengths))


@pytest.mark.parametrize("seed", range(60))
def test_when_the_pass_is_compiled_then_it_gives_the_bits_of_numpy(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, starts, first_steps = _panel(seed)
    random = np.random.default_rng(seed)
    offset, window = int(random.integers(0, 10)), int(random.integers(2, 30))
    ops = operations(
        [
            (TrailingWindow(offset=offset, window=window), range(4)),
            (Expanding(offset=offset), range(4, 8)),
            (Lag(steps=offset), [8]),
            (Difference(offset=offset, period=window), [9]),
            (TrailingWindow(offset=offset, window=window, statistics=("std", "max")), [10, 11]),
        ]
    )
    found = []
    for rows in (0, 10**9):
        monkeypatch.setattr(dispatch, "COMPILED_FROM", rows)
        out, carry = np.full((12, len(values)), 7e77), initial_carry(ops, len(first_steps))
        run(values, starts, first_steps, ops, out, carry=carry)
        found.append((out, carry))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    one = slice(starts[0], starts[1])
    y = pd.Series(values[one])
    expected = y.expanding().std().shift(offset)
    np.testing.assert_allclose(
        found[0][0][5][one], expected, rtol=1e-6, atol=1e-6 * np.nanmax(abs(values)) * 1e-6
    )
    np.testing.assert_array_equal(found[0][0][9][one], (y - y.shift(window)).shift(offset))


SPEC = FeatureSpec(
    h=3,
    lags=(3, 7),
    rolling=(Rolling(window=6),),
    hist=("temp",),
    hist_lags=(4,),
    terms=(
        Term(window=Expanding(offset=5)),
        Term(column="temp", window=Difference(offset=3, period=2)),
        Term(column="temp", window=TrailingWindow(offset=4, window=5, statistics=("mean", "max"))),
    ),
)


@pytest.mark.parametrize("compiled_from", [0, 10**9])
@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 80), max_size=6), values=st.lists(VALUES, min_size=2, max_size=2))
def test_when_new_hours_are_added_to_the_state_then_their_features_are_those_of_the_whole(
    compiled_from: int, cuts: list[int], values: list[list[float]]
) -> None:
    length = min(map(len, values))
    whole = {name: np.array(column[:length]) for name, column in zip(("y", "temp"), values, strict=True)}
    ends = [0, *sorted(min(cut, length) for cut in cuts), length]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "COMPILED_FROM", compiled_from)
        _, expected = advance(SeriesState.initial(SPEC, 1000), SPEC, whole)
        state, parts = SeriesState.initial(SPEC, 1000), []
        for start, end in pairwise(ends):
            state, columns = advance(state, SPEC, {name: v[start:end] for name, v in whole.items()})
            parts.append(columns)
    assert state.step_index == 1000 + length
    assert max(len(tail) for tail in state.tails.values()) <= 10
    for name, column in expected.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), column, err_msg=name)


def test_when_the_state_cannot_know_a_column_then_the_error_says_so() -> None:
    by_clock = FeatureSpec(h=3, terms=(Term(window=ClockLag(days=1)),))
    with pytest.raises(InvalidInput, match=r"y_clock_lag1d.*needs the clock"):
        SeriesState.initial(by_clock, 0)
    state = SeriesState.initial(SPEC, 0)
    with pytest.raises(InvalidInput, match=r"\[1, 2\] new rows"):
        advance(state, SPEC, {"y": np.zeros(1), "temp": np.zeros(2)})
