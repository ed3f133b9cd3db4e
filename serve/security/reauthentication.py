"""Reauthentication: a route that hands out or changes credentials asks a signed-in person for the password again.

The password (and a code of the second factor, where one is on) buys a token that holds a few minutes, for that person
and session only. An access token alone, which a browser or a log may give away, opens none of these routes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import Request

from cluster.repositories.principals import Principal
from quantis.errors import InvalidInput, ReauthenticationRequired, SecondFactorRequired, Unauthenticated
from quantis.types.accounts import REAUTHENTICATION_HEADER as HEADER
from quantis.types.accounts import Reauthentication, ReauthenticationToken, User
from serve.security import tokens
from serve.security.rate_limits import address_of
from serve.services import Services

LIFETIME = timedelta(minutes=5)
"""Validity of a reauthentication, and the age of a provider's sign-in that counts as one."""

_AUDIENCE = "quantis-reauthentication"
_ROUTE = "/v1/users/me/reauthentication"
_SIGN_IN_AGAIN = (
    "you sign in at an identity provider: sign in there again, and repeat this within "
    f"{LIFETIME.total_seconds() / 60:.0f} minutes"
)


def check_password(
    services: Services, request: Request, user_name: str, password: str, otp: str | None
) -> User:
    """Return the user of a name and password, with a code where the second factor is on; wrong ones are counted."""
    address = address_of(request)
    familiar = services.sessions.is_familiar(user_name, address)
    with services.rate_limits.sign_in(user_name, address, familiar=familiar):
        user = services.accounts.authenticate(user_name, password)
        if user.second_factor and otp:
            services.second_factors.check(user.id, otp)
    if user.second_factor and not otp:
        raise SecondFactorRequired("the password is right; send the code of your second factor as `otp` too")
    return user


def reauthenticate(
    services: Services, request: Request, principal: Principal, body: Reauthentication
) -> ReauthenticationToken:
    """Exchange the caller's password, or a provider's recent sign-in, for a token of this session."""
    user = services.accounts.enabled_user(principal.user_id)
    if user is not None and user.external:
        started = services.sessions.started_at(principal.user_id, principal.credential)
        if started is None or datetime.now(UTC) - started > LIFETIME:
            raise ReauthenticationRequired(_SIGN_IN_AGAIN)
    else:
        _check_own_password(services, request, principal, body)
    seconds = int(LIFETIME.total_seconds())
    token = tokens.issue(
        principal.user_id, services.token_keys[0], seconds, principal.credential, audience=_AUDIENCE
    )
    return ReauthenticationToken(token=token, expires_in=seconds)


def require(services: Services, request: Request, principal: Principal) -> None:
    """Raise ReauthenticationRequired unless the request carries a token of `reauthenticate` for this session."""
    values = request.headers.getlist(HEADER)
    if len(values) != 1:
        raise ReauthenticationRequired(
            f"this asks for your password again: send it to POST {_ROUTE}, and what that answers as {HEADER}"
        )
    try:
        claims = tokens.read(values[0], *services.token_keys, audience=_AUDIENCE)
    except Unauthenticated:
        claims = None
    if claims is None or (claims.subject, claims.session) != (principal.user_id, principal.credential):
        raise ReauthenticationRequired(
            f"the {HEADER} has ended or is of another session; send your password to POST {_ROUTE} again"
        )


def _check_own_password(
    services: Services, request: Request, principal: Principal, body: Reauthentication
) -> None:
    if body.password is None:
        raise InvalidInput("the password is missing; send yours as `password`")
    otp = body.otp.get_secret_value() if body.otp else None
    try:
        check_password(services, request, principal.user_name, body.password.get_secret_value(), otp)
    except SecondFactorRequired:
        raise
    except Unauthenticated as error:  # 401 would tell the client that its access token has ended
        raise ReauthenticationRequired("the password or the code is wrong") from error
