"""Adaptive calibration through the API: what scored actuals do to the next forecast, and the switch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.model_monitoring.calibration_updates import CalibrationUpdates
from cluster.repositories.accounts import DEFAULT_TEAM
from models.registry.bundle import read_bundle
from quantis.errors import Unavailable
from quantis.panel import TIMESTAMP
from serve.forecasting import adaptive_intervals
from serve.forecasting.model_cache import LoadedModel
from serve.operations.deployment import loops
from tests.serve.api_under_test import World

BODY = {"series": [{"unique_id": "EWR/UA"}], "quantiles": [0.1, 0.5, 0.9]}
TIMES = ("ds", "known_at", "issued_at", "scored_at")


@pytest.fixture(autouse=True)
def _looked_up_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive_intervals, "ALIAS_SECONDS", 0.0)


def _forecast(world: World) -> dict[str, Any]:
    response = world.client("viewer").post("/v1/models/demand/forecasts", json=BODY)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _widths(answer: dict[str, Any]) -> np.ndarray:
    quantiles = answer["forecasts"][0]["quantiles"]
    return np.array(quantiles["0.9"]) - np.array(quantiles["0.1"])


def _scores(answer: dict[str, Any], *, above: bool, scored_at: datetime, **marks: Any) -> pa.Table:
    """Return scores of a forecast whose actuals all lie above the interval, or close to its median; 30 series alike."""
    entry = answer["forecasts"][0]
    quantiles = np.array([entry["quantiles"][level] for level in ("0.1", "0.5", "0.9")]).T  # [steps, levels]
    y = quantiles[:, 2] + 1 if above else 0.99 * quantiles[:, 1] + 0.01 * quantiles[:, 2]
    rows = []
    for series in range(30):
        for step, ds in enumerate(entry["ds"]):
            rows.append(
                {"kind": "online", "method": "model", "model": "demand", "version": 1,
                 "unique_id": f"s{series}", "ds": datetime.fromisoformat(ds), "step": step + 1,
                 "known_at": datetime.fromisoformat(ds), "issued_at": datetime.fromisoformat(answer["issued_at"]),
                 "y": y[step], "mean": quantiles[step, 1], "levels": [0.1, 0.5, 0.9],
                 "values": quantiles[step].tolist(), "scored_at": scored_at, **marks}
            )  # fmt: skip
    table = pa.Table.from_pylist(rows)
    for name in TIMES:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(TIMESTAMP))
    return table


def _learn(world: World, scores: pa.Table) -> None:
    CalibrationUpdates(world.services).update_calibration(DEFAULT_TEAM, "flights", scores)


def test_when_actuals_miss_the_intervals_then_the_next_forecast_is_wider_and_says_under_which_state(
    world: World,
) -> None:
    before = _forecast(world)
    assert "calibration" not in before["forecasts"][0]
    assert world.client("viewer").get("/v1/models/demand/calibration").json() == {
        "model": "demand", "enabled": True, "versions": []
    }  # fmt: skip
    _learn(world, _scores(before, above=True, scored_at=datetime.now(UTC)))
    after = _forecast(world)
    assert after["forecasts"][0]["calibration"] == 1
    (version,) = world.client("viewer").get("/v1/models/demand/calibration").json()["versions"]
    factors = np.repeat([stretch["factor"] for stretch in version["stretches"]], 6)
    assert (factors > 1.2).all()
    assert (version["number"], version["applied"]) == (1, True)
    quantiles = [answer["forecasts"][0]["quantiles"] for answer in (before, after)]
    above = [np.array(each["0.9"]) - np.array(each["0.5"]) for each in quantiles]
    np.testing.assert_allclose(above[1], factors * above[0])
    assert quantiles[0]["0.5"] == quantiles[1]["0.5"]


def test_when_the_same_scores_come_again_then_nothing_changes(world: World) -> None:
    scores = _scores(_forecast(world), above=True, scored_at=datetime.now(UTC))
    for _ in range(2):
        _learn(world, scores)
    assert [each.number for each in world.services.calibrations.of_model(DEFAULT_TEAM, "demand")] == [1]


@pytest.mark.parametrize(
    "marks",
    [
        {"kind": "replay"},
        {"method": "last_value"},
        {"scenario": True},
        {"hindsight": True},
        {"correction": True},
    ],
    ids=str,
)
def test_when_scores_say_nothing_about_issued_intervals_then_nothing_is_learned(
    world: World, marks: dict[str, Any]
) -> None:
    _learn(world, _scores(_forecast(world), above=True, scored_at=datetime.now(UTC), **marks))
    assert world.services.calibrations.of_model(DEFAULT_TEAM, "demand") == []


def test_when_it_is_switched_off_then_the_bundles_intervals_are_served_and_nothing_is_learned(
    world: World, problem: Any
) -> None:
    before = _forecast(world)
    scored_at = datetime.now(UTC)
    _learn(world, _scores(before, above=True, scored_at=scored_at))
    engineer = world.client("ml_engineer")
    assert engineer.put("/v1/models/demand/calibration", json={"enabled": False}).json()["enabled"] is False
    off = _forecast(world)
    assert off["forecasts"][0]["quantiles"] == before["forecasts"][0]["quantiles"]
    assert "calibration" not in off["forecasts"][0]
    _learn(world, _scores(off, above=True, scored_at=scored_at + timedelta(seconds=1)))
    on = engineer.put("/v1/models/demand/calibration", json={"enabled": True}).json()
    learned = world.services.calibrations.since(DEFAULT_TEAM, "demand", 1, scored_at)
    assert len({each.state for each in learned}) == 1
    assert [each["number"] for each in on["versions"]] == [3]
    assert (_widths(_forecast(world)) > _widths(before)).all()
    audited = world.client("admin").get("/v1/audit-events").json()["items"]
    assert "PUT /v1/models/{name}/calibration" in [event["action"] for event in audited]
    problem(
        world.client("viewer").put("/v1/models/demand/calibration", json={"enabled": True}), 403, "forbidden"
    )
    problem(engineer.get("/v1/models/nothing/calibration"), 404, "not_found")


def test_when_scores_are_of_forecasts_under_an_earlier_state_then_their_widths_are_taken_out(
    world: World,
) -> None:
    before = _forecast(world)
    scored_at = datetime.now(UTC)
    _learn(world, _scores(before, above=True, scored_at=scored_at))
    calibrations = world.services.calibrations
    widened = calibrations.latest(DEFAULT_TEAM, "demand", 1)
    assert widened is not None
    late = _scores(
        before, above=False, scored_at=scored_at + timedelta(seconds=1)
    )  # of before the first state
    _learn(world, late)
    narrowed = calibrations.latest(DEFAULT_TEAM, "demand", 1)
    assert narrowed is not None
    assert all(np.array(narrowed.state.factors) < np.array(widened.state.factors))


def test_when_the_database_does_not_answer_then_forecasts_go_on_with_the_last_state(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*arguments: Any) -> None:
        raise Unavailable("the database does not answer")

    intervals = adaptive_intervals.AdaptiveIntervals(world.services.calibrations, 60.0)
    version = world.registry.get("demand", 1)
    model = LoadedModel(read_bundle(world.registry.download(version)), frozenset())
    _learn(world, _scores(_forecast(world), above=True, scored_at=datetime.now(UTC)))
    assert intervals.move(DEFAULT_TEAM, version, model).calibration == 1
    monkeypatch.setattr(world.services.calibrations, "latest", unavailable)
    assert intervals.move(DEFAULT_TEAM, version, model).calibration == 1
    assert intervals.move("other", version, model) is model


def test_when_the_platforms_scorer_sees_actuals_come_then_the_calibration_has_learned_from_them(
    world: World,
) -> None:
    entry = _forecast(world)["forecasts"][0]
    body = {
        "series": [{"unique_id": "EWR/UA", "ds": entry["ds"], "y": [value + 1e4 for value in entry["mean"]]}]
    }
    response = world.client("admin").post("/v1/datasets/flights/observations", json=body)
    assert response.status_code == 201, response.text
    next(loop for loop in loops(world.services) if loop.name == "scorer").tick()
    (learned,) = world.services.calibrations.of_model(DEFAULT_TEAM, "demand")
    assert learned.state.points == (6.0,) * 4
    assert learned.scored_to is not None
    assert all(factor > 1 for factor in learned.state.factors)


def test_when_a_forecast_is_made_again_then_it_has_the_intervals_of_then(world: World) -> None:
    scored_at = datetime.now(UTC)
    first = _forecast(world)
    _learn(world, _scores(first, above=True, scored_at=scored_at))
    second = _forecast(world)
    _learn(world, _scores(second, above=True, scored_at=scored_at + timedelta(seconds=1)))
    client = world.client("viewer")
    assert _forecast(world)["forecasts"][0]["calibration"] == 2
    for issued in (first, second):
        again = client.get(f"/v1/forecasts/{issued['forecast_id']}/reproduction").json()
        assert (again["identical"], again["missing"]) == (True, [])
        assert again["response"]["forecasts"] == issued["forecasts"]
