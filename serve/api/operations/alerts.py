"""Alerts: their states, their history, and people's decisions on them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quantis.types.base import Id, Name, Page
from quantis.types.operations.alerts import (
    Alert,
    AlertNote,
    AlertSeverity,
    AlertState,
    AlertWithHistory,
    SnoozeRequest,
)
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=StrictRoute)
_NO_NOTE = AlertNote()
_AN_HOUR = SnoozeRequest()


@router.get("")
def alerts(
    principal: CurrentUser,
    services: AppServices,
    state: Annotated[list[AlertState] | None, Query(max_length=len(AlertState))] = None,
    severity: AlertSeverity | None = None,
    model: Name | None = None,
    dataset: Name | None = None,
    rule: Id | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Alert]:
    """List the alerts, the last opened first; repeat `state` for several."""
    return services.alerts.page(
        principal.team,
        states=state or (),
        severity=severity,
        model=model,
        dataset=dataset,
        rule=rule,
        cursor=cursor,
        limit=limit,
    )


@router.get("/{alert_id}")
def alert(alert_id: Id, principal: CurrentUser, services: AppServices) -> AlertWithHistory:
    """Return an alert with every change of its state."""
    return services.alerts.get(principal.team, alert_id)


@router.post("/{alert_id}/acknowledge")
def acknowledge_alert(
    alert_id: Id, principal: CurrentUser, services: AppServices, decision: AlertNote = _NO_NOTE
) -> Alert:
    """Say that somebody sees to it."""
    return services.alerts.acknowledge(principal.team, alert_id, principal.user_name, decision.note)


@router.post("/{alert_id}/snooze")
def snooze_alert(
    alert_id: Id, principal: CurrentUser, services: AppServices, request: SnoozeRequest = _AN_HOUR
) -> Alert:
    """Say nothing of it for a while; it opens again if its condition holds at the end."""
    return services.alerts.snooze(principal.team, alert_id, principal.user_name, request)


@router.post("/{alert_id}/resolve")
def resolve_alert(
    alert_id: Id, principal: CurrentUser, services: AppServices, decision: AlertNote = _NO_NOTE
) -> Alert:
    """Resolve it by hand; another one opens only after its condition has held no more."""
    return services.alerts.resolve(principal.team, alert_id, principal.user_name, decision.note)
