from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitoring.alert_evaluation import Signal, advance, describe, evaluate, next_due, rules_for
from monitoring.default_alert_rules import DEFAULT_RULES, default_rule
from quantis.types.operations.alerts import (
    Above,
    AlertRule,
    AlertState,
    Condition,
    Fact,
    FactName,
    NoForecastBy,
    Outside,
    Weekday,
)

START = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
OPEN, RESOLVED, SNOOZED = AlertState.open, AlertState.resolved, AlertState.snoozed
MINUTE = timedelta(minutes=1)


def rule(condition: Condition | None = None, **fields) -> AlertRule:
    condition = condition or Above(fact=FactName.drift, threshold=1.0)
    return AlertRule(**{"id": "r", "name": "r", "source": "team", "condition": condition, **fields})


def fact(value: float, minute: float = 0, name: FactName = FactName.drift, **fields) -> Fact:
    return Fact(**{"name": name, "value": value, "at": START + minute * MINUTE, "model": "demand", **fields})


def states(
    a_rule: AlertRule, values: list[float], name: FactName = FactName.drift
) -> list[tuple[int, AlertState]]:
    """The changes that a value a minute leads to: (minute, state)."""
    signal, changes = Signal(), list[tuple[int, AlertState]]()
    for minute, value in enumerate(values):
        verdict = evaluate(a_rule, fact(value, minute, name), signal)
        signal = verdict.signal
        if verdict.state:
            changes.append((minute, verdict.state))
    return changes


def test_when_a_value_crosses_the_threshold_then_one_alert_opens_and_one_ends():
    assert states(rule(), [0, 1, 1.1, 5, 9, 1, 0, 2]) == [(2, OPEN), (5, RESOLVED), (7, OPEN)]


def test_when_a_value_flaps_then_duration_or_hysteresis_or_clear_after_keep_it_silent():
    flapping = [2.0, 0.9] * 300
    assert len(states(rule(), flapping)) == 600
    assert states(rule(duration=2 * MINUTE), flapping) == []
    assert states(rule(clear_after=2 * MINUTE), flapping) == [(0, OPEN)]
    deep = Above(fact=FactName.drift, threshold=1.0, clear_below=0.5)
    assert states(rule(deep), [*flapping, 0.5]) == [(0, OPEN), (600, RESOLVED)]


def test_when_the_condition_holds_for_the_duration_then_it_opens_without_another_fact():
    a_rule = rule(duration=10 * MINUTE)
    verdict = evaluate(a_rule, fact(2.0), Signal())
    assert verdict.state is None
    due = next_due(a_rule, verdict.signal)
    assert due == START + 10 * MINUTE
    assert advance(a_rule, fact(2.0), verdict.signal, due - MINUTE).state is None
    assert advance(a_rule, fact(2.0), verdict.signal, due).state == OPEN


def test_when_a_band_is_left_on_either_side_then_it_opens_and_the_margin_delays_the_end():
    band = Outside(fact=FactName.coverage_80, low=0.7, high=0.9, margin=0.05)
    values = [0.7, 0.9, 0.69, 0.72, 0.8, 0.95, 0.86, 0.85]
    assert states(rule(band), values, FactName.coverage_80) == [
        (2, OPEN),
        (4, RESOLVED),
        (5, OPEN),
        (7, RESOLVED),
    ]


def test_when_a_fact_is_old_or_of_few_points_then_it_changes_nothing():
    a_rule = rule(minimum_points=100)
    signal = evaluate(a_rule, fact(2.0, 5, points=100), Signal()).signal
    assert signal.state == OPEN
    for stale in (fact(0.0, 4), fact(0.0, 5), fact(0.0, 6, points=99)):
        assert evaluate(a_rule, stale, signal).signal == signal
    assert evaluate(a_rule, fact(0.0, 6, points=None), signal).state == RESOLVED


def test_when_an_alert_is_snoozed_then_nothing_is_said_until_the_end_which_decides():
    a_rule = rule()
    snoozed = Signal(
        at=START, violated_since=START, state=SNOOZED, snoozed_until=START + timedelta(minutes=10)
    )
    cleared = evaluate(a_rule, fact(0.0, 3), snoozed)
    assert cleared.state is None
    again = evaluate(a_rule, fact(2.0, 5), cleared.signal)
    assert again.state is None
    assert next_due(a_rule, again.signal) == START + 10 * MINUTE
    assert advance(a_rule, fact(2.0, 5), again.signal, START + 10 * MINUTE).state == OPEN
    assert advance(a_rule, fact(0.0, 3), cleared.signal, START + 10 * MINUTE).state == RESOLVED


def test_when_a_person_resolved_it_then_a_lasting_fact_is_silent_until_it_has_cleared():
    muted = Signal(at=START, violated_since=START, muted=True)
    still = evaluate(rule(), fact(2.0, 1), muted)
    assert (still.state, next_due(rule(), still.signal)) == (None, None)
    cleared = evaluate(rule(), fact(0.0, 2), still.signal)
    assert not cleared.signal.muted
    assert evaluate(rule(), fact(2.0, 3), cleared.signal).state == OPEN


def test_when_a_person_resolved_a_failed_job_then_the_next_failure_counts():
    a_rule = rule(Above(fact=FactName.job_failed, threshold=0.0))
    muted = Signal(at=START, violated_since=START, muted=True)
    assert next_due(a_rule, muted) is None
    assert evaluate(a_rule, fact(1.0, 1, FactName.job_failed), muted).state == OPEN


def issued(hours_ago: float, now: datetime) -> Fact:
    return Fact(name=FactName.forecast_missing, value=hours_ago * 3600, at=now, model="demand")


@pytest.mark.parametrize(
    ("now", "hours_ago", "expected"),
    [
        ("2026-03-02T06:59Z", 20, None),  # 07:59 in Berlin: of yesterday is enough
        ("2026-03-02T07:00Z", 20, OPEN),
        ("2026-03-02T07:00Z", 7.9, None),  # issued at 00:06 in Berlin
        ("2026-03-02T07:00Z", 8.1, OPEN),  # issued at 23:54 of yesterday
        ("2026-03-29T05:59Z", 20, None),  # the day of 23 hours: 07:59 summer time
        ("2026-03-29T06:00Z", 20, OPEN),
        ("2026-03-29T06:00Z", 6.9, None),  # its midnight was at 23:00Z
        ("2026-03-29T06:00Z", 7.1, OPEN),
        ("2026-10-25T06:59Z", 20, None),  # the day of 25 hours: 07:59 winter time
        ("2026-10-25T07:00Z", 8.9, None),
        ("2026-10-25T07:00Z", 9.1, OPEN),
    ],
)
def test_when_a_forecast_is_due_in_a_zone_then_its_clock_counts_also_when_it_changes(
    now, hours_ago, expected
):
    a_rule = rule(NoForecastBy(by="08:00", time_zone="Europe/Berlin"), model="demand")
    time = datetime.fromisoformat(now)
    assert evaluate(a_rule, issued(hours_ago, time), Signal()).state == expected


def test_when_forecasts_are_due_on_weekdays_only_then_the_weekend_is_quiet():
    working = tuple(day for day in Weekday if day not in (Weekday.saturday, Weekday.sunday))
    a_rule = rule(NoForecastBy(by="08:00", weekdays=working), model="demand")
    friday = datetime(2026, 3, 6, 6, tzinfo=UTC)
    for day, expected in ((1, None), (2, None), (3, OPEN)):  # Saturday, Sunday, Monday at 09:00
        now = friday + timedelta(days=day, hours=3)
        assert evaluate(a_rule, issued((now - friday) / timedelta(hours=1), now), Signal()).state == expected


def test_when_a_rule_replaces_a_default_then_only_where_it_applies():
    replacing = rule(model="demand", replaces="default-drift")
    rules = [*DEFAULT_RULES, replacing]
    assert [r.id for r in rules_for(fact(9.0), rules)] == ["r"]
    assert [r.id for r in rules_for(fact(9.0, model="other"), rules)] == ["default-drift"]
    switched_off = rule(model="demand", replaces="default-drift", enabled=False)
    assert rules_for(fact(9.0), [*DEFAULT_RULES, switched_off]) == []


def test_when_defaults_are_described_then_each_sentence_names_value_subject_and_bound():
    found = {a.id: describe(a, fact(0.5, name=a.condition.fact, dataset="flights")) for a in DEFAULT_RULES}
    assert found["default-coverage-outside-band"] == (
        "the live coverage of the 80 % interval of model demand, dataset flights is 0.5, outside 0.7 to 0.9"
    )
    assert all("model demand" in text for text in found.values())
    assert default_rule("default-drift") in DEFAULT_RULES
