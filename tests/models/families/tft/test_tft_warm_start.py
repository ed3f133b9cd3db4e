from __future__ import annotations

import numpy as np
import pytest

from models.arrays import keep_series
from models.families.naive import SeasonalNaive
from models.families.tft.forecaster import TftForecaster
from models.families.tft.training import fit
from models.families.tft.warm_start import check_warm_start, last_timestamp
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import Conflict
from quantis.panel import Snapshot
from quantis.types.job_specs import TftParams

PARAMS = TftParams(hidden_size=8, attention_heads=2, dropout=0.1, encoder_length=12, batch_size=16, steps=60)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(one_thread, make_task, make_snapshot):
    """A model of two series; then a third series has come."""
    task = make_task(h=6, quantiles=(0.1, 0.5, 0.9), season_lengths=(24,))
    whole, _ = make_snapshot(task, {"a": 90, "b": 60, "new": 70})
    old = keep_series(whole, ["a", "b"])
    return task, old, whole, fit(old, task, PARAMS)


def _losses(snapshot, task, params, **more) -> list[float]:
    losses: list[float] = []
    fit(snapshot, task, params, progress=lambda _, loss: losses.append(loss), **more)
    return losses


def test_when_training_goes_on_from_a_model_then_it_begins_with_what_that_one_had_learned(case):
    task, _, whole, parent = case
    params = PARAMS.model_copy(update={"steps": 20, "learning_rate": 1e-3})
    assert _losses(whole, task, params, parent=parent)[0] < 0.7 * _losses(whole, task, params)[0]


def test_when_a_series_is_new_then_it_gets_scales_of_its_own_and_the_others_keep_theirs(case):
    task, _, whole, parent = case
    child = fit(whole, task, PARAMS.model_copy(update={"steps": 1}), parent=parent)
    assert child.scales.ids == ("a", "b", "new")
    assert np.array_equal(child.scales.series[:2], parent.scales.series)
    assert child.predict(whole).num_rows == 3 * task.h


def test_when_a_model_went_on_from_another_then_its_bundle_says_from_which_and_what_it_has_seen(
    case, tmp_path
):
    task, _, whole, parent = case
    child = fit(whole, task, PARAMS.model_copy(update={"steps": 1}), parent=parent, parent_name="demand:7")
    child_model = read_bundle(write_bundle(tmp_path / "b", child, whole))
    assert isinstance(child_model, TftForecaster)
    assert child_model.lineage.parent == "demand:7"
    assert child_model.lineage.trained_until == last_timestamp(whole)
    assert parent.lineage.parent == ""


def test_when_sizes_differ_then_those_of_the_parent_hold_and_the_rest_is_the_jobs(case):
    task, old, _, parent = case
    requested = TftParams(hidden_size=64, encoder_length=48, steps=7)
    _, params = check_warm_start(parent, "demand:7", old, task, requested)
    assert (params.hidden_size, params.encoder_length, params.steps) == (8, 12, 7)


def test_when_the_parent_has_seen_what_comes_after_the_snapshot_then_it_is_refused(case):
    task, old, _, parent = case
    earlier = Snapshot(old.history.slice(0, 50), old.future, old.static)
    with pytest.raises(Conflict, match="demand:7 has seen data until 2013-03-04 17:00"):
        check_warm_start(parent, "demand:7", earlier, task, PARAMS)


def test_when_the_parent_is_another_kind_of_model_then_the_reason_is_told(case):
    task, old, _, parent = case
    with pytest.raises(Conflict, match="needs a tft"):
        check_warm_start(SeasonalNaive.fit(old, task, 24), "demand:7", old, task, PARAMS)
    other = task.model_copy(update={"quantiles": (0.5,)})
    with pytest.raises(Conflict, match="make them agree"):
        check_warm_start(parent, "demand:7", old, other, PARAMS)
