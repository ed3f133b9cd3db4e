"""Setup, users, and a user's own password and second factor."""

from __future__ import annotations

import hmac
from contextlib import suppress

from fastapi import APIRouter, Request

from cluster.repositories.accounts import DEFAULT_TEAM
from quantis.errors import Conflict, Forbidden, Unauthenticated
from quantis.types.accounts import (
    NewUser,
    PasswordChange,
    Reauthentication,
    ReauthenticationToken,
    Role,
    SecondFactorCode,
    SecondFactorSecret,
    SetupRequest,
    SetupState,
    User,
    UserChange,
)
from quantis.types.base import Id, Page
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute
from serve.security import reauthentication
from serve.security.rate_limits import address_of
from serve.security.reauthentication import check_password

router = APIRouter(prefix="/v1", tags=["accounts"], route_class=StrictRoute)


@router.get("/setup")
def setup_state(services: AppServices) -> SetupState:
    """Say whether the first admin is still to be made."""
    return SetupState(open=not services.accounts.any_user(), oidc=services.oidc_provider is not None)


@router.post("/setup", status_code=201)
def set_up(body: SetupRequest, request: Request, services: AppServices, call: Audited) -> User:
    """Make the first admin with the one-time secret that `quantis up` wrote."""
    path = services.settings.secret_path("setup-secret")
    if services.accounts.any_user():
        raise Conflict("the first admin exists already; sign in, or ask an admin for an account")
    with services.rate_limits.sign_in("setup", address_of(request)):
        expected = services.settings.read_secret(path.name)
        secret = body.secret.get_secret_value().strip()
        if not expected or not hmac.compare_digest(expected.encode(), secret.encode()):
            raise Forbidden(f"the setup secret is wrong; `quantis up` wrote it to a file named {path.name}")
    user = services.accounts.create(
        DEFAULT_TEAM, body.user_name, body.password.get_secret_value(), Role.admin, first=True
    )
    with suppress(OSError):  # mounted read-only on a cluster, where it opens nothing any more
        path.unlink(missing_ok=True)
    call.team, call.actor_kind, call.actor_id, call.actor = user.team, "user", user.id, user.user_name
    return user


@router.get("/users/me")
def me(principal: CurrentUser, services: AppServices) -> User:
    """Return the caller; a service account looks like a user."""
    if principal.kind == "client":
        account = services.clients.get(principal.team, principal.user_id)
        return User(
            id=account.id,
            user_name=account.name,
            role=account.role,
            team=principal.team,
            disabled=False,
            created_at=account.created_at,
        )
    user = services.accounts.enabled_user(principal.user_id)
    if user is None:
        raise Unauthenticated("this account is disabled or gone; ask an admin")
    return user


@router.post("/users/me/password", status_code=204)
def change_password(
    body: PasswordChange, request: Request, principal: CurrentUser, services: AppServices
) -> None:
    """Change one's own password; every other session ends, API keys go on."""
    otp = body.otp.get_secret_value() if body.otp else None
    check_password(services, request, principal.user_name, body.current.get_secret_value(), otp)
    new = body.new.get_secret_value()
    services.accounts.change_password(principal.user_id, new, except_session=principal.credential)
    services.authenticator.forget()


@router.post("/users/me/reauthentication", status_code=201)
def reauthenticate(
    body: Reauthentication, request: Request, principal: CurrentUser, services: AppServices
) -> ReauthenticationToken:
    """Give one's password again, for calls that hand out or change credentials; the answer holds five minutes.

    Who signs in at an identity provider sends no password: a sign-in there of the last five minutes counts.
    """
    return reauthentication.reauthenticate(services, request, principal, body)


@router.post("/users/me/second-factor", status_code=201)
def begin_second_factor(principal: CurrentUser, services: AppServices) -> SecondFactorSecret:
    """Make a secret for an authenticator app, shown once. It counts when a code of it was confirmed."""
    return services.second_factors.begin(principal.user_id)


@router.put("/users/me/second-factor", status_code=204)
def confirm_second_factor(
    body: SecondFactorCode, request: Request, principal: CurrentUser, services: AppServices
) -> None:
    """Turn the second factor on with a first code."""
    with services.rate_limits.sign_in(principal.user_name, address_of(request)):
        services.second_factors.confirm(principal.user_id, body.code.get_secret_value())


@router.delete("/users/me/second-factor", status_code=204)
def remove_second_factor(principal: CurrentUser, services: AppServices) -> None:
    """Take one's second factor away; the reauthentication had a code of it. Who lost it asks an admin."""
    services.second_factors.remove(principal.user_id)


@router.get("/users")
def users(principal: CurrentUser, services: AppServices) -> Page[User]:
    """List the users of the team."""
    return Page(items=services.accounts.all(principal.team))


@router.post("/users", status_code=201)
def create_user(new: NewUser, principal: CurrentUser, services: AppServices, call: Audited) -> User:
    call.detail = {"user": new.user_name, "role": new.role}
    return services.accounts.create(principal.team, new.user_name, new.password.get_secret_value(), new.role)


@router.patch("/users/{user_id}")
def change_user(
    user_id: Id, change: UserChange, principal: CurrentUser, services: AppServices, call: Audited
) -> User:
    """Change role, password, or whether the account is disabled; take a lost second factor away.

    A new password ends every session and API key of the user.
    """
    call.detail = change.model_dump(mode="json", exclude={"password"}, exclude_none=True)
    call.detail |= {"password": "changed"} if change.password else {}  # nosec B105
    user = services.accounts.change(
        principal.team,
        user_id,
        role=change.role,
        disabled=change.disabled,
        password=change.password.get_secret_value() if change.password else None,
        second_factor=change.second_factor,
    )
    services.authenticator.forget()
    call.detail["user"] = user.user_name
    return user
