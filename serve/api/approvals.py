"""Changes of a model's aliases and of its traffic: who decides, and what waits for a second person."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Response

from cluster.repositories.audit import AuditedCall
from quantis.types.approvals import Approval, ApprovalState, ModelPolicy
from quantis.types.base import Id, Name, Page
from quantis.types.registry import AliasRequest, ModelVersion, Traffic
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute

Decided = TypeVar("Decided", ModelVersion | Approval, ModelPolicy | Approval, Traffic | Approval)
router = APIRouter(prefix="/v1", tags=["models"], route_class=StrictRoute)


@router.put(
    "/models/{name}/aliases/{alias}",
    responses={202: {"model": Approval, "description": "Asked for; a second person decides."}},
)
def promote(
    name: Name,
    alias: Name,
    body: AliasRequest,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    call: Audited,
) -> ModelVersion | Approval:
    """Point an alias at a version; under `two_person` a second person decides, and the answer is 202."""
    call.detail = {"version": body.version}
    found = services.promotion(principal.team).request_alias(principal.user_name, name, body.version, alias)
    return _answered(found, response, call)


@router.get("/models/{name}/traffic")
def model_traffic(name: Name, principal: CurrentUser, services: AppServices) -> Traffic:
    """How the requests for the model's name are divided between its versions; the champion has the rest."""
    return services.registry(principal.team).traffic(name)


@router.put(
    "/models/{name}/traffic",
    responses={202: {"model": Approval, "description": "Asked for; a second person decides."}},
)
def set_model_traffic(
    name: Name,
    body: Traffic,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    call: Audited,
) -> Traffic | Approval:
    """Divide them anew, by each request's first series; under `two_person` a second person decides, 202."""
    call.detail = {"shares": {str(share.version): share.percent for share in body.shares}}
    found = services.promotion(principal.team).request_traffic(principal.user_name, name, body)
    return _answered(found, response, call)


@router.get("/models/{name}/policy")
def model_policy(name: Name, principal: CurrentUser, services: AppServices) -> ModelPolicy:
    """Who decides what the model's aliases mean: the gate, or two people."""
    services.registry(principal.team).versions(name)
    return ModelPolicy(policy=services.promotion(principal.team).policy(name))


@router.put(
    "/models/{name}/policy",
    responses={202: {"model": Approval, "description": "Asked for; a second person decides."}},
)
def set_model_policy(
    name: Name,
    body: ModelPolicy,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    call: Audited,
) -> ModelPolicy | Approval:
    """Make the policy stricter at once; looser only by a second person, 202."""
    call.detail = {"policy": body.policy}
    found = services.promotion(principal.team).request_policy(principal.user_name, name, body.policy)
    return _answered(found, response, call)


@router.get("/approvals")
def approvals(
    principal: CurrentUser,
    services: AppServices,
    state: ApprovalState | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Approval]:
    """What was asked for, newest first."""
    return services.approvals.page(principal.team, state=state, cursor=cursor, limit=limit)


@router.get("/approvals/{approval_id}")
def approval(approval_id: Id, principal: CurrentUser, services: AppServices) -> Approval:
    return services.approvals.get(principal.team, approval_id)


@router.post("/approvals/{approval_id}/approve")
def approve(approval_id: Id, principal: CurrentUser, services: AppServices) -> Approval:
    """Do what somebody else asked for; 403 for one's own request."""
    services.approvals.get(principal.team, approval_id)
    return services.promotion(principal.team).approve(principal.user_name, approval_id)


@router.post("/approvals/{approval_id}/refuse")
def refuse(approval_id: Id, principal: CurrentUser, services: AppServices) -> Approval:
    """Say no to a request, or withdraw one's own."""
    services.approvals.get(principal.team, approval_id)
    return services.promotion(principal.team).refuse(principal.user_name, approval_id)


def _answered(found: Decided, response: Response, call: AuditedCall) -> Decided:
    if isinstance(found, Approval):
        response.status_code = 202
        call.detail["approval"] = found.id
    return found
