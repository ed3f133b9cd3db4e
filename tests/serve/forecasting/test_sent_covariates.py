"""Covariates in a request: used where the model knows them, and refused by name where it does not (k02, k03)."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.arrays import floats, predictions
from models.families.naive import ColumnForecast
from tests.serve.api.test_forecasts_api import GOOD, OTHER, URL, ask, moment, own, told
from tests.serve.api_under_test import HOURS

STORED = [float((HOURS + step) % 24) for step in range(24)]


class ByCovariates(ColumnForecast):
    """Forecasts what is scheduled, and a thousand for each character of the carrier."""

    def predict(self, snapshot):
        lengths = pc.utf8_length(snapshot.static["carrier"].fill_null("")).to_numpy()
        scheduled = floats(snapshot.future["scheduled"])
        return predictions(snapshot.future, scheduled + np.repeat(lengths * 1000.0, self.task.h))


@pytest.fixture
def asking(world):
    """A client of an API whose champion answers with what it is told of covariates."""
    with world.client("admin") as client:
        ask(client, [GOOD])
        models = world.forecaster.engine.models._models
        key = ("default", "demand", 1)
        models[key] = replace(models[key], forecaster=ByCovariates(models[key].task, "scheduled"))
        yield client


def scenario(unique_id=GOOD, **sent):
    return {"unique_id": unique_id, **sent}


def test_when_a_stored_series_comes_with_covariates_then_they_take_the_place_of_the_stored_ones(asking):
    requested = [
        GOOD,
        scenario(futr_exog={"scheduled": [5.0] * 24}),
        scenario(futr_exog={"scheduled": [7.0] * 24}, stat_exog={"carrier": "ABCD"}),
        scenario(OTHER, stat_exog={"carrier": None}),
        GOOD,
    ]
    entries = ask(asking, requested)["forecasts"]
    assert [entry["status"] for entry in entries] == ["ok"] * 5
    assert entries[0] == entries[4]
    assert entries[0]["mean"] == [2000 + value for value in STORED]
    assert entries[1]["mean"] == [2005.0] * 24
    assert entries[2]["mean"] == [4007.0] * 24
    assert entries[3]["mean"] == STORED
    assert {tuple(entry["ds"]) for entry in entries} == {tuple(entries[0]["ds"])}


def test_when_a_scenario_is_of_fewer_steps_or_lacks_a_value_then_it_is_for_these_steps(asking):
    short = scenario(futr_exog={"scheduled": [1.0, 2.0, 3.0]})
    assert ask(asking, [short], h=3)["forecasts"][0]["mean"] == [2001.0, 2002.0, 2003.0]
    gap = scenario(futr_exog={"scheduled": [1.0, None, 3.0]})
    assert told(ask(asking, [gap], h=3)["forecasts"][0])[2:] == ("seasonal_naive", "missing_future")


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    scenarios=st.lists(
        st.tuples(
            st.sampled_from([GOOD, OTHER]),
            st.lists(st.integers(-999, 999).map(float), min_size=24, max_size=24) | st.none(),
            st.text("XYZ", max_size=5) | st.none(),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_when_any_scenarios_are_sent_then_each_is_answered_by_its_own_values(asking, scenarios):
    requested, expected = [], []
    for name, scheduled, carrier, brings_history in scenarios:
        series = scenario(name)
        if brings_history:
            series |= {"start": moment(HOURS - 48), "y": [1.0] * 48}
        if scheduled is not None:
            series["futr_exog"] = {"scheduled": scheduled}
        if carrier is not None:
            series["stat_exog"] = {"carrier": carrier}
        requested.append(series)
        base = 1000 * (2 if carrier is None else len(carrier))
        expected.append([base + value for value in (STORED if scheduled is None else scheduled)])
    assert [entry["mean"] for entry in ask(asking, requested)["forecasts"]] == expected


WRONG = {
    "a misspelt name": (
        {"futr_exog": {"schedule": [1.0] * 24}},
        "'schedule' is no futr_exog .* is scheduled meant",
    ),
    "a name of another role": (
        {"futr_exog": {"temp": [1.0] * 24}},
        "'temp' is no futr_exog .* send it as hist_exog",
    ),
    "an unknown static one": (
        {"stat_exog": {"airport": "JFK"}},
        "'airport' is no stat_exog .* knows carrier",
    ),
    "an unknown observed one": ({"hist_exog": {"tmp": [1.0] * 48}}, "'tmp' is no hist_exog .* is temp meant"),
    "too few values": ({"futr_exog": {"scheduled": [1.0] * 3}}, "scheduled has 3 values and needs 24"),
    "too many values": ({"futr_exog": {"scheduled": [1.0] * 25}}, "scheduled has 25 values and needs 24"),
    "no values": ({"futr_exog": {"scheduled": []}}, "scheduled has 0 values and needs 24"),
    "no number": (
        {"futr_exog": {"scheduled": ["many"] * 24}},
        "scheduled holds a value that is not a double",
    ),
    "no category": ({"stat_exog": {"carrier": 7}}, "carrier holds a value that is not a string"),
}
HISTORIES = {"stored": {}, "own": {"start": moment(HOURS - 48), "y": [1.0] * 48}}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("wrong", WRONG)
def test_when_a_covariate_is_wrong_then_the_request_is_422_and_names_it(client, problem, wrong, history):
    sent, said = WRONG[wrong]
    requested = [{"unique_id": OTHER}, scenario() | HISTORIES[history] | sent]
    body = problem(client.post(URL, json={"series": requested}), 422, "invalid_input")
    assert re.search(said, body["detail"]), body["detail"]
    assert GOOD in body["detail"]


def test_when_observed_covariates_come_without_their_history_then_it_is_422(client, problem):
    sent = scenario(hist_exog={"temp": [1.0] * 48})
    body = problem(client.post(URL, json={"series": [sent]}), 422, "invalid_input")
    assert "temp is of a history that is stored; send y and its times too" in body["detail"]


def test_when_a_series_without_a_value_yet_has_a_misspelt_covariate_then_it_is_422(client, problem):
    sent = {"unique_id": "NEW/N0", "y": [], "stat_exog": {"carier": "B6"}}
    body = problem(client.post(URL, json={"series": [sent]}), 422, "invalid_input")
    assert (
        "'carier' is no stat_exog of the model; the model knows carrier; is carrier meant?" in body["detail"]
    )


def test_when_known_values_are_of_the_history_alone_then_those_ahead_come_from_the_store(asking):
    sent = own(futr_exog={"scheduled": [1.0] * 48})
    assert ask(asking, [sent])["forecasts"][0]["mean"] == [2000 + value for value in STORED]
    sent["unique_id"], sent["start"] = GOOD, moment(HOURS)
    assert told(ask(asking, [sent])["forecasts"][0]) == (GOOD, "fallback", "seasonal_naive", "missing_future")


def test_when_nothing_looks_at_the_covariates_then_a_warning_says_so(client, asking):
    sent = {"futr_exog": {"scheduled": [5.0] * 24}}
    used = ask(asking, [scenario(**sent)])
    assert (told(used["forecasts"][0])[2], used["warnings"]) == ("model", [])
    short = scenario("NEW/N1", start=moment(0), y=[5.0], **sent)
    (warning,) = ask(asking, [scenario(**sent), short, scenario(OTHER)])["warnings"]
    assert warning == "the covariates sent for 'NEW/N1' change nothing: last_value looks at y alone"


def test_when_the_champion_looks_at_y_alone_then_a_what_if_is_answered_with_a_warning(client):
    assert ask(client, [GOOD, OTHER])["warnings"] == []
    requested = [
        scenario(futr_exog={"scheduled": [5.0] * 24}),
        scenario(OTHER, stat_exog={"carrier": "ABCD"}),
    ]
    (warning,) = ask(client, requested)["warnings"]
    assert warning == "the covariates sent for 'JFK/B6' and 1 more change nothing: the model looks at y alone"
