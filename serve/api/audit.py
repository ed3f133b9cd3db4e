"""The audit trail: read it, and verify its chain of hashes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cluster.repositories.accounts import DEFAULT_TEAM
from quantis.types.audit import AuditEvent, AuditVerdict, Outcome
from quantis.types.base import Page, Timestamp
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/audit-events", tags=["audit"], route_class=StrictRoute)


@router.get("")
def audit_events(
    principal: CurrentUser,
    services: AppServices,
    actor: Annotated[str | None, Query(max_length=80)] = None,
    action: Annotated[str | None, Query(max_length=120, description="Any part of it.")] = None,
    outcome: Outcome | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[AuditEvent]:
    """List changes and attempts, newest first. Operators also see the attempts of unknown callers."""
    teams = [principal.team, ""] if principal.team == DEFAULT_TEAM else [principal.team]
    return services.audit.page(
        teams,
        actor=actor,
        action=action,
        outcome=outcome,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )


@router.get("/verdict")
def audit_verdict(principal: CurrentUser, services: AppServices) -> AuditVerdict:
    """Verify the whole chain; the first event that was altered, taken out or put in is named."""
    return services.audit.verify()
