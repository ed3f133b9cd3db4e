"""Columns by windows: lags by the clock, what a frame costs in memory, specs of old, the compiled pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.design.design_frame import FeatureSpec, default_spec, design
from features.design.row_layout import step_indices
from features.rolling import dispatch
from features.rolling.state import SeriesState, advance
from features.rolling.terms import ClockLag, Difference, Expanding, Lag, Term, TrailingWindow
from features.store.snapshots import snapshot_at
from quantis.panel import Panel, Snapshot, Task, times_of, timestamps

Rich = Callable[[FeatureSpec], FeatureSpec]
LAST = np.datetime64("2013-03-01T05:00", "us") + 199 * np.timedelta64(1, "h")


@pytest.fixture
def snapshot(toy: Panel, task: Task) -> Snapshot:
    return snapshot_at(toy, LAST, task)


@pytest.fixture
def spec(task: Task, snapshot: Snapshot) -> FeatureSpec:
    return default_spec(task, snapshot)


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    assert found.schema == expected.schema
    for name in expected.column_names[:2]:
        assert found[name].equals(expected[name])
    for name in expected.column_names[2:]:
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy(), err_msg=name)


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("horizon", [True, False])
def test_when_the_pass_is_compiled_then_the_frame_is_the_same(
    snapshot: Snapshot,
    task: Task,
    spec: FeatureSpec,
    with_terms: Rich,
    chunks: int,
    horizon: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    future = snapshot.future if horizon else snapshot.future.slice(0, 0)
    size = -(-snapshot.history.num_rows // chunks)
    history = pa.concat_tables([snapshot.history.slice(i * size, size) for i in range(chunks)])
    given = Snapshot(history, future, snapshot.static)
    expected = design(given, task, with_terms(spec))
    monkeypatch.setattr(dispatch, "COMPILED_FROM", 0)
    assert_same(design(given, task, with_terms(spec)), expected)


def test_when_nothing_lies_ahead_then_ids_times_and_y_are_the_snapshots_own_memory(task: Task) -> None:
    y = pa.array(np.arange(50.0))
    ds = timestamps(np.datetime64("2024-01-01", "us") + np.arange(50) * np.timedelta64(1, "h"))
    history = pa.table({"unique_id": ["a"] * 50, "ds": ds, "y": y})
    bare = Task.model_validate(task.model_dump() | {"roles": {}})
    given = Snapshot(history, history.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["a"]}))
    frame = design(given, bare, FeatureSpec(h=6, lags=(6,)))
    for name in ("unique_id", "ds", "y"):
        assert frame[name].chunk(0).buffers()[1].address == history[name].chunk(0).buffers()[1].address


def test_when_series_do_not_share_a_grid_then_each_has_its_own_clock(task: Task) -> None:
    hour = np.timedelta64(1, "h")
    first = np.datetime64("2024-03-09T00:00", "us") + np.arange(60) * hour
    times = np.concatenate([first, first[5:] + np.timedelta64(30, "m"), first[20:40]])
    ids = np.repeat(["a", "b", "c"], [60, 55, 20])
    history = pa.table({"unique_id": ids, "ds": timestamps(times), "y": np.arange(135.0)})
    bare = Task.model_validate(task.model_dump() | {"roles": {}})
    given = Snapshot(
        history, history.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["a", "b", "c"]})
    )
    spec = FeatureSpec(h=6, calendar=("minute", "hour"), terms=(Term(window=ClockLag(days=1)),))
    frame = design(given, bare, spec).to_pandas()
    local = frame["ds"].dt.tz_convert("America/New_York")
    np.testing.assert_array_equal(frame["cal_hour"], local.dt.hour)
    np.testing.assert_array_equal(frame["cal_minute"], local.dt.minute)
    assert frame["y_clock_lag1d"].notna().sum() > 60


@pytest.mark.parametrize(("day", "hours"), [("2013-03-10", 23), ("2013-11-03", 25), ("2013-07-04", 24)])
def test_when_the_clock_changes_then_a_lag_by_the_clock_and_one_by_hours_part_and_meet_again(
    task: Task, day: str, hours: int
) -> None:
    midnight = np.datetime64(f"{day}T05:00" if hours == 23 else f"{day}T04:00", "us")  # in New York, as UTC
    times = midnight + np.arange(-72, 96) * np.timedelta64(1, "h")
    rows = pa.table({"unique_id": ["a"] * 168, "ds": timestamps(times), "y": np.arange(168.0)})
    bare = Task.model_validate(task.model_dump() | {"roles": {}})
    given = Snapshot(rows, rows.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["a"]}))
    spec = FeatureSpec(h=6, lags=(24,), terms=(Term(window=ClockLag(days=1)),))
    frame = design(given, bare, spec).to_pandas()
    back = (frame["y"] - frame["y_clock_lag1d"]).to_numpy()
    assert set((frame["y"] - frame["y_lag24"]).dropna()) == {24.0}
    local = frame["ds"].dt.tz_convert("America/New_York")
    clock = frame["ds"].dt.tz_convert("America/New_York").dt.tz_localize(None).to_numpy()
    shown = clock[np.where(np.isnan(back), 0, np.arange(168) - np.nan_to_num(back)).astype(int)]
    apart = (clock - shown)[30:] / np.timedelta64(1, "h")
    after = (local.dt.date == (midnight + np.timedelta64(1, "D")).astype("datetime64[D]").item()).to_numpy()
    if hours == 23:  # yesterday's 02:00 did not exist: 03:00 stands for it, once more
        assert sorted(set(back[30:])) == [23.0, 24.0]
        assert apart.tolist().count(23.0) == 1
        assert set(back[after]) == {23.0, 24.0}
    elif hours == 25:  # yesterday's 01:00 came twice: the first counts, so its first showing is 25 hours back
        assert sorted(set(back[30:])) == [24.0, 25.0]
        assert set(apart) == {24.0}
    else:
        assert set(back[30:]) == {24.0}
    assert set(back[-24:]) == {24.0}


def test_when_a_day_is_an_hour_short_then_a_lag_by_the_clock_does_not_reach_into_the_horizon(
    task: Task,
) -> None:
    times = np.datetime64("2013-03-08T05:00", "us") + np.arange(120) * np.timedelta64(1, "h")
    rows = pa.table({"unique_id": ["a"] * 120, "ds": timestamps(times), "y": np.arange(120.0)})
    day_ahead = Task.model_validate(task.model_dump() | {"roles": {}, "h": 24})
    given = Snapshot(rows, rows.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["a"]}))
    spec = FeatureSpec(h=24, terms=(Term(window=ClockLag(days=1)),))
    back = design(given, day_ahead, spec).to_pandas().eval("y - y_clock_lag1d")[30:]
    assert set(back.dropna()) == {24.0}
    assert back.isna().sum() == 24  # 03:00 of the short day to 02:00 of the next, whose hour was skipped


def test_when_new_hours_are_added_to_the_state_then_they_get_the_columns_of_the_frame(
    snapshot: Snapshot, task: Task, spec: FeatureSpec
) -> None:
    spec = FeatureSpec(
        h=task.h,
        lags=spec.lags,
        rolling=spec.rolling,
        terms=(Term(window=TrailingWindow(offset=6, window=9)),),
    )
    one = snapshot.history.filter(pc.equal(snapshot.history["unique_id"], "a"))
    given = Snapshot(one, snapshot.future.slice(0, 0), snapshot.static)
    frame, y = design(given, task, spec), one["y"].to_numpy()
    state = SeriesState.initial(spec, int(step_indices(times_of(one["ds"])[:1], task.frequency)[0]))
    state, _ = advance(state, spec, {"y": y[:150]})
    _, columns = advance(state, spec, {"y": y[150:]})
    assert set(columns) == set(spec.names)
    for name, column in columns.items():
        np.testing.assert_array_equal(column, frame[name].to_numpy()[150:], err_msg=name)


def test_when_terms_are_composed_then_pandas_finds_the_same(
    snapshot: Snapshot, task: Task, spec: FeatureSpec, with_terms: Rich
) -> None:
    spec = with_terms(spec)
    more = (*spec.terms, Term(window=Expanding(offset=6)))
    frame = design(snapshot, task, spec.model_copy(update={"terms": more})).to_pandas()
    for _, one in frame.groupby("unique_id"):
        y, promo = one["y"], one["futr_promo"]
        np.testing.assert_array_equal(one["y_lag7"], y.shift(7))
        np.testing.assert_array_equal(one["y_diff24_lag6"], (y - y.shift(24)).shift(6))
        np.testing.assert_array_equal(one["promo_lag0"], promo)
        np.testing.assert_array_equal(one["promo_lag2"], promo.shift(2))
        for name in ("mean", "std", "min", "max"):
            so_far = getattr(y.expanding(), name)().shift(6)
            np.testing.assert_allclose(one[f"y_expanding_{name}_lag6"], so_far, rtol=1e-9)
            last = getattr(y.rolling(5, min_periods=1), name)().shift(6)
            np.testing.assert_allclose(one[f"y_{name}5_lag6"][10:], last[10:], rtol=1e-9)
        hours = one["ds"].astype("int64").to_numpy() // 3_600_000_000 % 24
        np.testing.assert_allclose(one["fourier24_cos2"], np.cos(4 * np.pi * hours / 24), atol=1e-12)
    assert set(frame["cal_holiday_DE"]) == {0.0}


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Term(window=Lag(steps=5)), "'y_lag5' reaches to 5 steps before, nearer than the horizon 6"),
        (Term(window=Expanding(offset=0)), "'y_expanding_mean_lag0'"),
        (Term(column="temp", window=Difference(offset=5)), "'temp_diff1_lag5'"),
        (Term(column="wind", window=Lag(steps=9)), "column 'wind' is not y, hist or futr"),
    ],
)
def test_when_a_term_would_leak_or_has_no_column_then_the_spec_refuses_it(term: Term, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureSpec(h=6, hist=("temp",), terms=(term,))


def test_when_a_spec_was_stored_before_there_were_terms_then_it_still_gives_its_columns(
    snapshot: Snapshot, task: Task, spec: FeatureSpec, with_terms: Rich
) -> None:
    old = spec.model_dump(mode="json", exclude={"terms", "fourier", "holidays"})
    assert_same(design(snapshot, task, FeatureSpec.model_validate(old)), design(snapshot, task, spec))
    rich = with_terms(spec)
    assert FeatureSpec.model_validate_json(rich.model_dump_json()) == rich


@pytest.mark.parametrize("trained_by", [0, 10**9], ids=["compiled", "numpy"])
@pytest.mark.parametrize("day", ["2013-03-10", "2013-11-03", "2013-07-04"])
def test_when_a_request_crosses_a_day_of_23_or_25_hours_then_it_gets_the_bits_that_training_had(
    task: Task, day: str, trained_by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that a request forecasts are, days later, rows of the history that is trained on."""
    bare = Task.model_validate(task.model_dump() | {"roles": {}, "h": 30, "season_lengths": (24, 168)})
    terms = tuple(
        Term(window=w) for w in (ClockLag(days=2), ClockLag(days=7), Difference(offset=30, period=24))
    )
    spec = FeatureSpec.model_validate(default_spec(bare).model_dump() | {"terms": terms})
    times = np.datetime64(day, "us") + np.arange(-500, 150) * np.timedelta64(1, "h")
    rows = pa.table(
        {
            "unique_id": ["a"] * 650,
            "ds": timestamps(times),
            "y": 1e3 + np.random.default_rng(1).normal(size=650),
        }
    )
    keys, static = rows.select(["unique_id", "ds"]), pa.table({"unique_id": ["a"]})
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "COMPILED_FROM", trained_by)
        trained = design(Snapshot(rows, keys.slice(0, 0), static), bare, spec)
    for cutoff in range(495, 530, 5):
        context = spec.context_length
        tail = Snapshot(rows.slice(cutoff - context, context), keys.slice(cutoff, 30), static)
        online = design(tail, bare, spec)
        for name in spec.names:
            expected = trained[name].to_numpy()[cutoff : cutoff + 30]
            np.testing.assert_array_equal(online[name].to_numpy()[-30:], expected, err_msg=name)
            assert not np.isnan(expected).any(), name
