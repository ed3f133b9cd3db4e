"""Alert rules: those that come with every model, and those of the team's own."""

from __future__ import annotations

from fastapi import APIRouter

from quantis.types.base import Id, Page
from quantis.types.operations.alerts import AlertRule, AlertRuleChange, NewAlertRule
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/alert-rules", tags=["alerts"], route_class=StrictRoute)


@router.get("")
def alert_rules(principal: CurrentUser, services: AppServices) -> Page[AlertRule]:
    """List the rules: the defaults first, then the team's own."""
    return Page(items=services.alert_rules.all(principal.team))


@router.post("", status_code=201)
def create_alert_rule(
    new: NewAlertRule, principal: CurrentUser, services: AppServices, call: Audited
) -> AlertRule:
    """Add a rule; with `replaces` it takes the place of a default for its model or dataset."""
    call.detail = new.model_dump(mode="json", exclude_defaults=True)
    return services.alert_rules.create(principal.team, principal.user_name, new)


@router.get("/{rule_id}")
def alert_rule(rule_id: Id, principal: CurrentUser, services: AppServices) -> AlertRule:
    return services.alert_rules.get(principal.team, rule_id)


@router.patch("/{rule_id}")
def change_alert_rule(
    rule_id: Id, change: AlertRuleChange, principal: CurrentUser, services: AppServices, call: Audited
) -> AlertRule:
    """Change a rule, or a default by its id; its alerts are resolved where it is another rule then, or off."""
    call.detail = change.model_dump(mode="json", exclude_none=True)
    return services.alert_rules.change(principal.team, principal.user_name, rule_id, change)


@router.delete("/{rule_id}", status_code=204)
def delete_alert_rule(rule_id: Id, principal: CurrentUser, services: AppServices) -> None:
    """Delete a rule and resolve its alerts; a default that was changed becomes what it was."""
    services.alert_rules.delete(principal.team, principal.user_name, rule_id)
