from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.arrays import floats
from models.evaluation.rolling_origin import backtest, require_windows
from models.families.naive import LastValue, SeasonalNaive
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, times_of, timestamps


class Provider:
    """Cuts one long snapshot, and remembers what it was asked."""

    def __init__(self, snapshot: Snapshot, h: int) -> None:
        self.snapshot, self.h = snapshot, h
        self.asked: list[np.datetime64] = []

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        self.asked.append(cutoff)
        table, (at,) = self.snapshot.history, timestamps(np.array([cutoff]))
        end = pc.add(at, pa.scalar(np.timedelta64(self.h, "h").astype("timedelta64[us]")))
        ahead = table.filter(pc.and_(pc.greater(table["ds"], at), pc.less_equal(table["ds"], end)))
        history = table.filter(pc.less_equal(table["ds"], at))
        return Snapshot(history, ahead.select(["unique_id", "ds", "scheduled"]), self.snapshot.static)


@pytest.fixture
def case(make_task, make_snapshot):
    task = make_task(h=6)
    snapshot, _ = make_snapshot(task, {"a": 200, "b": 200})
    last = times_of(snapshot.history["ds"])[-1]
    cutoffs = [last - np.timedelta64(12, "h"), last - np.timedelta64(6, "h")]
    return task, Provider(snapshot, 6), snapshot.history.select(["unique_id", "ds", "y"]), cutoffs


def test_when_two_cutoffs_are_scored_then_each_forecast_stands_beside_its_actual(case):
    task, provider, actuals, cutoffs = case
    table = backtest(lambda s: LastValue.fit(s, task), provider, actuals, cutoffs[::-1])
    assert table.column_names[:5] == ["unique_id", "ds", "cutoff", "y", "mean"]
    assert table.num_rows == 2 * 2 * 6
    assert np.all(np.diff(times_of(table["cutoff"]).astype(int)) >= 0)
    frame, past = table.to_pandas(), actuals.to_pandas().set_index(["unique_id", "ds"]).y
    for row in frame.itertuples():
        assert row.y == past[row.unique_id, row.ds]
        assert row.mean == past[row.unique_id, row.cutoff]


@pytest.mark.parametrize(("refit", "fits"), [(False, 1), (True, 2)])
def test_when_refit_is_asked_then_the_model_is_fitted_at_every_cutoff_and_else_at_the_first(
    case, refit, fits
):
    task, provider, actuals, cutoffs = case
    seen = []

    def fit(snapshot):
        seen.append(times_of(snapshot.history["ds"]).max())
        return SeasonalNaive.fit(snapshot, task, 24)

    backtest(fit, provider, actuals, cutoffs, refit=refit)
    assert seen == cutoffs[:fits]


def test_when_a_series_has_no_value_yet_then_it_is_left_out_at_that_cutoff_alone(case):
    task, provider, actuals, cutoffs = case
    history = provider.snapshot.history
    y = floats(history["y"])
    late = pc.equal(history["unique_id"], "b").to_numpy(zero_copy_only=False)
    y[late & (times_of(history["ds"]) <= cutoffs[0])] = np.nan
    place = history.column_names.index("y")
    changed = history.set_column(place, "y", pa.array(y, from_pandas=True))
    provider.snapshot = Snapshot(changed, provider.snapshot.future, provider.snapshot.static)
    table = backtest(lambda s: LastValue.fit(s, task), provider, actuals, cutoffs)
    first = pc.equal(table["cutoff"], timestamps(np.array(cutoffs))[0])
    assert set(table.filter(first)["unique_id"].to_pylist()) == {"a"}
    assert table.num_rows == 3 * 6


def test_when_an_actual_is_missing_then_the_forecast_keeps_a_null_beside_it(case):
    task, provider, actuals, cutoffs = case
    known = actuals.filter(pc.less_equal(actuals["ds"], timestamps(np.array(cutoffs))[1]))
    table = backtest(lambda s: LastValue.fit(s, task), provider, known, cutoffs)
    assert table["y"].null_count == 2 * 6


def test_when_there_is_no_cutoff_then_it_says_so(case):
    task, provider, actuals, _ = case
    with pytest.raises(InvalidInput, match="without cutoffs"):
        backtest(lambda s: LastValue.fit(s, task), provider, actuals, [])


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 50), st.integers(1, 400) | st.just(10**12))
def test_when_windows_do_not_fit_then_what_the_message_proposes_does(
    steps: int, h: int, n_windows: int, step_size: int
) -> None:
    try:
        require_windows(steps, h, n_windows, step_size)
    except InvalidInput as error:
        proposal = re.search(r"take (?:(h|n_windows)=)?(\d+)", error.message)
        if proposal is None:
            assert steps == 1
        elif proposal[1] == "n_windows":
            require_windows(steps, h, int(proposal[2]), step_size)
        elif proposal[1] == "h":
            require_windows(steps, int(proposal[2]))
        else:
            require_windows(steps, h, 1, int(proposal[2]))
    else:
        assert h + step_size * (n_windows - 1) < steps
