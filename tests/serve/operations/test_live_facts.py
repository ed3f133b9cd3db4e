from __future__ import annotations

import pytest
from sqlalchemy import select

from cluster.alerting.live_facts import LiveFactsLoop
from cluster.database.alert_tables import AlertSignalRow
from cluster.model_monitoring.scorer import Scorer
from quantis.types.operations.alerts import Above, Fact, FactName, NewAlertRule, Outside
from tests.serve.operations.test_scorer import arrive, entry, issue

RULES = (
    Above(fact=FactName.live_wape, threshold=0.0),
    Above(fact=FactName.live_wape_over_naive, threshold=0.0),
    Above(fact=FactName.live_wape_over_backtest, threshold=0.0),
    Outside(fact=FactName.coverage_80, low=2, high=3),
)
"""Rules that open an alert at any value, so that each fact leaves one."""


def scored(world) -> None:
    scorer = Scorer(world.services)
    scorer.tick()
    scorer.close()


@pytest.fixture
def facts(world):
    """Return a function for the last facts that were recorded, by their names."""
    for condition in RULES:
        name = condition.fact.replace("_", "-")
        world.services.alert_rules.create("default", "ada", NewAlertRule(name=name, condition=condition))

    def recorded() -> dict[FactName, Fact]:
        with world.services.database.read() as session:
            stored = [Fact.model_validate(row.fact) for row in session.scalars(select(AlertSignalRow))]
        return {fact.name: fact for fact in stored}

    return recorded


def test_when_actuals_come_then_the_facts_are_those_of_the_live_report(world, facts):
    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:8], [value * 1.5 for value in forecast["mean"][:8]])
    scored(world)
    LiveFactsLoop(world.services).tick()
    report = world.client("admin").get("/v1/models/demand/live").json()["overall"]
    measured = facts()
    assert measured[FactName.live_wape].value == pytest.approx(report["wape"])
    naive = report["seasonal_naive"]["wape"]
    assert measured[FactName.live_wape_over_naive].value == pytest.approx(report["wape"] / naive)
    assert measured[FactName.coverage_80].value == pytest.approx(report["coverage"]["80"])
    assert {(fact.model, fact.points) for fact in measured.values()} == {("demand", 8)}
    assert FactName.live_wape_over_backtest not in measured, "its version was published without a WAPE"


def test_when_nothing_new_was_scored_then_nothing_is_measured_again(world, facts):
    first = entry(issue(world))
    arrive(world, first["ds"][:2], [1.0, 2.0])
    scored(world)
    loop = LiveFactsLoop(world.services)
    loop.tick()
    before = {fact.at for fact in facts().values()}
    loop.tick()
    assert {fact.at for fact in facts().values()} == before
    arrive(world, first["ds"][2:4], [1.0, 2.0])
    scored(world)
    loop.tick()
    after = facts()
    assert {fact.points for fact in after.values()} == {4}
    assert min(fact.at for fact in after.values()) > max(before)


def test_when_no_forecast_was_scored_then_there_are_no_facts(world, facts):
    issue(world)
    scored(world)
    LiveFactsLoop(world.services).tick()
    assert facts() == {}
