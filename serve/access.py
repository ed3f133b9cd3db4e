"""Who may call what: one table, deny by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer
from starlette.concurrency import run_in_threadpool

from quantis.errors import Forbidden, NotFound, Unauthenticated
from quantis.types.accounts import Role
from quantis.types.jobs import JobSpec
from serve import tokens
from serve.services import Services, services_of

PUBLIC = None
_RANK = {Role.viewer: 0, Role.analyst: 1, Role.ml_engineer: 2, Role.admin: 3}

POLICY: dict[tuple[str, str], Role | None] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/v1/setup"): PUBLIC,
    ("POST", "/v1/setup"): PUBLIC,
    ("POST", "/v1/oauth/token"): PUBLIC,
    ("POST", "/v1/oauth/revoke"): PUBLIC,
    ("GET", "/v1/users/me"): Role.viewer,
    ("GET", "/v1/users"): Role.admin,
    ("POST", "/v1/users"): Role.admin,
    ("PATCH", "/v1/users/{user_id}"): Role.admin,
    ("GET", "/v1/datasets"): Role.viewer,
    ("POST", "/v1/datasets"): Role.analyst,
    ("GET", "/v1/datasets/{name}"): Role.viewer,
    ("POST", "/v1/datasets/{name}/check"): Role.analyst,
    ("GET", "/v1/datasets/{name}/versions"): Role.viewer,
    ("POST", "/v1/datasets/{name}/versions"): Role.analyst,
    ("GET", "/v1/datasets/{name}/series"): Role.viewer,
    ("GET", "/v1/datasets/{name}/series/{unique_id:path}"): Role.viewer,
    ("POST", "/v1/datasets/{name}/observations"): Role.analyst,
    ("DELETE", "/v1/datasets/{name}/series/{unique_id:path}"): Role.ml_engineer,
    ("POST", "/v1/datasets/{name}/series/{unique_id:path}/restore"): Role.ml_engineer,
    ("GET", "/v1/jobs"): Role.viewer,
    ("POST", "/v1/jobs"): Role.analyst,
    ("GET", "/v1/jobs/{job_id}"): Role.viewer,
    ("GET", "/v1/jobs/{job_id}/events"): Role.viewer,
    ("GET", "/v1/jobs/{job_id}/logs"): Role.viewer,
    ("POST", "/v1/jobs/{job_id}/stop"): Role.ml_engineer,
    ("GET", "/v1/experiments/{job_id}/leaderboard"): Role.viewer,
    ("GET", "/v1/models"): Role.viewer,
    ("GET", "/v1/models/{name}/versions"): Role.viewer,
    ("GET", "/v1/models/{name}/versions/{version}"): Role.viewer,
    ("PUT", "/v1/models/{name}/aliases/{alias}"): Role.ml_engineer,
    ("POST", "/v1/models/{ref}/forecasts"): Role.viewer,
    ("GET", "/v1/forecasts/{forecast_id}"): Role.viewer,
}

JOB_POLICY: dict[str, Role] = {
    "featurize": Role.ml_engineer,
    "train": Role.ml_engineer,
    "tune": Role.ml_engineer,
    "forecast": Role.analyst,
    "compact": Role.admin,
    "ingest": Role.analyst,
}


@dataclass(frozen=True)
class Principal:
    user_id: str
    user_name: str
    team: str
    role: Role

    def may(self, least: Role) -> bool:
        return _RANK[self.role] >= _RANK[least]


_bearer = OAuth2PasswordBearer("/v1/oauth/token", auto_error=False)
AppServices = Annotated[Services, Depends(services_of)]


async def admit(request: Request) -> None:
    """Decide before a byte of the body is read; `authorise` hands on what was found."""
    token = await _bearer(request)
    services = services_of(request)
    request.state.principal = await run_in_threadpool(_decide, request, services, token)


def _decide(request: Request, services: Services, token: str | None) -> Principal | None:
    """Look the route up in the table; Unauthenticated or Forbidden when it says no."""
    key = (request.method, request.scope["route"].path)
    if key not in POLICY:
        raise NotFound("there is nothing at this address")
    least = POLICY[key]
    if least is None:
        return None
    if token is None:
        raise Unauthenticated("the access token is missing; sign in")
    user = services.accounts.enabled(tokens.read(token, services.token_key).subject)
    if user is None:
        raise Unauthenticated("this account is disabled or gone; ask an admin")
    principal = Principal(user.id, user.user_name, user.team, user.role)
    if not principal.may(least):
        raise Forbidden(f"the role {principal.role} may not do this; it needs {least}")
    return principal


async def authorise(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Principal | None:
    """Who was admitted; NotFound where nobody was asked, so that a route without the guard serves nobody."""
    if not hasattr(request.state, "principal"):
        raise NotFound("there is nothing at this address")
    principal: Principal | None = request.state.principal
    return principal


def _signed_in(principal: Annotated[Principal | None, Depends(authorise)]) -> Principal:
    if principal is None:
        raise Unauthenticated("the access token is missing; sign in")
    return principal


CurrentUser = Annotated[Principal, Depends(_signed_in)]


def check_job(principal: Principal, spec: JobSpec) -> None:
    """Some kinds of job need more than the route does."""
    least = JOB_POLICY[spec.kind]
    if not principal.may(least):
        raise Forbidden(f"the role {principal.role} may not start a {spec.kind} job; it needs {least}")
