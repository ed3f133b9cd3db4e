"""Admission of requests before their body is read: authentication, permission, limits, quotas, audit."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import OAuth2
from starlette.concurrency import run_in_threadpool

from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.audit import AuditedCall
from cluster.repositories.principals import Principal as Principal
from quantis.errors import Forbidden, NotFound, TooManyRequests, Unauthenticated, Unavailable
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import JOB_KINDS
from quantis.types.keys import Scope
from serve.security import reauthentication
from serve.security.authentication import AuthenticatedCaller
from serve.security.policy import ANY, CHANGING_READS, PERSON, POLICY, AccessRule
from serve.security.rate_limits import address_of
from serve.services import Services, services_of

AppServices = Annotated[Services, Depends(services_of)]
_READS = ("GET", "HEAD")
OWN_ACCOUNT = "/v1/users/me"
"""The only paths for a user who has yet to set up a required second factor."""

_SECRET = re.compile(r"(q[ks]_)[\w-]{20,}")
"""A key or client secret that somebody took for its id."""
_TOKEN = "/v1/oauth/token"  # noqa: S105 - where to get one  # nosec B105
bearer = OAuth2(
    flows={
        "password": {"tokenUrl": _TOKEN, "refreshUrl": _TOKEN},
        "clientCredentials": {"tokenUrl": _TOKEN, "scopes": {scope.value: "" for scope in Scope}},
    },
    scheme_name="Bearer",
    description="An access token, or an API key (`qk_...`).",
    auto_error=False,
)


async def admit(request: Request) -> None:
    """Decide, count and begin the audit event; `authorise` hands on the principal."""
    key = (request.method, request.scope["route"].path)
    if key not in POLICY:
        raise NotFound("there is nothing at this address")
    rule, services = POLICY[key], services_of(request)
    request.state.principal = request.state.caller = None
    if rule is None:
        await _admit_anonymous(request, services)
        return
    try:
        caller = await _authenticate(request, services)
    except Unauthenticated:
        await services.rate_limits.anonymous(address_of(request))
        await begin(request, services)
        raise
    request.state.caller, request.state.principal = caller, caller.principal
    await _count(request, services, caller.principal)
    if not rule.read_only:
        await begin(request, services, caller.principal)
    check(rule, caller.principal)
    if caller.principal.factor_missing and not request.scope["route"].path.startswith(OWN_ACCOUNT):
        raise Forbidden(
            "this platform asks for a second factor; set one up under Account, "
            "or with POST /v1/users/me/second-factor"
        )
    if rule.reauthenticate:
        reauthentication.require(services, request, caller.principal)
    if caller.unconfirmed and not (request.method in _READS or rule.scope == Scope.forecast):
        raise Unavailable("the database does not answer; until it does, only reads and forecasts are served")
    if rule.quota is not None:
        await run_in_threadpool(_check_quota, rule, services, caller.principal, _content_length(request))


async def authorise(request: Request, _: Annotated[str | None, Depends(bearer)]) -> Principal | None:
    """Return the admitted principal; NotFound where `admit` did not run, so that an unguarded route serves nobody."""
    if not hasattr(request.state, "principal"):
        raise NotFound("there is nothing at this address")
    principal: Principal | None = request.state.principal
    return principal


def _require_sign_in(principal: Annotated[Principal | None, Depends(authorise)]) -> Principal:
    if principal is None:
        raise Unauthenticated("the access token is missing; sign in")
    return principal


CurrentUser = Annotated[Principal, Depends(_require_sign_in)]


def check(rule: AccessRule, principal: Principal) -> None:
    """Raise Forbidden when the rule denies the principal."""
    if not principal.has_role(rule.minimum_role):
        raise Forbidden(f"the role {principal.role} may not do this; it needs {rule.minimum_role}")
    if rule.operator and principal.team != DEFAULT_TEAM:
        raise Forbidden("only an admin of the team that runs the platform may do this")
    if principal.scopes is None or rule.scope == ANY:
        return
    if rule.scope == PERSON:
        raise Forbidden("only a person who signed in may do this, no API key and no service account")
    if rule.scope not in principal.scopes:
        scopes = ", ".join(sorted(principal.scopes))
        raise Forbidden(f"the scopes {scopes} do not allow this; it needs the scope {rule.scope}")


async def count_stream(request: Request, services: AppServices) -> AsyncIterator[None]:
    """Count a long answer of the caller until it ends; TooManyRequests before it begins."""
    with services.open_streams.hold(request):
        yield


OpenStream = Annotated[None, Depends(count_stream)]


def check_job(principal: Principal, spec: JobSpec) -> None:
    """Raise Forbidden for a kind of job that needs more than the route does."""
    minimum = JOB_KINDS[spec.kind].role
    if not principal.has_role(minimum):
        raise Forbidden(f"the role {principal.role} may not start a {spec.kind} job; it needs {minimum}")


async def still_admitted(request: Request) -> bool:
    """Return True while the caller of a long answer is who they were when it began."""
    caller: AuthenticatedCaller | None = request.state.caller
    return caller is None or await services_of(request).authenticator.is_still_valid(caller)


async def begin(request: Request, services: Services, principal: Principal | None = None) -> None:
    """Record that a mutating call is about to happen; AuditMiddleware ends it from the request's state."""
    if request.method in _READS and (request.method, request.scope["route"].path) not in CHANGING_READS:
        return
    call = AuditedCall(
        action=f"{request.method} {request.scope['route'].path}",
        object=_SECRET.sub(r"\1...", request.url.path),
        request_id=request.state.request_id,
        address=request.client.host if request.client else "",
    )
    if principal is not None:
        name(call, principal)
    await run_in_threadpool(services.audit.begin, call)
    request.state.audit = call


def name(call: AuditedCall, principal: Principal) -> None:
    call.team, call.actor_kind = principal.team, principal.kind
    call.actor_id, call.actor = principal.credential or principal.user_id, principal.user_name


def audited(request: Request) -> AuditedCall:
    """Return the audit event of this call, for a route that adds details."""
    call: AuditedCall = request.state.audit
    return call


Audited = Annotated[AuditedCall, Depends(audited)]


async def _admit_anonymous(request: Request, services: Services) -> None:
    if request.scope["route"].path.startswith("/v1/"):
        await services.rate_limits.anonymous(address_of(request))
        await begin(request, services)


async def _authenticate(request: Request, services: Services) -> AuthenticatedCaller:
    values = request.headers.getlist("Authorization")
    if len(values) > 1:  # a proxy and this process could each believe another one
        raise Unauthenticated(f"the request has {len(values)} Authorization headers; send exactly one")
    scheme, _, token = "".join(values).partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("the access token is missing; sign in")
    return await services.authenticator.authenticate(token)


async def _count(request: Request, services: Services, principal: Principal) -> None:
    limit = services.quotas.with_defaults(principal.quota).requests_per_minute
    status = await services.rate_limits.team(principal.team, limit)
    if status is None:
        return
    request.state.headers = status.headers()
    if not status.count.admitted:
        raise TooManyRequests(
            f"the team made its {limit} requests of this minute (quota requests_per_minute); "
            f"try again in {status.count.retry_after} seconds",
            retry_after=status.count.retry_after,
        )


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _check_quota(rule: AccessRule, services: Services, principal: Principal, incoming: int) -> None:
    if rule.quota == "compute":
        services.quotas.check_compute(principal.team, principal.quota)
    services.quotas.check_storage(principal.team, principal.quota, incoming)
