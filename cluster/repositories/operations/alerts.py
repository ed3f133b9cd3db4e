"""Alerts and their signals: facts come in, states change, people decide; each change is told once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from cluster.database.alert_tables import AlertEventRow, AlertRow, AlertSignalRow
from cluster.database.engine import Database
from cluster.repositories import paging
from cluster.repositories.operations.alert_changes import (
    LIVE,
    AlertChange,
    alert_of,
    change_state,
    forget_details,
    promise_to_tell,
)
from cluster.repositories.operations.alert_rules import rules_of
from cluster.repositories.operations.facts import keep_newest
from monitoring.alert_evaluation import (
    EVENTS,
    Signal,
    Verdict,
    advance,
    describe,
    evaluate,
    next_due,
    rules_for,
)
from quantis.errors import Conflict, NotFound
from quantis.types.base import Page
from quantis.types.operations.alerts import (
    Alert,
    AlertEvent,
    AlertRule,
    AlertSeverity,
    AlertState,
    AlertWithHistory,
    Fact,
    SnoozeRequest,
)

_PER_TRANSACTION = 200
"""Facts that are evaluated in one transaction, since all other writers wait for it."""


class Alerts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record_facts(self, team: str, facts: Sequence[Fact]) -> list[Alert]:
        """Compare facts with the team's rules; return the alerts whose state changed. The same again changes nothing.

        States, history and the promises to tell are written in one transaction for each group of facts.
        """
        ordered = sorted(facts, key=lambda fact: (fact.group, fact.at))
        changed: list[Alert] = []
        for start in range(0, len(ordered), _PER_TRANSACTION):
            with self._database.write() as session:
                rules = rules_of(session, team)
                changes: list[AlertChange] = []
                for fact in ordered[start : start + _PER_TRANSACTION]:
                    keep_newest(session, team, fact)
                    for rule in rules_for(fact, rules):
                        changes += _record(session, team, rule, fact)
                promise_to_tell(session, team, changes)
                changed += [change.alert for change in changes]
        return changed

    def advance(self, now: datetime | None = None, limit: int = _PER_TRANSACTION) -> list[Alert]:
        """Change what only time changes, in every team: durations that ended, snoozes that ran out."""
        now = now or datetime.now(UTC)
        due = select(AlertSignalRow).where(AlertSignalRow.due_at <= now).limit(limit)
        with self._database.read() as session:
            if session.scalar(due.limit(1)) is None:
                return []
        changed: list[Alert] = []
        with self._database.write() as session:
            by_team: dict[str, list[AlertSignalRow]] = {}
            for row in session.scalars(due):
                by_team.setdefault(row.team_id, []).append(row)
            for team, rows in by_team.items():
                rules = {rule.id: rule for rule in rules_of(session, team)}
                changes: list[AlertChange] = []
                for row in rows:
                    rule = rules.get(row.rule_id)
                    if rule is None:  # a default of another release
                        session.delete(row)
                        continue
                    signal = _signal(row, _live_alert(session, row))
                    verdict = advance(rule, Fact.model_validate(row.fact), signal, now)
                    changes += _apply(session, row, rule, verdict, now)
                promise_to_tell(session, team, changes)
                changed += [change.alert for change in changes]
        return changed

    def forget_details(self, team: str, dataset: str, series: Sequence[str] | None) -> None:
        """Take out of alerts and notifications what names purged series, or a dataset that was deleted."""
        with self._database.write() as session:
            forget_details(session, team, dataset, series)

    def acknowledge(self, team: str, alert_id: str, user: str, note: str = "") -> Alert:
        """Say that somebody sees to an alert; it stays until its condition holds no more, or it is resolved."""
        return self._decide(team, alert_id, AlertState.acknowledged, user, note=note)

    def snooze(self, team: str, alert_id: str, user: str, request: SnoozeRequest) -> Alert:
        """Say nothing of an alert for a while; then it is resolved, or open again."""
        until = datetime.now(UTC) + request.duration
        return self._decide(team, alert_id, AlertState.snoozed, user, note=request.note, until=until)

    def resolve(self, team: str, alert_id: str, user: str, note: str = "") -> Alert:
        """Resolve an alert by hand; the same condition opens another one only after it has held no more."""
        return self._decide(team, alert_id, AlertState.resolved, user, note=note)

    def get(self, team: str, alert_id: str) -> AlertWithHistory:
        """Return an alert with every change of its state, oldest first."""
        with self._database.read() as session:
            row = _find(session, team, alert_id)
            of_alert = (AlertEventRow.team_id == team, AlertEventRow.alert_id == alert_id)
            events = session.scalars(select(AlertEventRow).where(*of_alert).order_by(AlertEventRow.seq))
            history = [
                AlertEvent(at=e.at, state=AlertState(e.state), actor=e.actor, reason=e.reason, value=e.value)
                for e in events
            ]
            return AlertWithHistory(**alert_of(row).model_dump(), history=history)

    def page(
        self,
        team: str,
        *,
        states: Sequence[AlertState] = (),
        severity: AlertSeverity | None = None,
        model: str | None = None,
        dataset: str | None = None,
        rule: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Alert]:
        """Return a page, the last opened first."""
        query: Select[AlertRow] = select(AlertRow).where(AlertRow.team_id == team)
        if states:
            query = query.where(AlertRow.state.in_(states))
        for column, value in (
            (AlertRow.severity, severity),
            (AlertRow.model, model),
            (AlertRow.dataset, dataset),
            (AlertRow.rule_id, rule),
        ):
            if value is not None:
                query = query.where(column == value)
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            before = (AlertRow.opened_at == timestamp) & (AlertRow.id < last)
            query = query.where(or_(AlertRow.opened_at < timestamp, before))
        query = query.order_by(AlertRow.opened_at.desc(), AlertRow.id.desc()).limit(limit + 1)
        with self._database.read() as session:
            rows = session.scalars(query).all()
            return paging.page(rows, limit, alert_of, lambda row: (row.opened_at.isoformat(), row.id))

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of alerts of all teams that are not resolved, by (state, severity)."""
        query = select(AlertRow.state, AlertRow.severity, func.count()).where(LIVE)
        with self._database.read() as session:
            rows = session.execute(query.group_by(AlertRow.state, AlertRow.severity))
            return {(state, severity): count for state, severity, count in rows}

    def _decide(
        self,
        team: str,
        alert_id: str,
        state: AlertState,
        user: str,
        *,
        note: str,
        until: datetime | None = None,
    ) -> Alert:
        with self._database.write() as session:
            row = _find(session, team, alert_id)
            if row.state == state and until is None:
                return alert_of(row)  # said already, and told
            if row.state == AlertState.resolved:
                raise Conflict(f"alert {alert_id} is resolved; what comes back opens a new one")
            row.snoozed_until = until
            event = AlertEvent(at=datetime.now(UTC), state=state, actor=user, reason=note, value=row.value)
            change_state(session, row, event)
            rule = next((rule for rule in rules_of(session, team) if rule.id == row.rule_id), None)
            signal = session.get(AlertSignalRow, (team, row.rule_id, row.subject))
            if signal is not None and rule is not None:
                resolved = state == AlertState.resolved
                signal.alert_id = None if resolved else row.id
                signal.muted = resolved and signal.violated_since is not None
                signal.due_at = next_due(rule, _signal(signal, None if resolved else row))
            alert = alert_of(row)
            promise_to_tell(session, team, [AlertChange(alert, event, rule.channels if rule else ())])
            return alert


def _record(session: Session, team: str, rule: AlertRule, fact: Fact) -> list[AlertChange]:
    row = session.get(AlertSignalRow, (team, rule.id, fact.subject))
    before = Signal() if row is None else _signal(row, _live_alert(session, row))
    verdict = evaluate(rule, fact, before)
    if verdict.signal == before:
        return []
    if verdict.signal.is_calm and before.is_calm and fact.name not in EVENTS:
        return []  # most facts of a healthy platform leave no trace
    if row is None:
        row = AlertSignalRow(team_id=team, rule_id=rule.id, subject=fact.subject)
        session.add(row)
    row.at, row.fact = fact.at, fact.model_dump(mode="json")
    return _apply(session, row, rule, verdict, fact.at)


def _apply(
    session: Session, row: AlertSignalRow, rule: AlertRule, verdict: Verdict, at: datetime
) -> list[AlertChange]:
    signal = verdict.signal
    row.violated_since, row.clear_since, row.muted = signal.violated_since, signal.clear_since, signal.muted
    row.due_at = next_due(rule, signal)
    if verdict.state is None:
        return []
    fact = Fact.model_validate(row.fact)
    event = AlertEvent(at=at, state=verdict.state, reason=verdict.reason, value=fact.value)
    alert = _live_alert(session, row)
    if alert is None:
        alert = _new_alert(row, rule, fact, at)
        session.add(alert)
        session.flush()
        row.alert_id = alert.id
    change_state(session, alert, event)
    if verdict.state == AlertState.resolved:
        row.alert_id = None
    return [AlertChange(alert_of(alert), event, rule.channels)]


def _new_alert(row: AlertSignalRow, rule: AlertRule, fact: Fact, at: datetime) -> AlertRow:
    return AlertRow(
        id=str(uuid4()),
        team_id=row.team_id,
        rule_id=rule.id,
        rule_name=rule.name,
        severity=rule.severity,
        state=AlertState.open,
        model=fact.model,
        dataset=fact.dataset,
        subject=row.subject,
        fact=fact.model_dump(mode="json"),
        value=fact.value,
        summary=describe(rule, fact),
        opened_at=at,
        changed_at=at,
    )


def _live_alert(session: Session, row: AlertSignalRow) -> AlertRow | None:
    return session.get(AlertRow, (row.team_id, row.alert_id)) if row.alert_id else None


def _signal(row: AlertSignalRow, alert: AlertRow | None) -> Signal:
    return Signal(
        at=row.at,
        violated_since=row.violated_since,
        clear_since=row.clear_since,
        state=AlertState(alert.state) if alert else None,
        snoozed_until=alert.snoozed_until if alert else None,
        muted=row.muted,
    )


def _find(session: Session, team: str, alert_id: str) -> AlertRow:
    row = session.get(AlertRow, (team, alert_id))
    if row is None:
        raise NotFound(f"no alert {alert_id[:60]!r}; `quantis alerts ls` lists them")
    return row
