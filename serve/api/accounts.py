"""Setup, sign-in, users."""

from __future__ import annotations

import hmac
from typing import Annotated, Literal

from fastapi import APIRouter, Cookie, Form, Response

from cluster.repositories.accounts import DEFAULT_TEAM
from monitoring import instruments
from quantis.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from quantis.types.accounts import NewUser, Role, SetupRequest, SetupState, TokenResponse, User, UserChange
from quantis.types.base import Page
from serve import tokens
from serve.access import AppServices, CurrentUser
from serve.body import StrictRoute
from serve.services import Services

COOKIE = "__Host-quantis-refresh"
WEB = "web"
router = APIRouter(prefix="/v1", tags=["accounts"], route_class=StrictRoute)

RefreshCookie = Annotated[str | None, Cookie(alias=COOKIE, include_in_schema=False)]
ShortText = Annotated[str | None, Form(max_length=300)]


@router.get("/setup")
def setup_state(services: AppServices) -> SetupState:
    """Whether the first admin is still to be made."""
    return SetupState(open=not services.accounts.anybody())


@router.post("/setup", status_code=201)
def set_up(request: SetupRequest, services: AppServices) -> User:
    """Make the first admin with the one-time secret that `quantis up` wrote."""
    path = services.settings.secret_path("setup-secret")
    if services.accounts.anybody():
        raise Conflict("the first admin exists already; sign in, or ask an admin for an account")
    expected = path.read_text().strip() if path.exists() else ""
    given = request.secret.get_secret_value().strip()
    if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
        raise Forbidden(f"the setup secret is wrong; `quantis up` wrote it to a file named {path.name}")
    user = services.accounts.create(
        DEFAULT_TEAM, request.user_name, request.password.get_secret_value(), Role.admin, first=True
    )
    path.unlink(missing_ok=True)
    return user


@router.post("/oauth/token")
def token(
    response: Response,
    services: AppServices,
    grant_type: Annotated[Literal["password", "refresh_token"], Form()],
    username: ShortText = None,
    password: ShortText = None,
    refresh_token: ShortText = None,
    client_id: ShortText = None,
    scope: ShortText = None,
    cookie: RefreshCookie = None,
) -> TokenResponse:
    """Sign in, or exchange a refresh token for new tokens. `client_id=web` keeps it in a cookie."""
    days = services.settings.refresh_token_days
    if grant_type == "password":
        user = _sign_in(services, username, password)
        refresh = services.accounts.issue_refresh(user, days)
    else:
        given = cookie if client_id == WEB else refresh_token
        if not given:
            raise Unauthenticated("there is no refresh token; sign in with user name and password")
        user, refresh = services.accounts.rotate(given, days)
    seconds = services.settings.access_token_seconds
    response.headers["Cache-Control"] = "no-store"
    if client_id == WEB:
        response.set_cookie(
            COOKIE, refresh, max_age=days * 86400, path="/", secure=True, httponly=True, samesite="strict"
        )
    return TokenResponse(
        access_token=tokens.issue(user.id, services.token_key, seconds),
        expires_in=seconds,
        refresh_token=None if client_id == WEB else refresh,
    )


@router.post("/oauth/revoke", status_code=204)
def revoke(
    response: Response, services: AppServices, token: ShortText = None, cookie: RefreshCookie = None
) -> None:
    """Sign out: the refresh token's session ends."""
    for given in (token, cookie):
        if given:
            services.accounts.revoke(given)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


@router.get("/users/me")
def me(principal: CurrentUser, services: AppServices) -> User:
    user = services.accounts.enabled(principal.user_id)
    if user is None:
        raise Unauthenticated("this account is disabled or gone; ask an admin")
    return user


@router.get("/users")
def users(principal: CurrentUser, services: AppServices) -> Page[User]:
    return Page(items=services.accounts.all(principal.team))


@router.post("/users", status_code=201)
def create_user(new: NewUser, principal: CurrentUser, services: AppServices) -> User:
    return services.accounts.create(principal.team, new.user_name, new.password.get_secret_value(), new.role)


@router.patch("/users/{user_id}")
def change_user(user_id: str, change: UserChange, principal: CurrentUser, services: AppServices) -> User:
    """Change role, password, or whether the account is disabled."""
    return services.accounts.change(
        principal.team,
        user_id,
        role=change.role,
        disabled=change.disabled,
        password=change.password.get_secret_value() if change.password else None,
    )


def _sign_in(services: Services, username: str | None, password: str | None) -> User:
    if not username or not password:
        raise InvalidInput("the password grant needs username and password")
    try:
        user = services.accounts.authenticate(username, password)
    except Unauthenticated:
        instruments.count_sign_in("refused")
        raise
    instruments.count_sign_in("success")
    return user
