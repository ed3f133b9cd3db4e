"""Anomalies, drift and burnt coverage of stored data: measured, an alert, and a notification that arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from cluster.alerting.anomaly_facts import AnomalyFacts
from cluster.alerting.drift_facts import DriftFactsLoop
from cluster.alerting.live_facts import LiveFactsLoop
from cluster.model_monitoring.score_listeners import ScoresListener
from cluster.model_monitoring.scorer import Scorer
from quantis.types.operations.alert_channels import NewWebhook, PlatformEventKind
from quantis.types.operations.alerts import Alert, AlertState, Fact
from quantis.webhooks import verify
from tests.cluster.alerting.receiver import Receiver, receiving
from tests.serve.api_under_test import START, World
from tests.serve.operations.test_scorer import SERIES, arrive, entry, issue

SECRET = "0123456789abcdef"
TEAM = "default"


@pytest.fixture
def world(world_alone: World) -> World:
    return world_alone


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def watched(world: World, receiver: Receiver) -> World:
    """The API with a webhook that takes every kind of event."""
    watched = replace(world, settings=world.settings.model_copy(update={"webhook_hosts": receiver.hosts}))
    watched.services.alert_channels.create(
        TEAM,
        "ada",
        NewWebhook(
            name="pager",
            url=SecretStr(f"{receiver.url}/hook"),
            secret=SecretStr(SECRET),
            events=tuple(PlatformEventKind),
        ),
    )
    return watched


def score(world: World) -> None:
    scorer = Scorer(
        world.services, [ScoresListener("anomaly-facts", AnomalyFacts(world.services).record_anomalies)]
    )
    scorer.tick()
    scorer.close()


def measure_drift(world: World) -> None:
    loop = DriftFactsLoop(world.services, every=timedelta(0))
    loop.tick()
    loop.close()


def alerts(world: World, rule: str) -> list[Alert]:
    return world.services.alerts.page(TEAM, rule=rule).items


def delivered(world: World, receiver: Receiver) -> list[dict[str, Any]]:
    loop = world.services.delivery_loop()
    while world.services.alert_deliveries.pending():
        loop.tick()
    loop.close()
    for _, headers, body in receiver.requests:
        verify(SECRET, body, headers["Quantis-Signature"])
    return receiver.bodies()


def test_when_a_spike_is_appended_then_one_alert_opens_and_arrives_with_its_series(
    watched: World, receiver: Receiver
) -> None:
    forecast = entry(issue(watched))
    median = forecast["quantiles"]["0.5"]
    arrive(watched, forecast["ds"][:1], [median[0]])
    score(watched)
    assert alerts(watched, "default-anomaly") == []
    arrive(watched, forecast["ds"][1:4], [median[1], median[2] + 10_000, median[3]])
    score(watched)
    (alert,) = alerts(watched, "default-anomaly")
    assert (alert.state, alert.value, alert.dataset) == (AlertState.open, 1.0, "flights")
    assert alert.detail["worst"]["unique_id"] == SERIES
    bodies = delivered(watched, receiver)
    told = [each for body in bodies for each in body["alerts"]]
    assert [each["summary"] for each in told] == [alert.summary]
    assert SERIES in alert.summary
    (event,) = [body for body in bodies if body["type"] == "anomaly.found"]
    assert event["event"]["anomalies"][0]["y"] == median[2] + 10_000
    arrive(watched, forecast["ds"][4:5], [median[4]])
    score(watched)
    (resolved,) = alerts(watched, "default-anomaly")
    assert resolved.state == AlertState.resolved
    assert len([body for body in delivered(watched, receiver) if body["type"] == "anomaly.found"]) == 1


def test_when_the_level_of_a_series_shifts_by_a_fifth_then_the_drift_alert_names_it_and_arrives(
    watched: World, receiver: Receiver
) -> None:
    measure_drift(watched)
    calm = watched.services.latest_facts.values(TEAM, START)
    assert calm["demand"]["drift"] == 0
    forecast = entry(issue(watched))
    arrive(watched, forecast["ds"][:14], [1.2 * value for value in forecast["quantiles"]["0.5"][:14]])
    score(watched)
    measure_drift(watched)
    (alert,) = alerts(watched, "default-drift")
    assert (alert.state, alert.model, alert.dataset) == (AlertState.open, "demand", "flights")
    assert SERIES in alert.detail["series"]
    bodies = delivered(watched, receiver)
    assert alert.id in {each["id"] for body in bodies for each in body["alerts"]}
    assert {SERIES} <= {
        name for body in bodies if body["type"] == "drift.found" for name in body["event"]["series"]
    }


def test_when_a_version_was_measured_then_it_is_not_again_nor_sooner_than_the_loop_may(
    watched: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = facts_of(watched, monkeypatch)
    loop = DriftFactsLoop(watched.services, every=timedelta(hours=1))
    for _ in range(3):
        loop.tick()
    assert len(recorded) == 1
    arrive(watched, ["2024-01-26T00:00:00Z"], [200.0])
    loop.tick()
    assert len(recorded) == 1, "an hour is not over"
    loop.close()
    measure_drift(watched)
    assert len(recorded) == 2
    measure_drift(watched)
    assert len(recorded) == 2, "a new process knows which version was measured"


def test_when_most_actuals_lie_outside_their_intervals_then_the_budget_burns_and_the_alert_arrives(
    watched: World, receiver: Receiver
) -> None:
    forecasts = [entry(issue(watched)) for _ in range(12)]
    ds, high = forecasts[0]["ds"], forecasts[0]["quantiles"]["0.9"]
    arrive(watched, ds[:10], [value + 50 for value in high[:10]])
    score(watched)
    loop = LiveFactsLoop(watched.services)
    loop.tick()
    assert alerts(watched, "default-coverage-burns") == [], "120 points are too few"
    arrive(watched, ds[10:], [value + 50 for value in high[10:]])
    score(watched)
    loop.tick()
    (alert,) = alerts(watched, "default-coverage-burns")
    assert (alert.state, alert.model) == (AlertState.open, "demand")
    assert alert.value == pytest.approx(5 / 2.5), "all of 288 missed where a fifth may be"
    assert alert.id in {each["id"] for body in delivered(watched, receiver) for each in body["alerts"]}


def facts_of(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Fact]:
    """Return a list that takes the facts of drift that are recorded."""
    recorded: list[Fact] = []
    record: Callable[..., list[Alert]] = world.services.facts.record_facts

    def keep(team: str, facts: list[Fact]) -> list[Alert]:
        recorded.extend(facts)
        return record(team, facts)

    monkeypatch.setattr(world.services.facts, "record_facts", keep)
    return recorded
