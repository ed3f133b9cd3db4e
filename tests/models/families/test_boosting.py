from __future__ import annotations

import os
import threading
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest

from features.design.direct_frame import DirectFrame, direct_spec
from features.store.snapshots import snapshot_at
from models.arrays import floats, keep_series, truncate_history
from models.evaluation.metrics import evaluate
from models.evaluation.promotion_gate import GateDecision
from models.evaluation.rolling_origin import backtest
from models.families.boosting import training
from models.families.boosting.model import Boosting
from models.families.boosting.training import SAMPLES_PER_VALUE, draw_samples, min_data_in_leaf
from models.families.ensemble import Ensemble
from models.families.naive import SeasonalNaive
from models.forecaster import column_importance
from models.registry.bundle import read_bundle, write_bundle
from models.registry.version_tags import tags_of_bundle, version_from_tags
from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.panel import Panel, Snapshot, Task, timestamps
from quantis.types.datasets import Roles

START = np.datetime64("2024-01-01T00:00", "us")


@pytest.fixture(scope="module")
def fitted(make_task, make_snapshot):
    task = make_task(quantiles=(0.1, 0.5, 0.9))
    snapshot, actuals = make_snapshot(task, {"a": 900, "b": 900, "c": 500})
    return task, snapshot, actuals, Boosting.fit(snapshot, task)


def _change(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, from_pandas=True))


def _wape(table: pa.Table, actuals: pa.Table, snapshot: Snapshot) -> float:
    wape = evaluate(table.append_column("y", actuals["y"]), snapshot.history, 24).metrics["wape"]
    assert wape is not None
    return wape


def test_when_a_schedule_explains_the_series_then_it_beats_seasonal_naive_by_two_fifths(fitted):
    task, snapshot, actuals, model = fitted
    floor = _wape(SeasonalNaive.fit(snapshot, task, 24).predict(snapshot), actuals, snapshot)
    assert _wape(model.predict(snapshot), actuals, snapshot) < 0.6 * floor


def test_when_the_schedule_of_the_horizon_changes_then_the_forecast_follows_it(fitted):
    _, snapshot, _, model = fitted
    without = _change(snapshot.future, "scheduled", np.zeros(snapshot.future.num_rows))
    lower = model.predict(Snapshot(snapshot.history, without, snapshot.static))
    assert floats(lower["mean"]).mean() < 0.4 * floats(model.predict(snapshot)["mean"]).mean()


def test_when_it_answers_then_quantiles_do_not_cross_and_nothing_is_negative(fitted):
    _, snapshot, _, model = fitted
    table = model.predict(snapshot)
    assert table.column_names == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert table.select(["unique_id", "ds"]).equals(snapshot.future.select(["unique_id", "ds"]))
    fan = np.column_stack([floats(table[name]) for name in table.column_names[3:]])
    assert (np.diff(fan, axis=1) >= 0).all()
    assert fan.min() >= 0


def test_when_fitted_twice_then_the_trees_are_the_same(fitted):
    task, snapshot, _, model = fitted
    assert Boosting.fit(snapshot, task).parts().texts == model.parts().texts


def test_when_the_cpus_are_several_then_trees_and_widening_are_as_with_one(make_task):
    task, panel, _ = _wandering(make_task, 3, 900, 4)
    now = snapshot_at(panel, START + np.timedelta64(700, "h"), task)
    one, three = (Boosting.fit(now, task, threads=threads) for threads in (1, 3))
    assert three.parts() == one.parts()
    assert one.widening
    assert one.widening > 1


def test_when_boosters_train_side_by_side_then_all_threads_but_one_give_way(fitted, monkeypatch):
    task, snapshot, _, _ = fitted
    train, together = lgb.train, threading.Barrier(3, timeout=60)
    seen: dict[int, int] = {}

    def watched(*arguments, **options):
        if len(seen) < 3:
            seen[threading.get_native_id()] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            together.wait()
        return train(*arguments, **options)

    monkeypatch.setattr(lgb, "train", watched)
    Boosting.fit(snapshot, task, threads=3)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert sorted(seen.values()) == [own, 10, 10]
    assert 1 <= training.usable_cpus() <= (os.cpu_count() or 1)


def test_when_kept_as_a_bundle_then_it_answers_the_same(fitted, tmp_path):
    _, snapshot, _, model = fitted
    again = read_bundle(write_bundle(tmp_path / "b", model, snapshot))
    assert again.predict(snapshot).equals(model.predict(snapshot))
    assert again.min_history == 48


def test_when_only_the_needed_history_or_a_single_series_is_given_then_the_answer_is_the_same(fitted):
    _, snapshot, _, model = fitted
    whole = model.predict(snapshot)
    assert np.allclose(
        floats(model.predict(truncate_history(snapshot, model.context_length))["mean"]), floats(whole["mean"])
    )
    alone = model.predict(keep_series(snapshot, ["b"]))
    assert np.allclose(floats(alone["mean"]), floats(whole["mean"])[24:48])


def test_when_the_history_is_short_and_full_of_gaps_then_the_answer_is_finite(fitted):
    _, snapshot, _, model = fitted
    y = floats(snapshot.history["y"])
    y[::3] = np.nan
    gappy = truncate_history(
        Snapshot(_change(snapshot.history, "y", y), snapshot.future, snapshot.static), 30
    )
    table = model.predict(gappy)
    assert all(np.isfinite(floats(table[name])).all() for name in table.column_names[2:])


def test_when_nothing_was_observed_then_it_says_so(fitted):
    task, snapshot, _, _ = fitted
    empty = _change(snapshot.history, "y", np.full(snapshot.history.num_rows, np.nan))
    with pytest.raises(InvalidInput, match="nothing to train on"):
        Boosting.fit(Snapshot(empty, snapshot.future, snapshot.static), task)


def _wandering(make_task, seed: int, rows: int, series: int, h: int = 24) -> tuple[Task, Panel, pa.Table]:
    """Series that drift about (autoregressive), whose new hours no tree has seen the like of; all their hours."""
    draw, freq = np.random.default_rng(seed), Frequency.parse("h")
    times = freq.grid(START, freq.shift(np.array([START]), rows - 1)[0])
    shocks = draw.normal(0, 1, (series, rows))
    y = np.zeros((series, rows))
    for hour in range(1, rows):
        y[:, hour] = 0.97 * y[:, hour - 1] + shocks[:, hour]
    ids = np.repeat([f"s{i}" for i in range(series)], rows)
    target = pa.table({"unique_id": ids, "ds": timestamps(np.tile(times, series)), "y": 100 + y.reshape(-1)})
    static = pa.table({"unique_id": sorted(set(ids))})
    task = make_task(h=h, quantiles=(0.1, 0.5, 0.9), roles=Roles(), holidays=None, season_lengths=(24,))
    return task, Panel(target, target.select(["unique_id", "ds"]), static), target


def test_when_series_wander_then_intervals_are_widened_until_they_cover_hours_that_nobody_trained_on(
    make_task,
):
    task, panel, target = _wandering(make_task, seed=3, rows=800 + 40 * 24, series=3)
    first = START + np.timedelta64(800, "h")
    model = Boosting.fit(snapshot_at(panel, first, task), task)
    origins = [first + np.timedelta64(24 * day, "h") for day in range(39)]

    def coverage() -> float:
        table = backtest(lambda _: model, lambda c: snapshot_at(panel, c, task), target, origins)
        share = evaluate(table, target, 24).metrics["coverage_80"]
        assert share is not None
        return share

    assert model.widening is not None
    assert model.widening > 1.1
    covered = coverage()
    model.widening = 1.0
    assert coverage() < 0.7 < covered < 0.9


def test_when_there_are_more_values_than_samples_then_intervals_stay_as_the_boosters_say(
    make_task, monkeypatch
):
    task, panel, _ = _wandering(make_task, seed=3, rows=400, series=3, h=1)
    last = START + np.timedelta64(390, "h")
    widening = Boosting.fit(snapshot_at(panel, last, task), task).widening
    assert widening is not None
    assert widening > 1.0
    monkeypatch.setattr(training, "MAX_SAMPLES", 500)
    many = Boosting.fit(snapshot_at(panel, last, task), task)
    assert (many.widening, many.intervals_measured) == (1.0, True)


def test_when_all_samples_are_of_one_origin_then_nothing_is_measured(make_task):
    task, panel, _ = _wandering(make_task, seed=3, rows=60, series=30, h=12)
    model = Boosting.fit(snapshot_at(panel, START + np.timedelta64(59, "h"), task), task)
    assert not model.intervals_measured


def test_when_samples_are_too_few_to_tell_then_intervals_are_not_said_to_be_measured(make_task):
    task, panel, _ = _wandering(make_task, seed=3, rows=90, series=1, h=3)
    last = START + np.timedelta64(80, "h")
    model = Boosting.fit(snapshot_at(panel, last, task), task)
    assert not model.intervals_measured
    again = Boosting.from_parts(task, model.parts())
    assert again.predict(snapshot_at(panel, last, task)).equals(model.predict(snapshot_at(panel, last, task)))


def test_when_a_bundle_is_older_than_widening_then_its_intervals_are_as_they_were(fitted):
    task, snapshot, _, model = fitted
    parts = model.parts()
    del parts.config["widening"]
    older = Boosting.from_parts(task, parts)
    assert not older.intervals_measured
    bare = Boosting(task, model.spec, model.boosters, model.non_negative)
    assert older.predict(snapshot).equals(bare.predict(snapshot))


@pytest.mark.parametrize(
    ("samples", "observed", "leaves", "least"),
    [
        (100_000, 400_000, 31, 40),  # each value once
        (20_000, 4_000, 31, 200),  # five samples are one value
        (6_000, 1_200, 31, 96),  # half of the leaves can grow
        (300, 60, 31, 5),
    ],
)
def test_when_samples_share_values_then_a_leaf_counts_values(samples, observed, leaves, least):
    assert min_data_in_leaf(samples, observed, leaves) == least


def test_when_the_panel_is_small_then_each_value_is_seen_five_times_at_most(make_task):
    task, panel, _ = _wandering(make_task, seed=1, rows=500, series=2)
    snapshot = snapshot_at(panel, START + np.timedelta64(499, "h"), task)
    frame = DirectFrame(snapshot, task, direct_spec(task, snapshot))
    samples, age = draw_samples(frame, frame.spec)
    assert len(samples.y) == len(age) == SAMPLES_PER_VALUE * 2 * 500


def test_when_a_covariate_explains_the_series_then_its_importance_says_so_in_bundle_and_version(
    fitted, tmp_path
):
    _, snapshot, _, model = fitted
    shares = model.column_shares(snapshot)
    assert set(shares) == {"y", "scheduled", "temp", "carrier"}
    assert max(shares, key=shares.__getitem__) in ("scheduled", "y")
    assert shares["scheduled"] > 10 * shares["temp"]
    importance = column_importance(model, snapshot)
    assert importance is not None
    assert set(importance) == {"scheduled", "temp", "carrier"}
    assert importance["scheduled"] > 0.2
    write_bundle(tmp_path / "boosting", model, snapshot)
    gate = GateDecision("boosting", True, 0.5, 0.1, 1.0, 0.3, "better")
    tags = tags_of_bundle("default", tmp_path / "boosting", {}, gate, None)
    version = version_from_tags("demand", 1, tags, aliases=[], created_at=datetime(2024, 1, 1, tzinfo=UTC))
    assert version.importance == pytest.approx(importance, abs=1e-5)
    naive = SeasonalNaive.fit(snapshot, model.task, 24)
    assert column_importance(naive, snapshot) == {}, "no covariate changes what it says"
    ensemble = Ensemble(model.task, [(0.5, model), (0.5, naive)])
    blended = column_importance(ensemble, snapshot)
    assert blended is not None
    assert 0 < blended["scheduled"] < importance["scheduled"]
