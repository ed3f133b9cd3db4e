"""Each series of a request is answered, or refused, on its own: by its share's version, and with its reason."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantis.types.registry import Share, Traffic
from tests.serve.api.test_forecasts_api import GOOD, OTHER, URL, ask, moment, own, told
from tests.serve.api_under_test import HOURS
from tests.serve.forecasting.test_traffic_split import two  # noqa: F401

NO_START = {"start": None}
UNUSABLE = {
    "off_grid": own("NEW/A", ds=[moment(0), "2024-01-01T00:30:00Z"], y=[1, 2], hist_exog={}, futr_exog={}),
    "twice": own("NEW/B", ds=[moment(0), moment(0)], y=[1, 2], hist_exog={}, futr_exog={}),
    "unsorted": own("NEW/C", ds=[moment(1), moment(0)], y=[1, 2], hist_exog={}, futr_exog={}),
    "too long": own("NEW/D", ds=["1701-01-01T00:00:00Z", moment(0)], y=[1, 2], hist_exog={}, futr_exog={}),
    "too late": own("NEW/E", start="2261-12-31T00:00:00Z"),
    "new, off the grid": {"unique_id": "NEW/F", "y": [], "start": "2024-01-01T00:30:00Z"},
    "new, too late": {"unique_id": "NEW/G", "y": [], "start": "2261-12-31T23:00:00Z"},
}
for series in UNUSABLE.values():
    if "ds" in series:
        del series["start"]
REASONS = ["off_grid"] * 3 + ["out_of_range"] * 2 + ["off_grid", "out_of_range"]


def test_when_some_series_are_unusable_then_they_alone_are_refused_with_their_reason(client):
    requested = [GOOD, *UNUSABLE.values(), own(OTHER), "NO/NE"]
    entries = ask(client, requested)["forecasts"]
    assert [told(entry)[1:] for entry in entries[1:-2]] == [("refused", "none", reason) for reason in REASONS]
    assert [told(entry) for entry in (entries[0], *entries[-2:])] == [
        (GOOD, "ok", "model", None), (OTHER, "ok", "model", None), ("NO/NE", "refused", "none", "unknown_series"),
    ]  # fmt: skip
    assert [entries[0]] == ask(client, [GOOD])["forecasts"]
    for series, entry in zip(UNUSABLE.values(), entries[1:-2], strict=True):
        assert series["unique_id"] in entry["detail"]
        assert (entry["ds"], entry["mean"], entry["quantiles"]) == ([], [], {})


def test_when_the_same_series_comes_usable_and_not_then_each_entry_is_of_its_own(client):
    odd = UNUSABLE["off_grid"] | {"unique_id": GOOD}
    entries = ask(client, [odd, GOOD, own(), odd])["forecasts"]
    assert [entry["status"] for entry in entries] == ["refused", "ok", "ok", "refused"]


@pytest.mark.parametrize("name", UNUSABLE)
def test_when_nothing_that_was_sent_can_be_used_then_the_request_is_422(client, problem, name):
    body = problem(client.post(URL, json={"series": [UNUSABLE[name]] * 2}), 422, "invalid_input")
    assert [error["pointer"] for error in body["errors"]] == ["/series/0", "/series/1"]
    assert body["errors"][0]["message"] == body["detail"]


def test_when_own_histories_come_without_a_future_then_they_fall_back_as_ids_do(client):
    later = {"start": moment(HOURS)}
    without = own(**later)
    del without["futr_exog"]
    history_only = own(futr_exog={"scheduled": [1.0] * 48}, **later)
    for series in ("GAP/G4", without, history_only):
        (entry,) = ask(client, [series])["forecasts"]
        assert told(entry)[1:] == ("fallback", "seasonal_naive", "missing_future")
        assert "no value for scheduled" in entry["detail"]


# Versions


def divided(world, percent):
    world.registry.set_traffic("demand", Traffic(shares=(Share(version=world.second, percent=percent),)))


NAMES = [f"S{number}" for number in range(20)]


def test_when_a_request_holds_many_series_then_each_is_answered_by_its_share_s_version(two):  # noqa: F811
    divided(two, 50)
    with two.client("viewer") as client:
        alone = {name: ask(client, [own(name)])["model"]["version"] for name in NAMES}
        assert set(alone.values()) == {1, two.second}
        body = ask(client, [own(name) for name in NAMES])
        versions = {entry["unique_id"]: entry["version"] for entry in body["forecasts"]}
        assert versions == alone
        assert body["model"]["version"] == alone[NAMES[0]]
        counts = [list(alone.values()).count(version) for version in (1, two.second)]
        assert sorted(text for text in body["warnings"] if "version" in text) == sorted(
            f"{count} of 20 series are answered by version {version}, as the model's shares divide them"
            for count, version in zip(counts, (1, two.second), strict=True)
        )
        assert client.get(f"/v1/forecasts/{body['forecast_id']}").json() == body
        whole = ask(client, [own(name) for name in NAMES if alone[name] == 1])
        assert not any("version" in text for text in whole["warnings"])
        assert {entry.get("version") for entry in whole["forecasts"]} == {None}


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8), percent=st.integers(1, 100))
def test_when_series_come_in_any_company_then_their_version_stays(two, names, percent):  # noqa: F811
    divided(two, percent)
    with two.client("viewer") as client:
        body = ask(client, [own(name) for name in names])
        for name, entry in zip(names, body["forecasts"], strict=True):
            version = ask(client, [own(name)])["model"]["version"]
            assert version == entry.get("version", body["model"]["version"])


def test_when_one_version_has_a_shorter_horizon_then_its_series_alone_are_refused(two):  # noqa: F811
    divided(two, 50)
    with two.client("viewer") as client:
        ask(client, [own(name) for name in NAMES])
        models = two.forecaster.engine.models._models
        model = models["default", "demand", two.second]
        task = model.task.model_copy(update={"h": 12})
        model.forecaster.task = task
        entries = ask(client, [{"unique_id": name} | own(name, futr_exog={}) for name in NAMES], h=24)[
            "forecasts"
        ]
        by_version = {entry["version"]: (entry["status"], entry["reason"]) for entry in entries}
        assert by_version[two.second] == ("refused", "beyond_model")
        assert by_version[1][0] == "fallback"
        assert "horizon 12" in next(e["detail"] for e in entries if e["version"] == two.second)
