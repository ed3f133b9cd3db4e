"""Access policy: one table of routes and rules, deny by default.

A rule names the minimum role, the scope that a key or a service account needs besides, and the quota that a call
draws upon. `PERSON` routes are for users who signed in; `ANY` takes every credential.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from starlette.routing import compile_path

from quantis.types.accounts import Role
from quantis.types.keys import Scope

_PARAMETER = re.compile(r"\{[^}]*\}")
PUBLIC = None
PERSON: Literal["person"] = "person"
ANY: Literal["any"] = "any"


CHANGING_READS = frozenset({("GET", "/v1/oauth/oidc/callback")})
"""GET routes that begin a session, because a browser is sent there: audited as changes are."""


@dataclass(frozen=True)
class AccessRule:
    """`operator`: only admins of the team that runs the platform. `read_only`: a POST that changes nothing.

    `reauthenticate`: the caller gives the password again, because the call hands out or changes credentials.
    """

    minimum_role: Role
    scope: Scope | Literal["person", "any"]
    operator: bool = False
    read_only: bool = False
    quota: Literal["storage", "compute"] | None = None
    reauthenticate: bool = False


_READ = AccessRule(Role.viewer, Scope.read)
_SELF = AccessRule(Role.viewer, PERSON)
_ADMIN = AccessRule(Role.admin, PERSON)
_SELF_AGAIN = AccessRule(Role.viewer, PERSON, reauthenticate=True)
_ADMIN_AGAIN = AccessRule(Role.admin, PERSON, reauthenticate=True)
_AUDIT = AccessRule(Role.admin, Scope.audit)
_OPERATOR = AccessRule(Role.admin, PERSON, operator=True)
_DATA = AccessRule(Role.analyst, Scope.data)
_UPLOAD = AccessRule(Role.analyst, Scope.data, quota="storage")
_DELETE = AccessRule(Role.ml_engineer, Scope.data)
_MODELS = AccessRule(Role.ml_engineer, Scope.models)
_CHANNEL = AccessRule(Role.admin, Scope.models)
_ALERT = AccessRule(Role.analyst, Scope.models)

POLICY: dict[tuple[str, str], AccessRule | None] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/v1/setup"): PUBLIC,
    ("POST", "/v1/setup"): PUBLIC,
    ("POST", "/v1/oauth/token"): PUBLIC,
    ("POST", "/v1/oauth/revoke"): PUBLIC,
    ("GET", "/v1/oauth/oidc/start"): PUBLIC,
    ("GET", "/v1/oauth/oidc/callback"): PUBLIC,
    ("GET", "/v1/users/me"): AccessRule(Role.viewer, ANY),
    ("POST", "/v1/users/me/password"): _SELF,
    ("GET", "/v1/users/me/sessions"): _SELF,
    ("DELETE", "/v1/users/me/sessions"): _SELF,
    ("DELETE", "/v1/users/me/sessions/{session_id}"): _SELF,
    ("POST", "/v1/users/me/reauthentication"): _SELF,
    ("POST", "/v1/users/me/second-factor"): _SELF_AGAIN,
    ("PUT", "/v1/users/me/second-factor"): _SELF,
    ("DELETE", "/v1/users/me/second-factor"): _SELF_AGAIN,
    ("GET", "/v1/users"): _ADMIN,
    ("POST", "/v1/users"): _ADMIN_AGAIN,
    ("PATCH", "/v1/users/{user_id}"): _ADMIN_AGAIN,
    ("GET", "/v1/api-keys"): _SELF,
    ("POST", "/v1/api-keys"): _SELF_AGAIN,
    ("DELETE", "/v1/api-keys/{key_id}"): _SELF,
    ("GET", "/v1/clients"): _ADMIN,
    ("POST", "/v1/clients"): _ADMIN_AGAIN,
    ("PATCH", "/v1/clients/{client_id}"): _ADMIN_AGAIN,
    ("DELETE", "/v1/clients/{client_id}"): _ADMIN,
    ("POST", "/v1/clients/{client_id}/secret"): _ADMIN_AGAIN,
    ("GET", "/v1/teams"): _OPERATOR,
    ("POST", "/v1/teams"): AccessRule(Role.admin, PERSON, operator=True, reauthenticate=True),
    ("PATCH", "/v1/teams/{team}"): _OPERATOR,
    ("GET", "/v1/usage"): _READ,
    ("GET", "/v1/usage/teams"): _OPERATOR,
    ("GET", "/v1/audit-events"): _AUDIT,
    ("GET", "/v1/audit-events/verdict"): AccessRule(Role.admin, Scope.audit, operator=True),
    ("GET", "/v1/datasets"): _READ,
    ("POST", "/v1/datasets"): _DATA,
    ("GET", "/v1/datasets/{name}"): _READ,
    ("DELETE", "/v1/datasets/{name}"): AccessRule(Role.admin, Scope.data),
    ("POST", "/v1/datasets/{name}/check"): AccessRule(Role.analyst, Scope.data, read_only=True),
    ("GET", "/v1/datasets/{name}/versions"): _READ,
    ("POST", "/v1/datasets/{name}/versions"): _UPLOAD,
    ("POST", "/v1/datasets/{name}/imports"): _UPLOAD,
    ("GET", "/v1/datasets/{name}/versions/{number}/report"): _READ,
    ("GET", "/v1/datasets/{name}/revisions"): _READ,
    ("GET", "/v1/datasets/{name}/windows"): _READ,
    ("GET", "/v1/datasets/{name}/series"): _READ,
    ("GET", "/v1/datasets/{name}/series/{unique_id:path}"): _READ,
    ("POST", "/v1/datasets/{name}/observations"): _UPLOAD,
    ("DELETE", "/v1/datasets/{name}/series/{unique_id:path}"): _DELETE,
    ("POST", "/v1/datasets/{name}/series/{unique_id:path}/restore"): _DELETE,
    ("GET", "/v1/jobs"): _READ,
    ("POST", "/v1/jobs"): AccessRule(Role.analyst, Scope.jobs, quota="compute"),
    ("GET", "/v1/jobs/{job_id}"): _READ,
    ("DELETE", "/v1/jobs/{job_id}"): AccessRule(Role.ml_engineer, Scope.jobs),
    ("GET", "/v1/jobs/{job_id}/events"): _READ,
    ("GET", "/v1/jobs/{job_id}/logs"): _READ,
    ("GET", "/v1/jobs/{job_id}/forecasts"): _READ,
    ("POST", "/v1/jobs/{job_id}/retry"): AccessRule(Role.analyst, Scope.jobs, quota="compute"),
    ("POST", "/v1/jobs/{job_id}/clone"): AccessRule(Role.analyst, Scope.jobs, quota="compute"),
    ("POST", "/v1/jobs/{job_id}/stop"): AccessRule(Role.ml_engineer, Scope.jobs),
    ("GET", "/v1/experiments/{job_id}/leaderboard"): _READ,
    ("GET", "/v1/backtests/{job_id}"): _READ,
    ("GET", "/v1/backtests/{job_id}/{dimension}"): _READ,
    ("GET", "/v1/models"): _READ,
    ("GET", "/v1/models/{name}/versions"): _READ,
    ("GET", "/v1/models/{name}/versions/{version}"): _READ,
    ("GET", "/v1/models/{ref}/card"): _READ,
    ("DELETE", "/v1/models/{name}"): AccessRule(Role.admin, Scope.models),
    ("DELETE", "/v1/models/{name}/versions/{version}"): _MODELS,
    ("PUT", "/v1/models/{name}/aliases/{alias}"): _MODELS,
    ("DELETE", "/v1/models/{name}/aliases/{alias}"): _MODELS,
    ("GET", "/v1/models/{name}/traffic"): _READ,
    ("PUT", "/v1/models/{name}/traffic"): _MODELS,
    ("GET", "/v1/models/{name}/policy"): _READ,
    ("PUT", "/v1/models/{name}/policy"): AccessRule(Role.admin, PERSON),
    ("GET", "/v1/models/{name}/calibration"): _READ,
    ("PUT", "/v1/models/{name}/calibration"): _MODELS,
    ("GET", "/v1/approvals"): _READ,
    ("GET", "/v1/approvals/{approval_id}"): _READ,
    ("POST", "/v1/approvals/{approval_id}/approve"): AccessRule(Role.ml_engineer, PERSON),
    ("POST", "/v1/approvals/{approval_id}/refuse"): AccessRule(Role.ml_engineer, PERSON),
    ("GET", "/v1/alert-rules"): _READ,
    ("POST", "/v1/alert-rules"): _MODELS,
    ("GET", "/v1/alert-rules/{rule_id}"): _READ,
    ("PATCH", "/v1/alert-rules/{rule_id}"): _MODELS,
    ("DELETE", "/v1/alert-rules/{rule_id}"): _MODELS,
    ("GET", "/v1/alerts"): _READ,
    ("GET", "/v1/alerts/{alert_id}"): _READ,
    ("POST", "/v1/alerts/{alert_id}/acknowledge"): _ALERT,
    ("POST", "/v1/alerts/{alert_id}/snooze"): _ALERT,
    ("POST", "/v1/alerts/{alert_id}/resolve"): _ALERT,
    ("GET", "/v1/alert-channels"): _READ,
    ("POST", "/v1/alert-channels"): _CHANNEL,
    ("GET", "/v1/alert-channels/{channel_id}"): _READ,
    ("PATCH", "/v1/alert-channels/{channel_id}"): _CHANNEL,
    ("DELETE", "/v1/alert-channels/{channel_id}"): _CHANNEL,
    ("POST", "/v1/alert-channels/{channel_id}/test"): _MODELS,
    ("GET", "/v1/alert-deliveries"): _READ,
    ("GET", "/v1/alert-deliveries/{delivery_id}"): _READ,
    ("POST", "/v1/alert-deliveries/{delivery_id}/replay"): _MODELS,
    ("POST", "/v1/models/{ref}/forecasts"): AccessRule(Role.viewer, Scope.forecast, read_only=True),
    ("GET", "/v1/models/{name}/live"): _READ,
    ("GET", "/v1/datasets/{name}/anomalies"): _READ,
    ("GET", "/v1/datasets/{name}/drift"): _READ,
    ("GET", "/v1/models/{name}/at"): _READ,
    ("GET", "/v1/forecasts"): _READ,
    ("GET", "/v1/forecasts/{forecast_id}"): _READ,
    ("GET", "/v1/forecasts/{forecast_id}/reproduction"): _READ,
    ("GET", "/v1/experiments-online"): _READ,
    ("POST", "/v1/experiments-online"): _MODELS,
    ("GET", "/v1/experiments-online/{experiment_id}"): _READ,
    ("POST", "/v1/experiments-online/{experiment_id}/stop"): _MODELS,
    ("GET", "/v1/pipelines"): _READ,
    ("PUT", "/v1/pipelines/{pipeline}"): AccessRule(Role.analyst, Scope.jobs, quota="compute"),
    ("GET", "/v1/pipelines/{pipeline}"): _READ,
    ("DELETE", "/v1/pipelines/{pipeline}"): AccessRule(Role.ml_engineer, Scope.jobs),
    ("GET", "/v1/pipelines/{pipeline}/versions"): _READ,
    ("GET", "/v1/pipelines/{pipeline}/runs"): _READ,
    ("POST", "/v1/pipelines/{pipeline}/runs"): AccessRule(Role.analyst, Scope.jobs, quota="compute"),
    ("GET", "/v1/pipelines/{pipeline}/runs/{run_id}"): _READ,
    ("POST", "/v1/pipelines/{pipeline}/runs/{run_id}/stop"): AccessRule(Role.ml_engineer, Scope.jobs),
    ("GET", "/v1/schedules"): _READ,
    ("POST", "/v1/schedules"): AccessRule(Role.analyst, Scope.jobs, quota="compute"),
    ("GET", "/v1/schedules/{schedule_id}"): _READ,
    ("PATCH", "/v1/schedules/{schedule_id}"): AccessRule(Role.analyst, Scope.jobs),
    ("DELETE", "/v1/schedules/{schedule_id}"): AccessRule(Role.ml_engineer, Scope.jobs),
    ("GET", "/v1/schedules/{schedule_id}/runs"): _READ,
}


def methods_at(path: str) -> list[str]:
    """Return the methods of the most specific route that matches an address."""
    fitting = [template for _, template in POLICY if compile_path(template)[0].match(path)]
    if not fitting:
        return []
    closest = max(fitting, key=lambda template: (-template.count("{"), len(_PARAMETER.sub("", template))))
    return sorted(method for method, template in POLICY if template == closest)
