"""Evaluation of alert rules: facts and rules and what is remembered of both become changes of state. Pure.

A value that flaps makes no storm: `duration` and `clear_after` ask it to stay, a band of hysteresis asks it to come
back further than it went, and an alert that is open already opens no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from quantis.types.operations.alerts import (
    Above,
    AlertRule,
    AlertState,
    Fact,
    FactName,
    NoForecastBy,
    Outside,
    Weekday,
)

EVENTS = frozenset({FactName.job_failed, FactName.anomaly, FactName.experiment_rolled_back})
"""Facts that happen rather than last: each one counts, also after a person resolved the alert of the one before."""

_WEEKDAYS = tuple(Weekday)
_ALLOWED = {
    FactName.live_wape: "the live WAPE",
    FactName.live_wape_over_naive: "the live WAPE, as a multiple of seasonal naive's,",
    FactName.live_wape_over_backtest: "the live WAPE, as a multiple of the backtest's,",
    FactName.coverage_80: "the live coverage of the 80 % interval",
    FactName.coverage_burn_rate: "the rate at which the coverage's error budget burns",
    FactName.drift: "the drift",
    FactName.anomaly: "the number of anomalous values",
    FactName.freshness_seconds: "the delay of data in seconds",
    FactName.freshness_periods: "the delay of data in steps of the series",
}


@dataclass(frozen=True)
class Signal:
    """Memory of one rule about one subject. `state` is that of the alert that is not resolved, if there is one.

    `muted` after a person resolved it while the condition held: silent until it has held no more.
    """

    at: datetime | None = None
    violated_since: datetime | None = None
    clear_since: datetime | None = None
    state: AlertState | None = None
    snoozed_until: datetime | None = None
    muted: bool = False

    @property
    def is_calm(self) -> bool:
        """Return True if nothing would be lost by forgetting it, but the time of the last fact."""
        return self.violated_since is None and self.state is None and not self.muted


@dataclass(frozen=True)
class Verdict:
    """The result of an evaluation: the new signal and, where the alert's state changes, the state and why."""

    signal: Signal
    state: AlertState | None = None
    reason: str = ""


def rules_for(fact: Fact, rules: Sequence[AlertRule]) -> list[AlertRule]:
    """Return the rules that a fact is compared with: a default stands back where a rule replaces it."""
    matching = [rule for rule in rules if rule.condition.fact == fact.name and _concerns(rule, fact)]
    replaced = {rule.replaces for rule in rules if rule.replaces and _concerns(rule, fact)}
    return [rule for rule in matching if rule.enabled and rule.id not in replaced]


def _concerns(rule: AlertRule, fact: Fact) -> bool:
    return rule.model in (None, fact.model) and rule.dataset in (None, fact.dataset)


def evaluate(rule: AlertRule, fact: Fact, signal: Signal) -> Verdict:
    """Compare a fact that is newer than the one before; older ones, and those of too few points, change nothing."""
    if signal.at is not None and fact.at <= signal.at:
        return Verdict(signal)
    if fact.points is not None and fact.points < rule.minimum_points:
        return Verdict(signal)
    return advance(rule, fact, replace(signal, at=fact.at), fact.at)


def advance(rule: AlertRule, fact: Fact, signal: Signal, now: datetime) -> Verdict:
    """Let time pass since the last fact: durations end, snoozes run out."""
    if is_violated(rule, fact, now, holds=signal.state is not None):
        signal = replace(signal, violated_since=signal.violated_since or now, clear_since=None)
    else:
        signal = replace(signal, violated_since=None, clear_since=signal.clear_since or now)
    if signal.state is None:
        return _open(rule, fact, signal, now)
    if signal.state == AlertState.snoozed and signal.snoozed_until and now < signal.snoozed_until:
        return Verdict(signal)
    if signal.clear_since is not None:
        if now - signal.clear_since < rule.clear_after:
            return Verdict(signal)
        cleared = replace(signal, state=None, snoozed_until=None)
        return Verdict(cleared, AlertState.resolved, "the condition holds no more")
    if signal.state == AlertState.snoozed:
        reopened = replace(signal, state=AlertState.open, snoozed_until=None)
        return Verdict(reopened, AlertState.open, "the snooze ended and the condition still holds")
    return Verdict(signal)


def _open(rule: AlertRule, fact: Fact, signal: Signal, now: datetime) -> Verdict:
    if signal.violated_since is None:
        has_cleared = signal.clear_since is not None and now - signal.clear_since >= rule.clear_after
        return Verdict(replace(signal, muted=signal.muted and not has_cleared))
    if signal.muted and fact.name not in EVENTS:
        return Verdict(signal)
    if now - signal.violated_since < rule.duration:
        return Verdict(signal)
    open_signal = replace(signal, state=AlertState.open, muted=False)
    return Verdict(open_signal, AlertState.open, "the condition holds")


def next_due(rule: AlertRule, signal: Signal) -> datetime | None:
    """Return when a signal can change without another fact; None where only a fact can change it."""
    if signal.state is None:
        if signal.violated_since is not None:
            return None if signal.muted else signal.violated_since + rule.duration
        return signal.clear_since + rule.clear_after if signal.muted and signal.clear_since else None
    ends = [signal.clear_since + rule.clear_after] if signal.clear_since else []
    if signal.state == AlertState.snoozed and signal.snoozed_until:
        ends.append(signal.snoozed_until)
    return max(ends, default=None)


def is_violated(rule: AlertRule, fact: Fact, now: datetime, *, holds: bool) -> bool:
    """Return True while the condition holds; with `holds` the value must come back past the hysteresis."""
    condition = rule.condition
    if isinstance(condition, Above):
        clear_at = condition.threshold if condition.clear_below is None else condition.clear_below
        return fact.value > (clear_at if holds else condition.threshold)
    if isinstance(condition, Outside):
        margin = condition.margin if holds else 0.0
        return not condition.low + margin <= fact.value <= condition.high - margin
    issued_at = fact.at - timedelta(seconds=fact.value)
    return issued_at < start_of_due_day(condition, now)


def start_of_due_day(condition: NoForecastBy, now: datetime) -> datetime:
    """Return midnight, in the condition's zone, of the last day whose forecast is due at `now`."""
    zone = ZoneInfo(condition.time_zone)
    days = condition.weekdays or _WEEKDAYS
    local = now.astimezone(zone)
    day = local.date()
    due = time.fromisoformat(condition.by)
    # Compared as points in time: on a day with a gap or a repeated hour the clock alone does not order them.
    if now < datetime.combine(day, due, zone).astimezone(UTC):
        day -= timedelta(days=1)
    while _WEEKDAYS[day.weekday()] not in days:
        day -= timedelta(days=1)
    return datetime.combine(day, time(0), zone)


def describe(rule: AlertRule, fact: Fact) -> str:
    """Return what a rule found in a sentence: value, subject and bound."""
    condition, subject = rule.condition, _subject(fact)
    if isinstance(condition, NoForecastBy):
        return f"{subject} issued no forecast by {condition.by} ({condition.time_zone})"
    if fact.name == FactName.job_failed:
        return f"a job failed of {subject}: {fact.detail.get('message', 'see the job')}"
    if fact.name == FactName.experiment_rolled_back:
        return (
            f"an experiment of {subject} was rolled back: {fact.detail.get('message', 'see the experiment')}"
        )
    if isinstance(condition, Above):
        bound = f"above {condition.threshold:g}"
    else:
        bound = f"outside {condition.low:g} to {condition.high:g}"
    message = f" ({fact.detail['message']})" if "message" in fact.detail else ""
    return f"{_ALLOWED[fact.name]} of {subject} is {fact.value:.4g}, {bound}{message}"


def _subject(fact: Fact) -> str:
    names = [f"model {fact.model}"] if fact.model else []
    names += [f"dataset {fact.dataset}"] if fact.dataset else []
    names += [fact.key] if fact.key else []
    return ", ".join(names)
