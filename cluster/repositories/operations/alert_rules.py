"""Alert rules of teams: the defaults that come with every model, changed ones, and those of a team's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cluster.database.alert_tables import AlertChannelRow, AlertRuleRow
from cluster.database.engine import Database
from cluster.repositories.operations.alert_changes import forget_rule
from monitoring.default_alert_rules import DEFAULT_RULES, PREFIX, default_rule
from quantis.errors import Conflict, InvalidInput, NotFound
from quantis.types.operations.alerts import (
    AlertEvent,
    AlertRule,
    AlertRuleChange,
    AlertState,
    NewAlertRule,
    NoForecastBy,
)

MAX_RULES = 500
"""Rules of a team, beside the defaults."""


class AlertRules:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, team: str, user: str, new: NewAlertRule) -> AlertRule:
        """Add a rule; Conflict for a name that is taken, InvalidInput for a channel or default that is not there."""
        with self._database.write() as session:
            rules = rules_of(session, team)
            if any(rule.name == new.name for rule in rules):
                raise Conflict(f"there is a rule {new.name!r} already; change it, or choose another name")
            count = session.scalar(select(func.count()).where(AlertRuleRow.team_id == team)) or 0
            if count >= MAX_RULES:
                raise Conflict(f"the team has {MAX_RULES} rules, the most that it may; delete one first")
            _check_channels(session, team, new.channels)
            now = datetime.now(UTC)
            if new.replaces is not None:
                replaced = next((rule for rule in rules if rule.id == new.replaces), None)
                if replaced is None or replaced.source == "team":
                    ids = ", ".join(rule.id for rule in DEFAULT_RULES)
                    raise InvalidInput(
                        f"there is no default rule {new.replaces!r} to replace; there are {ids}"
                    )
                forget_rule(session, team, replaced, _resolved(user, "another rule replaces it"), scope=new)
            row = AlertRuleRow(
                team_id=team,
                id=str(uuid4()),
                spec=new.model_dump(mode="json"),
                created_at=now,
                changed_at=now,
                changed_by=user,
            )
            session.add(row)
            return _rule(row)

    def all(self, team: str) -> list[AlertRule]:
        """Return the rules in force, defaults first, then by name; those that are switched off too."""
        with self._database.read() as session:
            return rules_of(session, team)

    def get(self, team: str, rule_id: str) -> AlertRule:
        with self._database.read() as session:
            return _find(session, team, rule_id)

    def change(self, team: str, user: str, rule_id: str, change: AlertRuleChange) -> AlertRule:
        """Change a rule; a default that is changed becomes a row under its own id.

        Alerts of a rule that is switched off or whose condition changes are resolved.
        """
        with self._database.write() as session:
            before = _find(session, team, rule_id)
            if isinstance(change.condition, NoForecastBy) and before.model is None:
                raise InvalidInput("a rule on missing forecasts is for one model; make a new rule for it")
            changed = change.model_dump(mode="json", exclude_none=True)
            if change.condition is not None:  # its optional fields too, which are null
                changed["condition"] = change.condition.model_dump(mode="json")
            after = NewAlertRule.model_validate({**_spec(before), **changed})
            _check_channels(session, team, change.channels or ())
            now = datetime.now(UTC)
            row = session.get(AlertRuleRow, (team, rule_id))
            if row is None:
                row = AlertRuleRow(team_id=team, id=rule_id, created_at=now)
                session.add(row)
            row.spec, row.changed_at, row.changed_by = after.model_dump(mode="json"), now, user
            if after.condition != before.condition or (before.enabled and not after.enabled):
                reason = "the rule was changed" if after.enabled else "the rule was switched off"
                forget_rule(session, team, before, _resolved(user, reason))
            return _rule(row)

    def delete(self, team: str, user: str, rule_id: str) -> None:
        """Delete a rule and resolve its alerts; a changed default becomes what it was.

        Conflict for a default that nobody changed.
        """
        with self._database.write() as session:
            rule = _find(session, team, rule_id)
            row = session.get(AlertRuleRow, (team, rule_id))
            if row is None:
                raise Conflict(
                    f"rule {rule_id!r} comes with every model and cannot be deleted; "
                    "switch it off with enabled: false"
                )
            forget_rule(session, team, rule, _resolved(user, "the rule was deleted"))
            session.delete(row)

    def awaited_models(self) -> list[tuple[str, str]]:
        """Return (team, model) of every rule in force on missing forecasts."""
        with self._database.read() as session:
            rules = [(row.team_id, _rule(row)) for row in session.scalars(select(AlertRuleRow))]
        pairs = {
            (team, rule.model)
            for team, rule in rules
            if rule.enabled and rule.model and isinstance(rule.condition, NoForecastBy)
        }
        return sorted(pairs)


def rules_of(session: Session, team: str) -> list[AlertRule]:
    """Return a team's rules with the defaults in the gaps."""
    rows = session.scalars(select(AlertRuleRow).where(AlertRuleRow.team_id == team))
    stored = {rule.id: rule for rule in map(_rule, rows)}
    defaults = [stored.get(rule.id, rule) for rule in DEFAULT_RULES]
    of_team = [rule for rule in stored.values() if not rule.id.startswith(PREFIX)]
    return [*defaults, *sorted(of_team, key=lambda rule: rule.name)]


def _find(session: Session, team: str, rule_id: str) -> AlertRule:
    row = session.get(AlertRuleRow, (team, rule_id))
    rule = _rule(row) if row else default_rule(rule_id)
    if rule is None:
        raise NotFound(f"no alert rule {rule_id[:60]!r}; `quantis alerts rules` lists them")
    return rule


def _check_channels(session: Session, team: str, channels: Sequence[str]) -> None:
    if not channels:
        return
    ids = set(session.scalars(select(AlertChannelRow.id).where(AlertChannelRow.team_id == team)))
    if missing := [channel for channel in channels if channel not in ids]:
        raise InvalidInput(
            f"there is no alert channel {missing[0][:60]!r}; `quantis alerts channels` lists them"
        )


def _resolved(user: str, reason: str) -> AlertEvent:
    return AlertEvent(at=datetime.now(UTC), state=AlertState.resolved, actor=user, reason=reason)


def _spec(rule: AlertRule) -> dict[str, Any]:
    return rule.model_dump(mode="json", include=set(NewAlertRule.model_fields))


def _rule(row: AlertRuleRow) -> AlertRule:
    return AlertRule(
        **NewAlertRule.model_validate(row.spec).model_dump(),
        id=row.id,
        source="changed" if row.id.startswith(PREFIX) else "team",
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )
