"""Approvals: the changes that wait for a second person, and the decisions on them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quantis.types.approvals import Approval, ApprovalState
from quantis.types.base import Id, Page
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/approvals", tags=["models"], route_class=StrictRoute)


@router.get("")
def approvals(
    principal: CurrentUser,
    services: AppServices,
    state: ApprovalState | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Approval]:
    """List the requests for changes, newest first."""
    return services.approvals.page(principal.team, state=state, cursor=cursor, limit=limit)


@router.get("/{approval_id}")
def approval(approval_id: Id, principal: CurrentUser, services: AppServices) -> Approval:
    return services.approvals.get(principal.team, approval_id)


@router.post("/{approval_id}/approve")
def approve(approval_id: Id, principal: CurrentUser, services: AppServices) -> Approval:
    """Approve and apply somebody else's request; 403 for one's own."""
    services.approvals.get(principal.team, approval_id)
    return services.promotion(principal.team).approve(principal.user_name, approval_id)


@router.post("/{approval_id}/refuse")
def refuse(approval_id: Id, principal: CurrentUser, services: AppServices) -> Approval:
    """Refuse a request, or withdraw one's own."""
    services.approvals.get(principal.team, approval_id)
    return services.promotion(principal.team).refuse(principal.user_name, approval_id)
