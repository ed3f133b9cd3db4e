from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.arrays import keep_series
from models.families.naive import SeasonalNaive
from models.prediction.fallback import forecast
from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.panel import Snapshot, series_slices, timestamps
from quantis.types.forecasts import ForecastMethod, Reason


class Model(SeasonalNaive):
    """A model that needs two days and does as it is told for some series."""

    min_history = 48
    context_length = 2048

    def __init__(self, task, behave=None):
        super().__init__(task, 24)
        self.behave, self.calls = behave or {}, 0

    def predict(self, snapshot):
        self.calls += 1
        table = super().predict(snapshot)
        for name, rows in series_slices(table["unique_id"]):
            if self.behave.get(name) == "raise":
                raise InvalidInput("a covariate is out of range")
            if self.behave.get(name) == "crash":
                raise ZeroDivisionError
            if self.behave.get(name) == "nan":
                mean = table["mean"].to_numpy().copy()
                mean[rows.start] = np.nan
                table = table.set_column(2, "mean", pa.array(mean))
            if self.behave.get(name) == "forget":
                keep = np.ones(table.num_rows, bool)
                keep[rows] = False
                return table.filter(pa.array(keep))
        return table


def _with_gap(snapshot: Snapshot, unique_id: str) -> Snapshot:
    values = snapshot.future["scheduled"].to_pylist()
    first = snapshot.future["unique_id"].to_pylist().index(unique_id)
    values[first + 3] = None
    future = snapshot.future.set_column(2, "scheduled", pa.array(values, pa.float64()))
    return Snapshot(snapshot.history, future, snapshot.static)


def test_when_series_differ_then_each_is_answered_from_its_own_rung_in_the_requested_order(
    make_task, make_snapshot
):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"gap": 60, "good": 60, "new": 60, "short": 30, "tiny": 2})
    entries = forecast(
        Model(task),
        _with_gap(snapshot, "gap"),
        task,
        requested=["tiny", "absent", "good", "new", "gap", "short", "good", "stranger"],
        unknown={"new", "stranger"},
    )
    assert [(e.unique_id, e.status, e.method, e.reason) for e in entries] == [
        ("tiny", "fallback", ForecastMethod.last_value, Reason.short_history),
        ("absent", "refused", ForecastMethod.none, Reason.no_history),
        ("good", "ok", ForecastMethod.model, None),
        ("new", "fallback", ForecastMethod.seasonal_naive, Reason.unknown_series),
        ("gap", "fallback", ForecastMethod.seasonal_naive, Reason.missing_future),
        ("short", "fallback", ForecastMethod.seasonal_naive, Reason.short_history),
        ("good", "ok", ForecastMethod.model, None),
        ("stranger", "refused", ForecastMethod.none, Reason.unknown_series),
    ]
    assert entries[0].detail == "2 steps of history; the model needs 48"
    assert entries[4].detail == "no value for scheduled in some of the 24 steps ahead"


class Answering(SeasonalNaive):
    """Says its covariate: what it was given for each step."""

    min_history = 48

    def predict(self, snapshot):
        table = super().predict(snapshot)
        return table.set_column(table.column_names.index("mean"), "mean", snapshot.future["scheduled"])


def test_when_few_steps_are_wanted_then_what_is_known_ahead_is_needed_for_these_alone(
    make_task, make_snapshot
):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"gap": 60, "good": 60})
    values = snapshot.future["scheduled"].to_pylist()
    values[6 : task.h] = [None] * (task.h - 6)  # of "gap": its first six steps are known
    known = snapshot.future.set_column(2, "scheduled", pa.array(values, pa.float64()))
    known = Snapshot(snapshot.history, known, snapshot.static)

    def answered(steps: int | None) -> list:
        return forecast(Answering(task, 24), known, task, steps=steps)

    gap, good = answered(6)
    assert [gap.method, good.method] == [ForecastMethod.model, ForecastMethod.model]
    assert (gap.mean.tolist(), good.mean.tolist()) == (values[:6], values[task.h : task.h + 6])
    assert {len(gap.ds), *map(len, gap.quantiles.values())} == {6}
    gap, good = answered(7)
    assert (gap.reason, good.method) == (Reason.missing_future, ForecastMethod.model)
    assert gap.detail == "no value for scheduled in some of the 7 steps ahead"
    assert len(gap.mean) == 7
    assert [len(entry.mean) for entry in answered(None)] == [task.h, task.h]


@pytest.mark.parametrize(
    ("how", "detail"),
    [
        ("raise", "the model failed: a covariate is out of range"),
        ("crash", "the model failed: ZeroDivisionError"),
        ("nan", "the model gave no finite forecast"),
        ("forget", "the model gave no finite forecast"),
    ],
)
def test_when_the_model_fails_on_one_series_then_only_that_one_falls(make_task, make_snapshot, how, detail):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 60, "bad": 60, "c": 60})
    entries = forecast(Model(task, {"bad": how}), snapshot, task)
    assert [e.method for e in entries] == [
        ForecastMethod.model,
        ForecastMethod.seasonal_naive,
        ForecastMethod.model,
    ]
    assert entries[1].reason is Reason.model_failed
    assert entries[1].detail == detail
    expected = SeasonalNaive(task, 24).predict(keep_series(snapshot, ["bad"]))
    assert entries[1].mean.tolist() == expected["mean"].to_pylist()


def test_when_the_model_answers_all_then_it_is_asked_once(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 60, "b": 60})
    model = Model(task)
    forecast(model, snapshot, task)
    assert model.calls == 1


def test_when_nothing_was_observed_where_the_model_looks_then_the_floor_answers(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 100})
    y = snapshot.history["y"].to_pylist()[:70] + [None] * 30
    place = snapshot.history.column_names.index("y")
    ended = snapshot.history.set_column(place, "y", pa.array(y, pa.float64()))
    model = Model(task)
    model.context_length = 31
    (entry,) = forecast(model, Snapshot(ended, snapshot.future, snapshot.static), task)
    assert entry.method is ForecastMethod.model
    model.context_length = 30
    (entry,) = forecast(model, Snapshot(ended, snapshot.future, snapshot.static), task)
    assert (entry.method, entry.reason) == (ForecastMethod.seasonal_naive, Reason.short_history)
    assert entry.detail == "no observed value in the last 30 steps"


def test_when_no_model_is_loaded_then_the_floor_answers(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 200})
    (entry,) = forecast(None, snapshot, task)
    assert (entry.method, entry.reason) == (ForecastMethod.seasonal_naive, Reason.model_failed)
    assert entry.mean.tolist() == SeasonalNaive(task, 168).predict(snapshot)["mean"].to_pylist()


value = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 50).map(float))
one_series = st.fixed_dictionaries(
    {
        "y": st.lists(value, max_size=60),
        "gap": st.booleans(),
        "unknown": st.booleans(),
        "behave": st.sampled_from(["well", "raise", "crash", "nan", "forget"]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(panel=st.lists(one_series, max_size=5), order=st.randoms(use_true_random=False))
def test_when_any_mixture_is_requested_then_there_is_one_finite_uncrossed_entry_each(make_task, panel, order):
    task = make_task(h=5, season_lengths=(4, 8))
    series = {f"s{index}": one for index, one in enumerate(panel)}
    requested = [*series, "never-heard-of"]
    order.shuffle(requested)
    model = Model(task, {name: one["behave"] for name, one in series.items()})
    unknown = {name for name, one in series.items() if one["unknown"]}
    entries = forecast(model, _assemble(series, task.h), task, requested=requested, unknown=unknown)
    assert [entry.unique_id for entry in entries] == requested
    for entry in entries:
        observed = any(v is not None for v in series.get(entry.unique_id, {"y": []})["y"])
        assert (entry.status == "refused") == (not observed)
        assert (entry.reason is None) == (entry.method is ForecastMethod.model)
        if entry.status != "refused":
            _assert_sound(entry, task)


def _assert_sound(entry, task):
    fan = np.stack(list(entry.quantiles.values()))
    assert list(entry.quantiles) == sorted(task.quantiles)
    assert len(entry.ds) == len(entry.mean) == fan.shape[1] == task.h
    assert np.isfinite(entry.mean).all()
    assert np.isfinite(fan).all()
    assert (np.diff(fan, axis=0) >= 0).all()


def _assemble(series, h):
    history: dict[str, list[Any]] = {"unique_id": [], "ds": [], "y": []}
    future: dict[str, list[Any]] = {"unique_id": [], "ds": [], "scheduled": []}
    for name, one in series.items():
        if not one["y"]:
            continue
        grid = Frequency.parse("h").after(np.datetime64("2020-01-01"), len(one["y"]) + h)
        history["unique_id"] += [name] * len(one["y"])
        history["ds"].append(grid[:-h])
        history["y"] += one["y"]
        future["unique_id"] += [name] * h
        future["ds"].append(grid[-h:])
        future["scheduled"] += [None if one["gap"] else 1.0] * h
    return Snapshot(_table(history, "y"), _table(future, "scheduled"), pa.table({"unique_id": list(series)}))


def _table(columns, values):
    ds = np.concatenate([*columns["ds"], np.zeros(0, "datetime64[us]")])
    ids = pa.array(columns["unique_id"], pa.string())
    return pa.table({"unique_id": ids, "ds": timestamps(ds), values: pa.array(columns[values], pa.float64())})
