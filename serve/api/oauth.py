"""Tokens: sign in, continue a session, sign out; by password, client secret, or an identity provider."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Cookie, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from cluster.repositories.audit import AuditedCall
from cluster.repositories.sessions import SessionLifetime, TokenRotation
from monitoring import instruments
from quantis.errors import InvalidInput, NotFound, SecondFactorRequired, Unauthenticated
from quantis.types.accounts import Role, TokenResponse, User
from serve.api.dependencies import AppServices, Audited
from serve.api.strict_route import StrictRoute
from serve.security import tokens
from serve.security.authentication import CLIENT
from serve.security.oidc import AuthorizationRequest, OidcProvider
from serve.security.rate_limits import address_of
from serve.security.reauthentication import check_password
from serve.services import Services

COOKIE = "__Host-quantis-refresh"
OIDC_COOKIE = "__Host-quantis-oidc"
OIDC_SECONDS = 600
WEB = "web"
router = APIRouter(prefix="/v1/oauth", tags=["accounts"], route_class=StrictRoute)

RefreshCookie = Annotated[str | None, Cookie(alias=COOKIE, include_in_schema=False)]
ShortText = Annotated[str | None, Form(max_length=300)]
Returned = Annotated[str, Query(max_length=4096, pattern="^[ -~]*$")]


@router.post("/token")
def token(
    request: Request,
    response: Response,
    services: AppServices,
    call: Audited,
    grant_type: Annotated[Literal["password", "refresh_token", "client_credentials"], Form()],
    username: ShortText = None,
    password: ShortText = None,
    otp: Annotated[str | None, Form(max_length=12, description="A code of the second factor.")] = None,
    refresh_token: ShortText = None,
    client_id: ShortText = None,
    client_secret: ShortText = None,
    scope: ShortText = None,
    cookie: RefreshCookie = None,
) -> TokenResponse:
    """Sign in, or exchange a refresh token for new tokens. `client_id=web` keeps it in a cookie.

    A user with a second factor sends `otp` with the password; without it the answer is 401
    `second_factor_required`. `scope` is ignored: an account's scopes are fixed.
    """
    response.headers["Cache-Control"] = "no-store"
    if grant_type == "client_credentials":
        return _client_credentials(request, services, call, client_id, client_secret)
    lifetime = _lifetime(services)
    if grant_type == "password":
        user = _sign_in(request, services, call, username, password, otp)
        session = services.sessions.start(
            user, lifetime, request.headers.get("User-Agent", ""), address_of(request)
        )
    else:
        value = cookie if client_id == WEB else refresh_token
        if not value:
            raise Unauthenticated("there is no refresh token; sign in with user name and password")
        session = services.sessions.rotate(value, lifetime)
        _record_actor(call, session.user)
    if client_id == WEB:
        _set_refresh_cookie(response, session)
    return _token_response(services, session, show=client_id != WEB)


@router.post("/revoke", status_code=204)
def revoke(
    response: Response,
    services: AppServices,
    call: Audited,
    token: ShortText = None,
    cookie: RefreshCookie = None,
) -> None:
    """Sign out: the refresh token's session ends."""
    for value in (token, cookie):
        owner = services.sessions.end_by_token(value) if value else None
        if owner is not None:
            _record_actor(call, owner)
    services.authenticator.forget()
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


@router.get("/oidc/start", status_code=302, response_class=RedirectResponse)
def oidc_start(
    services: AppServices,
    prompt: Annotated[
        Literal["login"] | None, Query(description="`login`: the provider asks for the password in any case.")
    ] = None,
) -> Response:
    """Redirect to the identity provider."""
    address, login = _provider(services).begin(prompt)
    response = RedirectResponse(address, 302)
    response.set_cookie(
        OIDC_COOKIE, login.text(), max_age=OIDC_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
    )
    return response


@router.get("/oidc/callback", status_code=302, response_class=RedirectResponse)
def oidc_callback(
    request: Request,
    services: AppServices,
    call: Audited,
    state: Returned = "",
    code: Returned = "",
    cookie: Annotated[str, Cookie(alias=OIDC_COOKIE, include_in_schema=False)] = "",
) -> Response:
    """Start a session after the identity provider's redirect, and go to the dashboard."""
    person = _provider(services).finish(AuthorizationRequest.read(cookie), state, code)
    settings = services.settings
    user = services.accounts.find_or_create_external(
        person.issuer, person.subject, person.name, settings.oidc_team, Role(settings.oidc_role)
    )
    _record_actor(call, user)
    agent = request.headers.get("User-Agent", "")
    session = services.sessions.start(user, _lifetime(services), agent, address_of(request))
    instruments.count_sign_in("success")
    response = RedirectResponse("/", 302)
    _set_refresh_cookie(response, session)
    response.delete_cookie(OIDC_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _sign_in(
    request: Request,
    services: Services,
    call: AuditedCall,
    username: str | None,
    password: str | None,
    otp: str | None,
) -> User:
    if not username or not password:
        raise InvalidInput("the password grant needs username and password")
    team = services.accounts.team_of(username)
    if team is not None:  # what else is typed there may be a password
        call.team, call.actor = team, username
    try:
        user = check_password(services, request, username, password, otp)
    except SecondFactorRequired:
        raise
    except Unauthenticated:
        instruments.count_sign_in("refused")
        raise
    instruments.count_sign_in("success")
    _record_actor(call, user)
    return user


def _client_credentials(
    request: Request, services: Services, call: AuditedCall, client_id: str | None, client_secret: str | None
) -> TokenResponse:
    if not client_id or not client_secret:
        raise InvalidInput("the client_credentials grant needs client_id and client_secret")
    with services.rate_limits.sign_in(f"{CLIENT}{client_id}", address_of(request)):
        team, account, secret_id = services.clients.authenticate(client_id, client_secret)
    call.team, call.actor_kind, call.actor_id, call.actor = team, "client", account.id, account.name
    seconds = services.settings.access_token_seconds
    return TokenResponse(
        access_token=tokens.issue(CLIENT + account.id, services.token_keys[0], seconds, secret_id),
        expires_in=seconds,
    )


def _token_response(services: Services, session: TokenRotation, *, show: bool) -> TokenResponse:
    seconds = services.settings.access_token_seconds
    return TokenResponse(
        access_token=tokens.issue(session.user.id, services.token_keys[0], seconds, session.session_id),
        expires_in=seconds,
        refresh_token=session.token if show else None,
    )


def _lifetime(services: Services) -> SessionLifetime:
    return SessionLifetime(services.settings.refresh_token_days, services.settings.session_days)


def _set_refresh_cookie(response: Response, session: TokenRotation) -> None:
    seconds = max(0, round((session.expires_at - datetime.now(UTC)).total_seconds()))
    response.set_cookie(
        COOKIE, session.token, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict"
    )


def _provider(services: Services) -> OidcProvider:
    if services.oidc_provider is None:
        raise NotFound("no identity provider is set; sign in with user name and password")
    return services.oidc_provider


def _record_actor(call: AuditedCall, user: User) -> None:
    call.team, call.actor_kind, call.actor_id, call.actor = user.team, "user", user.id, user.user_name
