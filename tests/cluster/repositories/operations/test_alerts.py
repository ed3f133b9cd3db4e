from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from cluster.database.alert_tables import AlertChannelRow, AlertDeliveryRow, AlertRuleRow, AlertSignalRow
from cluster.repositories.operations.alert_rules import AlertRules
from cluster.repositories.operations.alerts import Alerts
from quantis.errors import Conflict, InvalidInput, NotFound
from quantis.types.operations.alerts import (
    Above,
    AlertRuleChange,
    AlertSeverity,
    AlertState,
    Fact,
    FactName,
    NewAlertRule,
    NoForecastBy,
    SnoozeRequest,
)
from tests.cluster.concurrency import at_once

TEAM = "default"
START = datetime(2026, 3, 2, tzinfo=UTC)
OPEN, ACKNOWLEDGED, SNOOZED, RESOLVED = AlertState


@pytest.fixture
def alerts(database):
    return Alerts(database)


@pytest.fixture
def rules(database):
    return AlertRules(database)


def fact(value: float, minute: float = 0, name: FactName = FactName.drift, model: str = "demand", **fields):
    return Fact(name=name, value=value, at=START + timedelta(minutes=minute), model=model, **fields)


def add_channel(database, channel_id: str, team: str = TEAM) -> str:
    with database.write() as session:
        session.add(
            AlertChannelRow(
                id=channel_id, team_id=team, name=channel_id, kind="webhook", target="", sealed=b"",
                enabled=True, created_at=START, created_by="ada",
            )
        )  # fmt: skip
    return channel_id


def told(database, channel: str) -> list[list[tuple[str | None, str]]]:
    """Of each notification to a channel: the model and the state of each alert in it."""
    query = select(AlertDeliveryRow).where(AlertDeliveryRow.channel_id == channel)
    with database.read() as session:
        payloads = [row.payload for row in session.scalars(query.order_by(AlertDeliveryRow.created_at))]
    return [[(alert["model"], alert["state"]) for alert in payload["alerts"]] for payload in payloads]


def test_when_a_condition_begins_and_ends_then_one_alert_has_both_in_its_history(alerts, database):
    channel = add_channel(database, "c")
    (opened,) = alerts.record_facts(TEAM, [fact(0.3, detail={"column": "temp"})])
    assert (opened.state, opened.rule, opened.value) == (OPEN, "default-drift", 0.3)
    assert opened.detail == {"column": "temp"}
    assert alerts.record_facts(TEAM, [fact(0.5, 1), fact(0.6, 2)]) == []
    (ended,) = alerts.record_facts(TEAM, [fact(0.1, 3)])
    assert ended.id == opened.id
    history = alerts.get(TEAM, opened.id).history
    assert [(event.state, event.value, event.actor) for event in history] == [
        (OPEN, 0.3, None),
        (RESOLVED, 0.1, None),
    ]
    assert told(database, channel) == [[("demand", OPEN)], [("demand", RESOLVED)]]


def test_when_facts_are_recorded_again_or_by_many_at_once_then_nothing_is_doubled(alerts, database):
    channel = add_channel(database, "c")
    facts = [
        fact(0.3),
        fact(1.0, 1, FactName.job_failed, key="train"),
        fact(0.0, 2, FactName.job_failed, key="train"),
    ]
    at_once(8, lambda _: alerts.record_facts(TEAM, facts))
    assert alerts.record_facts(TEAM, facts) == []
    assert len(alerts.page(TEAM).items) == 2
    assert sum(len(notification) for notification in told(database, channel)) == 3


def test_when_several_alerts_change_then_each_model_has_one_notification(alerts, database):
    channel = add_channel(database, "c")
    add_channel(database, "theirs", team="rivals")
    facts = [
        fact(value, name=name, model=model, points=1000)
        for model in ("demand", "supply")
        for name, value in (
            (FactName.drift, 1.0),
            (FactName.live_wape_over_naive, 1.2),
            (FactName.coverage_80, 0.2),
        )
    ]
    alerts.record_facts(TEAM, facts)
    assert sorted(told(database, channel)) == [[("demand", OPEN)] * 3, [("supply", OPEN)] * 3]
    assert told(database, "theirs") == []


def test_when_a_rule_names_channels_then_only_they_are_told(alerts, rules, database):
    named, other = add_channel(database, "named"), add_channel(database, "other")
    condition = Above(fact=FactName.live_wape, threshold=0.5)
    rules.create(TEAM, "ada", NewAlertRule(name="mine", condition=condition, channels=(named,)))
    alerts.record_facts(TEAM, [fact(0.6, name=FactName.live_wape)])
    assert (len(told(database, named)), told(database, other)) == (1, [])
    with pytest.raises(InvalidInput, match="no alert channel 'nowhere'"):
        rules.create(TEAM, "ada", NewAlertRule(name="x", condition=condition, channels=("nowhere",)))


def test_when_facts_are_calm_then_they_leave_no_trace(alerts, database):
    assert alerts.record_facts(TEAM, [fact(0.0, minute) for minute in range(5)]) == []
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AlertSignalRow)) == 0


def test_when_people_decide_then_each_decision_is_told_once_and_what_is_resolved_stays_so(alerts, database):
    channel = add_channel(database, "c")
    (alert,) = alerts.record_facts(TEAM, [fact(0.3)])
    alerts.acknowledge(TEAM, alert.id, "ada", "I look at it")
    alerts.acknowledge(TEAM, alert.id, "ada", "I look at it")
    snoozed = alerts.snooze(TEAM, alert.id, "bob", SnoozeRequest(duration=timedelta(hours=2)))
    assert snoozed.snoozed_until is not None
    assert alerts.resolve(TEAM, alert.id, "ada").snoozed_until is None
    with pytest.raises(Conflict, match="is resolved"):
        alerts.acknowledge(TEAM, alert.id, "ada")
    assert [event.actor for event in alerts.get(TEAM, alert.id).history] == [None, "ada", "bob", "ada"]
    assert [notification[0][1] for notification in told(database, channel)] == [
        OPEN,
        ACKNOWLEDGED,
        SNOOZED,
        RESOLVED,
    ]
    assert alerts.record_facts(TEAM, [fact(0.4, 1)]) == [], "silent until it has cleared"
    assert alerts.record_facts(TEAM, [fact(0.0, 2)]) == []
    assert [a.state for a in alerts.record_facts(TEAM, [fact(0.4, 3)])] == [OPEN]


def test_when_a_snooze_runs_out_then_time_alone_opens_the_alert_again(alerts):
    (alert,) = alerts.record_facts(TEAM, [fact(0.3)])
    until = alerts.snooze(TEAM, alert.id, "ada", SnoozeRequest()).snoozed_until
    assert until is not None
    assert alerts.advance(until - timedelta(seconds=1)) == []
    assert [(a.id, a.state) for a in alerts.advance(until)] == [(alert.id, OPEN)]
    assert alerts.advance(until + timedelta(days=1)) == []


def test_when_durations_end_then_time_alone_opens_and_resolves(alerts, rules):
    hour = timedelta(hours=1)
    condition = Above(fact=FactName.live_wape, threshold=0.5)
    rules.create(TEAM, "ada", NewAlertRule(name="slow", condition=condition, duration=hour, clear_after=hour))
    assert alerts.record_facts(TEAM, [fact(0.6, name=FactName.live_wape)]) == []
    assert [a.state for a in alerts.advance(START + hour)] == [OPEN]
    assert alerts.record_facts(TEAM, [fact(0.4, 90, FactName.live_wape)]) == []
    assert alerts.advance(START + 2 * hour) == []
    assert [a.state for a in alerts.advance(START + 2.5 * hour)] == [RESOLVED]


def test_when_an_id_is_of_another_team_then_there_is_no_such_alert(alerts, rules):
    (alert,) = alerts.record_facts(TEAM, [fact(0.3)])
    for call in (
        lambda: alerts.get("rivals", alert.id),
        lambda: alerts.resolve("rivals", alert.id, "spy"),
        lambda: rules.get("rivals", "nothing"),
    ):
        with pytest.raises(NotFound):
            call()
    assert alerts.page("rivals").items == []


def test_when_alerts_are_paged_and_filtered_then_each_comes_once(alerts):
    names = [f"m{number}" for number in range(5)]
    alerts.record_facts(TEAM, [fact(1.0, minute, model=name) for minute, name in enumerate(names)])
    alerts.record_facts(TEAM, [fact(0.0, 9, model="m2")])
    seen, cursor = [], None
    while True:
        page = alerts.page(TEAM, cursor=cursor, limit=2)
        seen += [alert.model for alert in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == names[::-1]
    assert [a.model for a in alerts.page(TEAM, states=[RESOLVED]).items] == ["m2"]
    assert [a.model for a in alerts.page(TEAM, model="m3", severity=AlertSeverity.warning).items] == ["m3"]
    assert alerts.page(TEAM, rule="other").items == []
    assert alerts.counts() == {("open", "warning"): 4}


def test_when_a_default_is_switched_off_then_its_alerts_end_and_deletion_brings_it_back(alerts, rules):
    (alert,) = alerts.record_facts(TEAM, [fact(0.3)])
    changed = rules.change(TEAM, "ada", "default-drift", AlertRuleChange(enabled=False))
    assert (changed.source, changed.enabled) == ("changed", False)
    assert alerts.get(TEAM, alert.id).history[-1].reason == "the rule was switched off"
    assert alerts.record_facts(TEAM, [fact(0.4, 1)]) == []
    assert rules.get("rivals", "default-drift").enabled, "of this team alone"
    rules.delete(TEAM, "ada", "default-drift")
    assert rules.get(TEAM, "default-drift").source == "default"
    assert len(alerts.record_facts(TEAM, [fact(0.4, 2)])) == 1
    with pytest.raises(Conflict, match="enabled: false"):
        rules.delete(TEAM, "ada", "default-drift")


def test_when_a_rule_replaces_a_default_then_the_default_s_alert_ends_for_that_model_alone(alerts, rules):
    first, second = alerts.record_facts(TEAM, [fact(0.3), fact(0.3, model="supply")])
    new = NewAlertRule(
        name="calmer",
        condition=Above(fact=FactName.drift, threshold=5),
        model="demand",
        replaces="default-drift",
    )
    rule = rules.create(TEAM, "ada", new)
    assert alerts.get(TEAM, first.id).state == RESOLVED
    assert alerts.get(TEAM, second.id).state == OPEN
    assert alerts.record_facts(TEAM, [fact(4, 1), fact(4, 1, model="supply")]) == []
    rules.delete(TEAM, "ada", rule.id)
    assert [a.model for a in alerts.record_facts(TEAM, [fact(4, 2), fact(4, 2, model="supply")])] == [
        "demand"
    ]
    with pytest.raises(InvalidInput, match="default-anomaly"):
        rules.create(TEAM, "ada", new.model_copy(update={"replaces": "nothing"}))
    rules.create(TEAM, "ada", new)
    with pytest.raises(Conflict, match="calmer"):
        rules.create(TEAM, "ada", new)


def test_when_a_condition_changes_then_the_alert_of_the_old_one_ends(alerts, rules):
    (alert,) = alerts.record_facts(TEAM, [fact(0.3)])
    rules.change(TEAM, "ada", "default-drift", AlertRuleChange(severity=AlertSeverity.info))
    assert alerts.get(TEAM, alert.id).state == OPEN
    rules.change(
        TEAM, "ada", "default-drift", AlertRuleChange(condition=Above(fact=FactName.drift, threshold=9))
    )
    assert alerts.get(TEAM, alert.id).state == RESOLVED
    with pytest.raises(InvalidInput, match="one model"):
        rules.change(TEAM, "ada", "default-drift", AlertRuleChange(condition=NoForecastBy(by="08:00")))


def test_when_forecasts_are_awaited_then_their_models_are_listed(rules):
    assert rules.awaited_models() == []
    rules.create(TEAM, "ada", NewAlertRule(name="daily", condition=NoForecastBy(by="08:00"), model="demand"))
    assert rules.awaited_models() == [(TEAM, "demand")]


def test_when_a_signal_is_of_a_rule_that_is_gone_then_it_is_forgotten(alerts, rules, database):
    new = NewAlertRule(
        name="gone", condition=Above(fact=FactName.live_wape, threshold=1), duration=timedelta(hours=1)
    )
    rule = rules.create(TEAM, "ada", new)
    alerts.record_facts(TEAM, [fact(2.0, name=FactName.live_wape)])
    with database.write() as session:
        session.execute(update(AlertRuleRow).where(AlertRuleRow.id == rule.id).values(id="other"))
    assert alerts.advance(START + timedelta(hours=2)) == []
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AlertSignalRow)) == 0
