"""Models: their versions and cards, and the changes of their aliases, traffic and policy."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Response

from cluster.repositories.audit import AuditedCall
from models.registry.model_card import render_card
from quantis.errors import NotFound
from quantis.types.approvals import Approval, ModelPolicy
from quantis.types.base import Name, Page
from quantis.types.job_results import TrainResult, TuneResult
from quantis.types.registry import AliasRequest, Model, ModelCard, ModelVersion, Traffic
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute

ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": Approval, "description": "Asked for; a second person decides."}
}
Change = TypeVar("Change", ModelVersion | Approval, ModelPolicy | Approval, Traffic | Approval)
Reference = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,62}(@[a-z][a-z0-9_-]{0,62}|:[1-9][0-9]{0,8})?$")]
Version = Annotated[int, Path(ge=1, le=10**9)]
router = APIRouter(prefix="/v1", tags=["models"], route_class=StrictRoute)


@router.get("/models")
def models(principal: CurrentUser, services: AppServices) -> Page[Model]:
    return Page(items=services.registry(principal.team).models())


@router.get("/models/{name}/versions")
def model_versions(name: Name, principal: CurrentUser, services: AppServices) -> Page[ModelVersion]:
    """List the versions, newest first."""
    return Page(items=services.registry(principal.team).versions(name))


@router.get("/models/{name}/versions/{version}")
def model_version(
    name: Name, version: Version, principal: CurrentUser, services: AppServices
) -> ModelVersion:
    return services.registry(principal.team).get(name, version)


@router.delete("/models/{name}", status_code=204)
def delete_model(name: Name, principal: CurrentUser, services: AppServices) -> None:
    """Delete a model with all its versions, for good; its name stays taken.

    409 while a version has an alias other than candidate, a share of the requests or a pending approval, or a job
    that names the model has not ended.
    """
    services.deletion.delete_model(principal.team, principal.user_name, name)


@router.delete("/models/{name}/versions/{version}", status_code=204)
def delete_model_version(name: Name, version: Version, principal: CurrentUser, services: AppServices) -> None:
    """Delete a version of a model; its number is not given again. 409 while something needs it, as with a model."""
    services.deletion.delete_version(principal.team, principal.user_name, name, version)


@router.get("/models/{ref}/card")
def model_card(ref: Reference, principal: CurrentUser, services: AppServices) -> ModelCard:
    """Return the model card in Markdown: family, data, figures, limits and lineage."""
    version = services.registry(principal.team).resolve(ref)
    board = None
    if version.experiment:
        with suppress(NotFound):  # a model outlives its job
            result = services.jobs.get(principal.team, version.experiment).result
            board = result.leaderboard if isinstance(result, TrainResult | TuneResult) else None
    deleted = services.deletion.deleted_origins(principal.team, version)
    card = render_card(version, board, deleted)
    return ModelCard(model=version.model, version=version.version, markdown=card)


@router.put(
    "/models/{name}/aliases/{alias}",
    responses=ASKED,
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
    change = services.promotion(principal.team).request_alias(principal.user_name, name, body.version, alias)
    return _with_status(change, response, call)


@router.delete("/models/{name}/aliases/{alias}", status_code=204)
def remove_alias(name: Name, alias: Name, principal: CurrentUser, services: AppServices) -> None:
    """Let an alias mean no version any more; without its champion a model answers only by version or other alias.

    409 under `two_person`, and for the champion while the requests are divided.
    """
    services.deletion.remove_alias(principal.team, name, alias)


@router.get("/models/{name}/traffic")
def model_traffic(name: Name, principal: CurrentUser, services: AppServices) -> Traffic:
    """Return the division of the model's requests between its versions; the champion has the rest."""
    return services.registry(principal.team).traffic(name)


@router.put(
    "/models/{name}/traffic",
    responses=ASKED,
)
def set_model_traffic(
    name: Name,
    body: Traffic,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    call: Audited,
) -> Traffic | Approval:
    """Divide the requests by their first series; under `two_person` a second person decides, 202."""
    call.detail = {"shares": {str(share.version): share.percent for share in body.shares}}
    change = services.promotion(principal.team).request_traffic(principal.user_name, name, body)
    return _with_status(change, response, call)


@router.get("/models/{name}/policy")
def model_policy(name: Name, principal: CurrentUser, services: AppServices) -> ModelPolicy:
    """Return the promotion policy: the gate decides, or two people."""
    services.registry(principal.team).versions(name)
    return ModelPolicy(policy=services.promotion(principal.team).policy(name))


@router.put(
    "/models/{name}/policy",
    responses=ASKED,
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
    change = services.promotion(principal.team).request_policy(principal.user_name, name, body.policy)
    return _with_status(change, response, call)


def _with_status(change: Change, response: Response, call: AuditedCall) -> Change:
    """Answer 202 for a change that waits for approval, and audit the approval's id."""
    if isinstance(change, Approval):
        response.status_code = 202
        call.detail["approval"] = change.id
    return change
