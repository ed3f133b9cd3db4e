"""Credentials of programs: API keys of users, and service accounts."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from quantis.types.accounts import Role
from quantis.types.base import Id, Page
from quantis.types.keys import (
    ApiKey,
    CreatedApiKey,
    CreatedServiceAccount,
    NewApiKey,
    NewServiceAccount,
    ServiceAccount,
    ServiceAccountChange,
)
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1", tags=["keys"], route_class=StrictRoute)


@router.get("/api-keys")
def api_keys(
    principal: CurrentUser,
    services: AppServices,
    of: Annotated[Literal["me", "team"], Query(description="Admins see those of the team.")] = "me",
) -> Page[ApiKey]:
    """List API keys, newest first."""
    everybody = of == "team" and principal.has_role(Role.admin)
    return Page(items=services.keys.all(principal.team, None if everybody else principal.user_id))


@router.post("/api-keys", status_code=201)
def create_api_key(
    new: NewApiKey, principal: CurrentUser, services: AppServices, call: Audited
) -> CreatedApiKey:
    """Make a key that acts for you within its scopes, until it ends. It is shown this once."""
    key = services.keys.create(principal.team, principal.user_id, new)
    call.detail = {"key": key.id, "name": key.name, "scopes": list(key.scopes)}
    return key


@router.delete("/api-keys/{key_id}")
def revoke_api_key(key_id: Id, principal: CurrentUser, services: AppServices) -> ApiKey:
    """End a key of yours; admins end any of the team."""
    owner = None if principal.has_role(Role.admin) else principal.user_id
    revoked = services.keys.revoke(principal.team, key_id, owner)
    services.authenticator.forget()
    return revoked


@router.get("/clients")
def service_accounts(principal: CurrentUser, services: AppServices) -> Page[ServiceAccount]:
    return Page(items=services.clients.all(principal.team))


@router.post("/clients", status_code=201)
def create_service_account(
    new: NewServiceAccount, principal: CurrentUser, services: AppServices, call: Audited
) -> CreatedServiceAccount:
    """Make an account for a machine. Its secret is shown this once."""
    call.detail = {"name": new.name, "role": new.role, "scopes": sorted(new.scopes)}
    return services.clients.create(principal.team, principal.user_name, new)


@router.patch("/clients/{client_id}")
def change_service_account(
    client_id: Id, change: ServiceAccountChange, principal: CurrentUser, services: AppServices, call: Audited
) -> ServiceAccount:
    """Change role or scopes, or whether it is disabled."""
    call.detail = change.model_dump(mode="json", exclude_none=True)
    account = services.clients.change(principal.team, client_id, change)
    services.authenticator.forget()
    return account


@router.post("/clients/{client_id}/secret")
def renew_client_secret(
    client_id: Id, principal: CurrentUser, services: AppServices
) -> CreatedServiceAccount:
    """Make a new secret, shown this once; the previous one and its tokens stop working at once."""
    account = services.clients.new_secret(principal.team, client_id, principal.user_name)
    services.authenticator.forget()
    return account


@router.delete("/clients/{client_id}", status_code=204)
def delete_service_account(client_id: Id, principal: CurrentUser, services: AppServices) -> None:
    services.clients.delete(principal.team, client_id)
    services.authenticator.forget()
