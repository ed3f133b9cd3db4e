from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.design.direct_frame import DirectFrame, direct_spec
from models.arrays import floats, truncate_history
from quantis.frequency import Frequency
from quantis.panel import Snapshot, Task, timestamps
from quantis.types.datasets import Roles

H = 12
START = np.datetime64("2024-03-01T00:00", "us")
ROLES = Roles(
    futr_exog=("plan", "kind"), hist_exog=("temp",), stat_exog=("shop",), categorical=("kind", "shop")
)


def _task(**changes: object) -> Task:
    values = {
        "dataset": "toy", "version": 1, "content_hash": "0" * 64, "as_of": datetime(2025, 1, 1, tzinfo=UTC),
        "freq": "h", "h": H, "season_lengths": (6, 24),
        "roles": ROLES,
    }  # fmt: skip
    return Task.model_validate(values | changes)


def _snapshot(lengths: list[int], seed: int = 0) -> Snapshot:
    noise, frequency = np.random.default_rng(seed), Frequency.parse("h")
    past, ahead = [], []
    for number, length in enumerate(lengths):
        ds = frequency.shift(np.full(length + H, START), np.arange(length + H) + max(lengths) - length)
        rows = pa.table(
            {
                "unique_id": pa.array([f"s{number}"] * len(ds)),
                "ds": timestamps(ds),
                "y": 100 * (number + 1) + noise.normal(0, 10, len(ds)),
                "temp": noise.normal(15, 3, len(ds)),
                "plan": noise.normal(5, 1, len(ds)),
                "kind": pa.array(noise.choice(["a", "b"], len(ds))),
            }
        )
        past.append(rows.slice(0, length))
        ahead.append(rows.slice(length).select(["unique_id", "ds", "plan", "kind"]))
    static = pa.table({"unique_id": [f"s{i}" for i in range(len(lengths))], "shop": ["x"] * len(lengths)})
    return Snapshot(pa.concat_tables(past), pa.concat_tables(ahead), static)


def _with_y(snapshot: Snapshot, y: np.ndarray) -> Snapshot:
    history = snapshot.history.set_column(2, "y", pa.array(y, from_pandas=True))
    return Snapshot(history, snapshot.future, snapshot.static)


@given(st.integers(0, 10_000), st.integers(60, 150), st.integers(1, H))
@settings(max_examples=25, deadline=None)
def test_when_what_follows_an_origin_changes_then_its_sample_stays(seed: int, origin: int, step: int) -> None:
    task, snapshot = _task(), _snapshot([200, 180], seed)
    spec = direct_spec(task, snapshot)
    changed = floats(snapshot.history["y"])
    changed[origin + 1 : 200] += 1000.0
    asked = (np.array([0]), np.array([origin]), np.array([step]))
    before = DirectFrame(snapshot, task, spec).take(*asked)
    after = DirectFrame(_with_y(snapshot, changed), task, spec).take(*asked)
    assert np.array_equal(before.matrix, after.matrix, equal_nan=True)
    assert before.local_mean == after.local_mean
    assert before.seasonal_naive == after.seasonal_naive
    assert before.seasonal_abs_error == after.seasonal_abs_error
    assert after.y == before.y + 1000.0


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_when_only_the_context_is_given_then_every_bit_of_the_horizon_is_the_same(seed: int) -> None:
    task, snapshot = _task(), _snapshot([400, 350, 90], seed)
    spec = direct_spec(task, snapshot)
    whole = DirectFrame.horizon(snapshot, task, spec)
    tail = DirectFrame.horizon(truncate_history(snapshot, spec.context_length), task, spec)
    for name in ("matrix", "local_mean", "local_std", "seasonal_naive", "seasonal_abs_error"):
        assert np.array_equal(getattr(whole, name), getattr(tail, name), equal_nan=True), name


def test_when_a_series_is_larger_then_only_its_size_and_covariates_tell() -> None:
    task, snapshot = _task(), _snapshot([200])
    spec = direct_spec(task, snapshot)
    small = DirectFrame.horizon(snapshot, task, spec)
    large = DirectFrame.horizon(_with_y(snapshot, floats(snapshot.history["y"]) * 1000), task, spec)
    size = spec.names.index("size")
    same = [i for i in range(len(spec.names)) if i != size]
    assert np.allclose(small.matrix[:, same], large.matrix[:, same], atol=1e-4, equal_nan=True)
    assert large.local_std == pytest.approx(small.local_std * 1000)


def test_when_a_covariate_lies_behind_the_horizon_then_training_does_not_see_it_either() -> None:
    task, snapshot = _task(), _snapshot([200])
    spec = direct_spec(task, snapshot)
    frame = DirectFrame(snapshot, task, spec)
    sample = frame.take(np.array([0, 0]), np.array([100, 100]), np.array([H, H - 1]))
    ahead = sample.matrix[:, spec.names.index("futr_plan_by-1")]
    assert np.isnan(ahead[0])
    assert np.isfinite(ahead[1])


def test_when_covariates_are_left_out_then_no_column_shows_them() -> None:
    task, snapshot = _task(), _snapshot([200])
    spec = direct_spec(task, snapshot, covariates=False)
    assert not [name for name in spec.names if "plan" in name or "kind" in name or "temp" in name]
    assert "stat_shop" in spec.names
    assert DirectFrame.horizon(snapshot, task, spec).matrix.shape == (H, len(spec.names))


def test_when_columns_are_named_then_there_is_one_name_for_each() -> None:
    task, snapshot = _task(), _snapshot([200, 150])
    spec = direct_spec(task, snapshot)
    assert len(set(spec.names)) == len(spec.names)
    assert DirectFrame.horizon(snapshot, task, spec).matrix.shape == (2 * H, len(spec.names))
    assert [spec.names[index] for index in spec.categorical] == ["futr_kind", "stat_shop"]


def test_when_a_series_has_one_value_then_its_sample_is_finite_where_it_must_be() -> None:
    task, snapshot = _task(), _snapshot([200, 1])
    samples = DirectFrame.horizon(snapshot, task, direct_spec(task, snapshot))
    for values in (samples.local_mean, samples.local_std, samples.seasonal_naive, samples.seasonal_abs_error):
        assert np.isfinite(values).all()
    assert (samples.local_std > 0).all()
    assert (samples.seasonal_abs_error > 0).all()
