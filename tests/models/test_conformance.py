from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from examples.own_model import Drift
from models.arrays import floats
from models.conformance import check
from models.families.boosting.model import Boosting, PlainBoosting, RecentBoosting
from models.families.catalogue import family_class, known_families
from models.families.ensemble import Ensemble
from models.families.naive import LastValue, SeasonalNaive
from models.families.statistical import Statistical
from models.families.tft import training
from models.families.tft.forecaster import TftForecaster
from models.families.theta import Theta
from models.forecaster import Forecaster, Parts
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import InvalidInput, Unavailable
from quantis.types.job_specs import TftParams


def test_when_the_example_is_checked_then_it_keeps_every_promise():
    assert check(Drift) == []


def _blended(snapshot, task):
    return Ensemble(task, [(0.4, Theta.fit(snapshot, task)), (0.6, Boosting.fit(snapshot, task))])


def _trained(snapshot, task):
    params = TftParams(hidden_size=8, attention_heads=2, encoder_length=48, batch_size=16, steps=4)
    return training.fit(snapshot, task, params)


@pytest.mark.parametrize(
    ("family", "fit"),
    [
        (SeasonalNaive, lambda snapshot, task: SeasonalNaive.fit(snapshot, task, 24)),
        (LastValue, LastValue.fit),
        (Theta, Theta.fit),
        (Statistical, Statistical.fit),
        (Boosting, Boosting.fit),
        (RecentBoosting, RecentBoosting.fit),
        (PlainBoosting, PlainBoosting.fit),
        (Ensemble, _blended),
        (TftForecaster, _trained),
    ],
    ids=lambda one: getattr(one, "family", ""),
)
def test_when_our_own_families_are_checked_then_they_keep_every_promise(family, fit):
    assert check(family, fit) == []


class Crossing(Drift):
    def predict(self, snapshot):
        answer = super().predict(snapshot)
        return answer.set_column(
            answer.column_names.index("q0.1"), "q0.1", pa.array(floats(answer["q0.9"]) + 1)
        )


class Backwards(Drift):
    def predict(self, snapshot):
        answer = super().predict(snapshot)
        return answer.take(np.arange(answer.num_rows)[::-1])


class Forgetful(Drift):
    def parts(self):
        return Parts(config={"spread": 3.0})


class Random(Drift):
    def predict(self, snapshot):
        answer = super().predict(snapshot)
        noise = np.random.default_rng().normal(size=answer.num_rows)
        return answer.set_column(answer.column_names.index("mean"), "mean", pa.array(noise))


class Nearsighted(Drift):
    @property
    def context_length(self):
        return 2000 if getattr(self, "honest", False) else 5

    def _forecast_one(self, series):
        self.honest = True
        try:
            return super()._forecast_one(series)
        finally:
            self.honest = False


class Unfinished(Drift):
    @classmethod
    def fit(cls, snapshot, task, deadline=None):
        raise RuntimeError("not written yet")


class Shouting(Drift):
    family = "Drift!"


class Vague(Drift):
    intervals_measured = "mostly"


class Timeless(Drift):
    @classmethod
    def fit(cls, snapshot, task):  # type: ignore[override]
        return super().fit(snapshot, task)


@pytest.mark.parametrize(
    ("family", "promise", "what"),
    [
        (Crossing, "do not cross", "quantiles cross"),
        (Backwards, "in order", "another order"),
        (Forgetful, "bundle", "predicts"),
        (Random, "predicts the same", "fix the seed"),
        (Nearsighted, "no further back", "make it longer"),
        (Unfinished, "can be fitted", "RuntimeError: not written yet"),
        (Shouting, "can be named", "lower-case"),
        (Timeless, "ends at its deadline", "deadline"),
        (Vague, "intervals_measured", "'mostly'"),
    ],
)
def test_when_a_class_breaks_a_promise_then_the_finding_names_it(family, promise, what):
    findings = [str(finding) for finding in check(family)]
    assert any(promise in finding and what in finding for finding in findings), findings


def test_when_a_bundle_is_of_an_own_family_then_it_loads_from_the_allowed_class_alone(
    make_task, make_snapshot, tmp_path
):
    task = make_task(h=6)
    snapshot, _ = make_snapshot(task, {"a": 300, "b": 300})
    folder = write_bundle(tmp_path / "bundle", Drift.fit(snapshot, task), snapshot)
    with pytest.raises(InvalidInput, match="'drift' is not one of"):
        read_bundle(folder)
    again = read_bundle(folder, known_families({"drift": "examples.own_model:Drift"}))
    assert again.predict(snapshot).equals(Drift.fit(snapshot, task).predict(snapshot))


def test_when_an_own_family_is_in_a_blend_then_the_bundle_comes_back_with_it(
    make_task, make_snapshot, tmp_path
):
    task = make_task(h=6)
    snapshot, _ = make_snapshot(task, {"a": 300, "b": 300})
    members: list[tuple[float, Forecaster]] = [
        (0.5, Drift.fit(snapshot, task)),
        (0.5, SeasonalNaive.fit(snapshot, task, 24)),
    ]
    model = Ensemble(task, members)
    folder = write_bundle(tmp_path / "bundle", model, snapshot)
    with pytest.raises(InvalidInput, match="'drift' is not one of"):
        read_bundle(folder)
    again = read_bundle(folder, known_families({"drift": "examples.own_model:Drift"}))
    assert again.predict(snapshot).equals(model.predict(snapshot))


def test_when_an_own_family_cannot_be_had_then_it_says_what_to_change():
    with pytest.raises(InvalidInput, match="platform's own"):
        known_families({"boosting": "examples.own_model:Drift"})
    with pytest.raises(Unavailable, match=r"nowhere\.at\.all"):
        family_class("drift", {"drift": "nowhere.at.all:Drift"})
    with pytest.raises(Unavailable, match="calls itself 'drift', not 'other'"):
        family_class("other", {"other": "examples.own_model:Drift"})
