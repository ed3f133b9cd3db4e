from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

from quantis.errors import Unavailable
from tests.serve.api_under_test import HOURS, START, rows, value

URL = "/v1/models/demand/forecasts"
GOOD, OTHER = "JFK/B6", "EWR/UA"


def moment(hour):
    return (START + timedelta(hours=hour)).isoformat().replace("+00:00", "Z")


def ask(client, series, **more):
    series = [{"unique_id": one} if isinstance(one, str) else one for one in series]
    answer = client.post(URL, json={"series": series, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def own(unique_id=GOOD, hours=range(HOURS - 48, HOURS), **more):
    """A request that brings its history."""
    return {
        "unique_id": unique_id, "start": moment(hours.start), "y": [value(unique_id, hour) for hour in hours],
        "hist_exog": {"temp": [0.0] * len(hours)}, "stat_exog": {"carrier": "B6"},
        "futr_exog": {"scheduled": [1.0] * (len(hours) + 24)}, **more,
    }  # fmt: skip


def day_before(unique_id, hour, steps=24):
    """What seasonal naive says of the steps after an hour."""
    return [value(unique_id, hour - 23 + step % 24) for step in range(steps)]


def told(entry):
    return entry["unique_id"], entry["status"], entry["method"], entry["reason"]


def test_when_a_stored_series_is_named_then_its_last_day_is_repeated_after_its_last_hour(client):
    body = ask(client, [GOOD])
    (entry,) = body["forecasts"]
    assert told(entry) == (GOOD, "ok", "model", None)
    assert entry["ds"] == [moment(HOURS + step) for step in range(24)]
    assert entry["mean"] == day_before(GOOD, HOURS - 1)
    assert list(entry["quantiles"]) == ["0.025", "0.1", "0.25", "0.5", "0.75", "0.9", "0.975"]
    fan = np.array(list(entry["quantiles"].values()))
    assert (np.diff(fan, axis=0) >= 0).all()
    assert body["model"] == {"name": "demand", "version": 1, "alias": "champion", "family": "seasonal_naive"}
    assert body["freq"] == "h"


@pytest.mark.parametrize(
    ("ref", "version", "alias"),
    [("demand", 1, "champion"), ("demand@champion", 1, "champion"), ("demand:2", 2, None),
     ("demand@candidate", None, "candidate")],
)  # fmt: skip
def test_when_the_model_is_named_in_any_form_then_the_answer_says_which_version_it_is(
    client, registry, ref, version, alias
):
    newest = registry.resolve("demand@candidate").version  # other tests publish versions, too
    body = client.post(f"/v1/models/{ref}/forecasts", json={"series": [{"unique_id": GOOD}]}).json()
    assert (body["model"]["version"], body["model"]["alias"]) == (version or newest, alias)


@pytest.mark.parametrize("ref", ["nothing", "demand@nobody", "demand:99", "demand:999999999"])
def test_when_the_model_is_not_there_then_it_is_404(client, problem, ref):
    problem(
        client.post(f"/v1/models/{ref}/forecasts", json={"series": [{"unique_id": GOOD}]}), 404, "not_found"
    )


def test_when_a_history_is_sent_then_it_counts_and_not_the_stored_one(client):
    hours = range(100, 148)
    (entry,) = ask(client, [own(hours=hours)])["forecasts"]
    assert told(entry) == (GOOD, "ok", "model", None)
    assert entry["ds"][0] == moment(148)
    assert entry["mean"] == day_before(GOOD, 147)
    (changed,) = ask(client, [own(y=[7.0] * 48)])["forecasts"]
    assert changed["mean"] == [7.0] * 24


def test_when_a_history_comes_by_times_with_a_gap_then_the_gap_is_a_missing_value(client):
    hours = [hour for hour in range(HOURS - 48, HOURS) if hour != HOURS - 10]
    request = own(ds=[moment(hour) for hour in hours], y=[value(GOOD, hour) for hour in hours])
    request |= {"futr_exog": {"scheduled": [1.0] * 24}, "hist_exog": {"temp": [None] * 47}}
    del request["start"]
    (entry,) = ask(client, [request])["forecasts"]
    expected = day_before(GOOD, HOURS - 1)
    expected[14] = value(GOOD, HOURS - 34)  # the day before that
    assert (entry["status"], entry["mean"]) == ("ok", expected)


def test_when_a_history_lacks_covariates_then_the_store_fills_them_in(client):
    bare = {"unique_id": GOOD, "start": moment(HOURS - 48), "y": [1.0] * 48}
    assert told(ask(client, [bare])["forecasts"][0]) == (GOOD, "ok", "model", None)
    assert told(ask(client, [bare | {"start": moment(HOURS)}])["forecasts"][0]) == (
        GOOD, "fallback", "seasonal_naive", "missing_future",
    )  # fmt: skip


MIXTURE = {
    "known": (GOOD, (GOOD, "ok", "model", None)),
    "no schedule ahead": ("GAP/G4", ("GAP/G4", "fallback", "seasonal_naive", "missing_future")),
    "short": ("TINY/T1", ("TINY/T1", "fallback", "last_value", "short_history")),
    "ended long ago": ("OLD/O1", ("OLD/O1", "ok", "model", None)),
    "never heard of": ("NO/NE", ("NO/NE", "refused", "none", "unknown_series")),
    "new with a history": (own("NEW/N1"), ("NEW/N1", "fallback", "seasonal_naive", "unknown_series")),
    "new with one value": (
        {"unique_id": "NEW/N2", "start": moment(0), "y": [5.0]}, ("NEW/N2", "fallback", "last_value", "unknown_series"),
    ),
    "empty": ({"unique_id": OTHER, "y": []}, (OTHER, "fallback", "typical", "no_history")),
    "all missing": (own(OTHER, y=[None] * 48), (OTHER, "refused", "none", "no_history")),
    "the same again": (GOOD, (GOOD, "ok", "model", None)),
    "the same with another history": (own(y=[7.0] * 48), (GOOD, "ok", "model", None)),
}  # fmt: skip


def test_when_series_of_every_kind_are_mixed_then_each_gets_its_entry_in_the_requested_order(client):
    names = [*MIXTURE, *reversed(MIXTURE)]
    entries = ask(client, [MIXTURE[name][0] for name in names])["forecasts"]
    assert [told(entry) for entry in entries] == [MIXTURE[name][1] for name in names]
    for name, entry in zip(names, entries, strict=True):
        steps = 0 if entry["status"] == "refused" else 24
        assert len(entry["ds"]) == len(entry["mean"]) == steps
        assert all(len(values) == steps for values in entry["quantiles"].values())
        assert (entry["detail"] is None) == (entry["status"] == "ok")
        alone = ask(client, [MIXTURE[name][0]])["forecasts"][0]
        assert entry == alone


def test_when_one_id_comes_with_two_histories_then_each_entry_is_of_its_own(client):
    low, high = own(y=[1.0] * 48), own(y=[9.0] * 48)
    entries = ask(client, [low, GOOD, high, low])["forecasts"]
    assert [entry["mean"][0] for entry in entries] == [1.0, day_before(GOOD, HOURS - 1)[0], 9.0, 1.0]


def test_when_a_series_ended_long_ago_then_its_forecast_follows_its_own_last_value(client):
    (old, good) = ask(client, ["OLD/O1", GOOD])["forecasts"]
    assert old["ds"][0] == moment(-2950)
    last = [value("OLD/O1", hour) for hour in range(-3000, -2950)]
    assert set(old["mean"]) <= set(last)
    assert good["ds"][0] == moment(HOURS)


@pytest.mark.parametrize("ahead", ["2124-03-01T00:00:00Z", "2024-03-01T00:00:00Z"])
def test_when_one_value_of_one_series_is_dated_ahead_then_no_other_series_begins_later(client, ahead):
    """k01: neither a value of later than now, nor one of a wrong month, is the end of another series."""
    before = ask(client, [OTHER])["forecasts"]
    future = ahead > "2100"
    body = {"series": [{"unique_id": GOOD, "ds": [ahead], "y": [1.0]}]}
    answer = client.post("/v1/datasets/flights/observations", json=body)
    assert answer.status_code == 201
    assert [finding["code"] for finding in answer.json()["findings"]] == ["D045"] * future
    assert ask(client, [OTHER])["forecasts"] == before
    if future:
        assert ask(client, [GOOD])["forecasts"][0]["ds"][0] == moment(HOURS)


def test_when_a_series_came_with_a_later_version_then_the_model_says_that_it_never_saw_it(world, client):
    table = rows("NEW/N9", range(HOURS), ahead=24)
    world.services.catalogue.ingest("default", "admin", "flights", table, "more.csv")
    (entry,) = ask(client, ["NEW/N9"])["forecasts"]
    assert told(entry) == ("NEW/N9", "fallback", "seasonal_naive", "unknown_series")
    assert len(entry["mean"]) == 24


# How far and how wide


def test_when_fewer_steps_are_asked_then_only_those_come(client):
    (entry,) = ask(client, [GOOD], h=3)["forecasts"]
    assert entry["mean"] == day_before(GOOD, HOURS - 1)[:3]
    assert {len(values) for values in entry["quantiles"].values()} == {3}
    short = own(futr_exog={"scheduled": [1.0] * 3})
    assert told(ask(client, [short], h=3)["forecasts"][0]) == (GOOD, "ok", "model", None)
    with_history = own(futr_exog={"scheduled": [1.0] * 51})
    assert told(ask(client, [with_history], h=3)["forecasts"][0]) == (GOOD, "ok", "model", None)


@pytest.mark.parametrize("h", [25, 10_000])
def test_when_more_steps_are_asked_than_the_model_has_then_it_is_422_and_says_how_many(client, problem, h):
    body = problem(client.post(URL, json={"series": [{"unique_id": GOOD}], "h": h}), 422, "invalid_input")
    assert "horizon 24" in body["detail"]


def test_when_levels_are_asked_then_their_tails_and_the_median_come(client):
    (entry,) = ask(client, [GOOD], level=[80, 95])["forecasts"]
    assert list(entry["quantiles"]) == ["0.025", "0.1", "0.5", "0.9", "0.975"]
    (all_of_them,) = ask(client, [GOOD])["forecasts"]
    for name, values in entry["quantiles"].items():
        assert values == all_of_them["quantiles"][name]


def test_when_a_quantile_between_two_is_asked_then_it_lies_between_them(client):
    (entry,) = ask(client, [GOOD], quantiles=[0.2, 0.1, 0.25, 0.1])["forecasts"]
    assert list(entry["quantiles"]) == ["0.1", "0.2", "0.25"]
    low, middle, high = (np.array(values) for values in entry["quantiles"].values())
    assert ((low <= middle) & (middle <= high)).all()
    assert np.allclose(middle, low + (high - low) * 2 / 3)


@pytest.mark.parametrize("wish", [{"level": [99]}, {"quantiles": [0.01]}, {"quantiles": [0.5, 0.99]}])
def test_when_a_quantile_is_wider_than_training_then_it_is_422_and_says_the_range(client, problem, wish):
    body = problem(client.post(URL, json={"series": [{"unique_id": GOOD}], **wish}), 422, "invalid_input")
    assert "0.025 to 0.975" in body["detail"]


@pytest.mark.parametrize(
    "wish",
    [{"level": [80], "quantiles": [0.5]}, {"level": [0]}, {"level": [100]}, {"quantiles": [0]}, {"quantiles": [1]},
     {"h": 0}, {"deadline_ms": 0}, {"series": []}, {"level": [50] * 51}, {"quantiles": [0.5] * 101}],
)  # fmt: skip
def test_when_the_wish_makes_no_sense_then_it_is_422(client, problem, wish):
    problem(client.post(URL, json={"series": [{"unique_id": GOOD}], **wish}), 422, "invalid_input")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ds": [moment(0)]}, "either start or ds"),
        ({"start": None}, "either start or ds"),
        ({"y": None}, "times without y"),
        ({"start": None, "ds": [moment(0)]}, "ds has 1 times, y 48 values"),
        ({"start": None, "y": [1, 2], "ds": [moment(1), moment(0)]}, "do not rise"),
        ({"start": None, "y": [1, 2], "ds": [moment(0), moment(0)]}, "do not rise"),
        ({"start": None, "y": [1, 2], "ds": [moment(0), "2024-01-01T00:30:00Z"]}, "do not rise"),
        ({"start": None, "y": [1, 2], "ds": ["1701-01-01T00:00:00Z", moment(0)]}, "at most 100000"),
        ({"start": "2261-12-31T00:00:00Z"}, "pass the year 2261"),
        ({"futr_exog": {"scheduled": [1.0] * 5}}, "scheduled has 5 values and needs 24, or 72"),
        ({"futr_exog": {"scheduled": []}}, "scheduled has 0 values"),
        ({"hist_exog": {"temp": [1.0]}}, "temp has 1 values and needs 48"),
        ({"hist_exog": {"temp": ["warm"] * 48}}, "temp holds a value that is not a double"),
        ({"stat_exog": {"carrier": 7}}, "carrier holds a value that is not a string"),
    ],
)
def test_when_a_sent_history_is_odd_then_it_is_422_and_says_what(client, problem, change, reason):
    series = {key: item for key, item in (own() | change).items() if item is not None}
    body = problem(client.post(URL, json={"series": [series]}), 422, "invalid_input")
    assert reason in body["detail"]


# Time


def test_when_as_of_lies_back_then_nothing_later_is_seen(client):
    hour = 300
    body = ask(client, [GOOD], as_of=moment(hour))
    (entry,) = body["forecasts"]
    # A value is known one hour after its time.
    assert entry["ds"] == [moment(hour + step) for step in range(24)]
    assert entry["mean"] == day_before(GOOD, hour - 1)
    assert body["as_of"] == moment(hour)
    half_past = (START + timedelta(hours=hour, minutes=30)).isoformat()
    assert ask(client, [GOOD], as_of=half_past)["forecasts"] == body["forecasts"]


def test_when_a_correction_is_stored_then_only_later_forecasts_know_it(world, client):
    before = ask(client, [GOOD], as_of=moment(HOURS))["forecasts"]
    changed = rows(GOOD, range(HOURS - 24, HOURS))
    changed = changed.set_column(2, "y", [[1000.0] * 24])
    result = world.services.catalogue.ingest("default", "admin", "flights", changed, "corrected.csv")
    assert result.version.number == 2
    assert ask(client, [GOOD], as_of=moment(HOURS))["forecasts"] == before
    assert ask(client, [GOOD])["forecasts"][0]["mean"] == [1000.0] * 24


@pytest.mark.parametrize("as_of", ["2000-01-01T00:00:00Z", "1700-01-01T00:00:00Z", moment(0)])
def test_when_as_of_is_before_the_first_value_then_the_entry_is_refused(client, as_of):
    assert told(ask(client, [GOOD], as_of=as_of)["forecasts"][0]) == (GOOD, "refused", "none", "no_history")


def test_when_as_of_lies_ahead_then_it_is_as_now(client):
    ahead = ask(client, [GOOD], as_of="2200-01-01T00:00:00Z")["forecasts"]
    assert ahead == ask(client, [GOOD])["forecasts"]


# The ledger


def test_when_a_forecast_was_issued_then_it_can_be_read_back_as_it_was(world, client, problem):
    body = ask(client, [GOOD, "NO/NE"], level=[80])
    assert client.get(f"/v1/forecasts/{body['forecast_id']}").json() == body
    assert world.client("viewer").get(f"/v1/forecasts/{body['forecast_id']}").json() == body
    assert ask(client, [GOOD])["forecast_id"] != body["forecast_id"]
    problem(client.get("/v1/forecasts/unknown"), 404, "not_found")


def test_when_the_champion_changes_then_replicas_follow_within_seconds_and_old_forecasts_stay(
    world, client, monkeypatch
):
    old = ask(client, [GOOD])
    bundle = world.registry.download(world.registry.get("demand", 1))
    from tests.serve.api_under_test import PASSED

    third = world.registry.publish("demand", bundle, metrics={}, gate=PASSED)
    try:
        world.registry.promote("demand", third.version)
        clock = time.monotonic
        monkeypatch.setattr("serve.forecasting.engine.time.monotonic", lambda: clock() + 3)
        assert ask(client, [GOOD])["model"]["version"] == third.version
        assert client.get(f"/v1/forecasts/{old['forecast_id']}").json() == old
    finally:
        world.registry.promote("demand", 1)


# A forecaster in trouble


def test_when_the_forecaster_cannot_be_reached_then_it_is_503(in_trouble, problem):
    client = in_trouble(Unavailable("no replica answers; try again")).client("viewer")
    problem(client.post(URL, json={"series": [{"unique_id": GOOD}]}), 503, "unavailable")


def test_when_the_forecaster_breaks_in_an_unforeseen_way_then_the_answer_tells_nothing_of_it(
    in_trouble, problem
):
    client = in_trouble(RuntimeError("password=hunter2 at /srv/secret.py")).client("viewer")
    answer = client.post(URL, json={"series": [{"unique_id": GOOD}]})
    body = problem(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert body["request_id"] in body["detail"] or "request id" in body["detail"]
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
