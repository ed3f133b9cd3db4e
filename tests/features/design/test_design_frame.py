"""The design frame: right values, nothing of the horizon, the same for one request as in training."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.design.design_frame import FeatureSpec, default_spec, design, horizon_rows
from features.rolling import dispatch
from features.rolling.terms import Rolling
from features.store.snapshots import snapshot_at
from quantis.errors import InvalidInput
from quantis.panel import Panel, Snapshot, Task

Rich = Callable[[FeatureSpec], FeatureSpec]
LAST = np.datetime64("2013-03-01T05:00", "us") + 199 * np.timedelta64(1, "h")


@pytest.fixture
def snapshot(toy: Panel, task: Task) -> Snapshot:
    return snapshot_at(toy, LAST, task)


@pytest.fixture
def spec(task: Task, snapshot: Snapshot) -> FeatureSpec:
    return default_spec(task, snapshot)


def test_when_a_frame_is_designed_then_it_has_every_step_and_every_named_column(
    snapshot: Snapshot, task: Task, spec: FeatureSpec
) -> None:
    frame = design(snapshot, task, spec)
    assert frame.column_names == ["unique_id", "ds", "y", *spec.names]
    assert frame.num_rows == snapshot.history.num_rows + snapshot.future.num_rows
    assert {str(kind) for kind in frame.schema.types[2:]} == {"double"}
    ahead = horizon_rows(snapshot)
    assert (
        frame.filter(pa.array(ahead))
        .select(["unique_id", "ds"])
        .equals(snapshot.future.select(["unique_id", "ds"]))
    )
    assert frame.filter(pa.array(ahead))["y"].null_count == 18
    assert frame.filter(pa.array(~ahead))["y"].combine_chunks().equals(snapshot.history["y"].combine_chunks())


def test_when_features_are_computed_then_pandas_finds_the_same(
    snapshot: Snapshot, task: Task, spec: FeatureSpec
) -> None:
    frame = design(snapshot, task, spec).to_pandas()
    promo = pa.concat_tables(
        [snapshot.history.select(["unique_id", "ds", "promo"]), snapshot.future]
    ).to_pandas()
    temp = snapshot.history.select(["unique_id", "ds", "temp"]).to_pandas()
    keys = ["unique_id", "ds"]
    frame = frame.merge(promo, on=keys).merge(temp, on=keys, how="left")
    for _, one in frame.groupby("unique_id"):
        one = one.reset_index(drop=True)
        for lag in spec.lags:
            np.testing.assert_array_equal(one[f"y_lag{lag}"], one["y"].shift(lag))
        np.testing.assert_array_equal(one["hist_temp_lag6"], one["temp"].shift(6))
        window = one["y"].shift(6).rolling(24, min_periods=1)
        whole = one.index >= 6 + 24 - 1
        for name in ("mean", "std", "min", "max"):
            expected = getattr(window, name)().where(whole)
            np.testing.assert_allclose(one[f"y_{name}24"], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(one["futr_promo"], one["promo"])
        local = one["ds"].dt.tz_convert("America/New_York")
        np.testing.assert_array_equal(one["cal_hour"], local.dt.hour)
        np.testing.assert_array_equal(one["cal_weekday"], local.dt.weekday)
    cities = {"a": "Rome", "b": "Oslo", "c": "Rome"}
    codes = frame["unique_id"].map(cities).map({"Oslo": 0.0, "Rome": 1.0})
    np.testing.assert_array_equal(frame["stat_city"], codes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=st.sampled_from(["y", "temp"]), h=st.integers(1, 30), chosen=st.integers(0, 10_000))
def test_when_a_value_changes_then_no_row_before_h_steps_later_and_no_other_series_changes(
    toy: Panel, task: Task, with_terms: Rich, column: str, h: int, chosen: int
) -> None:
    """The leak test: y and observed covariates at t reach rows from t + h on, of their own series only."""
    task = task.model_copy(update={"h": h})
    snapshot = snapshot_at(toy, LAST, task)
    spec = with_terms(default_spec(task, snapshot))
    row = chosen % snapshot.history.num_rows
    values = snapshot.history[column].to_pylist()
    values[row] = 1e6
    place = snapshot.history.schema.get_field_index(column)
    changed = Snapshot(
        snapshot.history.set_column(place, column, pa.array(values, pa.float64())),
        snapshot.future,
        snapshot.static,
    )
    before, after = design(snapshot, task, spec), design(changed, task, spec)
    moment, name = snapshot.history["ds"][row].as_py(), snapshot.history["unique_id"][row].as_py()
    later = pa.scalar(moment + timedelta(hours=h), before["ds"].type)
    reached = pc.and_(pc.equal(before["unique_id"], name), pc.greater_equal(before["ds"], later)).to_numpy()
    touched = np.zeros(before.num_rows, dtype=bool)
    for feature in spec.names:
        old, new = before[feature].to_numpy(), after[feature].to_numpy()
        differs = ~((old == new) | (np.isnan(old) & np.isnan(new)))
        assert not differs[~reached].any(), feature
        touched |= differs
    assert touched.any() or not reached.any()


def test_when_a_known_future_value_changes_then_its_own_row_does(
    snapshot: Snapshot, task: Task, spec: FeatureSpec
) -> None:
    promo = pa.array([9.0] * snapshot.future.num_rows)
    changed = Snapshot(snapshot.history, snapshot.future.set_column(2, "promo", promo), snapshot.static)
    frame = design(changed, task, spec).filter(pa.array(horizon_rows(snapshot)))
    assert set(frame["futr_promo"].to_pylist()) == {9.0}


@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize("more", [0, 1, 7])
@pytest.mark.parametrize("trained_by", [0, 10**9], ids=["compiled", "numpy"])
def test_when_one_request_has_enough_history_then_its_features_are_those_of_training_to_the_bit(
    snapshot: Snapshot, task: Task, spec: FeatureSpec, with_terms: Rich, name: str, more: int, trained_by: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    spec = with_terms(spec)

    def of(table: pa.Table) -> pa.Table:
        return table.filter(pc.equal(table["unique_id"], name))

    history = of(snapshot.history)
    context = min(spec.context_length + more, history.num_rows)
    tail = Snapshot(history.slice(history.num_rows - context), of(snapshot.future), of(snapshot.static))
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "COMPILED_FROM", trained_by)
        whole = of(design(snapshot, task, spec))
    online = design(tail, task, spec)
    for feature in spec.names:
        expected = whole[feature].to_numpy()[-task.h :]
        np.testing.assert_array_equal(online[feature].to_numpy()[-task.h :], expected, err_msg=feature)


def test_when_the_context_is_a_step_short_then_a_feature_is_missing(
    snapshot: Snapshot, task: Task, spec: FeatureSpec
) -> None:
    short = spec.context_length - 1
    history = snapshot.history.slice(200 - short, short)
    one = [table.filter(pc.equal(table["unique_id"], "a")) for table in (snapshot.future, snapshot.static)]
    first = design(Snapshot(history, *one), task, spec).slice(short, 1)
    assert any(np.isnan(first[feature][0].as_py()) for feature in spec.names if feature.startswith("y_"))


def test_when_a_lag_is_shorter_than_the_horizon_then_the_spec_refuses_it() -> None:
    with pytest.raises(ValueError, match="lag 5 is shorter than the horizon 6"):
        FeatureSpec(h=6, lags=(5,))


def test_when_a_category_was_not_seen_then_its_code_is_missing(
    snapshot: Snapshot, task: Task, spec: FeatureSpec
) -> None:
    static = snapshot.static.set_column(1, "city", pa.array(["Rome", "Lima", None]))
    frame = design(Snapshot(snapshot.history, snapshot.future, static), task, spec)
    codes = dict(zip(frame["unique_id"].to_pylist(), frame["stat_city"].to_pylist(), strict=True))
    assert codes["a"] == 1.0
    assert np.isnan([codes["b"], codes["c"]]).all()


def test_when_categories_were_not_learnt_then_the_error_says_so(snapshot: Snapshot, task: Task) -> None:
    with pytest.raises(InvalidInput, match="categories of 'city'"):
        design(snapshot, task, default_spec(task))


def test_when_a_spec_is_stored_as_json_then_it_comes_back_the_same(spec: FeatureSpec) -> None:
    assert FeatureSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("freq", "h", "seasons", "lags", "windows"),
    [
        ("h", 24, (24, 168), {24, 25, 26, 48, 72, 168, 336}, [24, 168]),
        ("h", 30, (24,), {30, 31, 32, 48, 72, 96}, [24]),
        ("D", 14, (7,), {14, 15, 16, 21, 28}, [7]),
        ("YS", 2, (1,), {2, 3, 4}, [4]),
    ],
)
def test_when_the_default_is_derived_then_lags_are_seasons_beyond_the_horizon(
    task: Task, freq: str, h: int, seasons: tuple[int, ...], lags: set[int], windows: list[int]
) -> None:
    spec = default_spec(task.model_copy(update={"freq": freq, "h": h, "season_lengths": seasons}))
    assert set(spec.lags) == lags
    assert [one.window for one in spec.rolling] == windows
    assert ("is_holiday" in spec.calendar) == (freq in ("h", "D"))


def test_when_a_rolling_spec_asks_for_one_statistic_then_only_that_is_made(
    snapshot: Snapshot, task: Task
) -> None:
    spec = FeatureSpec(h=6, rolling=(Rolling(window=3, statistics=("max",)),))
    assert design(snapshot, task, spec).column_names == ["unique_id", "ds", "y", "y_max3"]
