"""Sessions, keys, service accounts, teams, approvals and the audit trail, from the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, SecretStr

from quantis.client.bodies import dump_with_secrets, format_query_time, quote_segment
from quantis.client.connection import Request
from quantis.client.problems import validate
from quantis.client.protocol import ApiCaller
from quantis.types.accounts import Role, Session
from quantis.types.approvals import Approval, ApprovalState, ModelPolicy, Policy
from quantis.types.audit import AuditEvent, AuditVerdict, Outcome
from quantis.types.keys import (
    ApiKey,
    CreatedApiKey,
    CreatedServiceAccount,
    NewApiKey,
    NewServiceAccount,
    Scope,
    ServiceAccount,
    ServiceAccountChange,
)
from quantis.types.operations.calibration import CalibrationSwitch, ModelCalibration
from quantis.types.registry import AliasRequest, ModelVersion, Share, Traffic
from quantis.types.teams import NewTeam, Quota, Team, TeamChange, Usage

T = TypeVar("T", bound=BaseModel)


class AdministrationMixin:
    """Mixed into the client."""

    def sessions(self: ApiCaller) -> list[Session]:
        """List one's sessions, last used first."""
        return self._get_all(Session, "/users/me/sessions", 1000)

    def end_session(self: ApiCaller, session_id: str) -> None:
        """Sign out there."""
        self._connection.send(Request("DELETE", f"/v1/users/me/sessions/{quote_segment(session_id)}"))

    def end_other_sessions(self: ApiCaller) -> None:
        """Sign out everywhere but here."""
        self._connection.send(Request("DELETE", "/v1/users/me/sessions"))

    def create_api_key(
        self: ApiCaller,
        name: str,
        scopes: Iterable[Scope | str] = (Scope.read, Scope.forecast),
        *,
        expires_in: timedelta = timedelta(days=90),
    ) -> CreatedApiKey:
        """Create a key that acts for oneself within its scopes; `key` is shown this once."""
        body = validate(NewApiKey, name=name, scopes=frozenset(scopes), expires_in=expires_in)
        return self._send(CreatedApiKey, "POST", "/api-keys", body.model_dump_json())

    def api_keys(self: ApiCaller, *, team: bool = False) -> list[ApiKey]:
        """List one's own keys, or for admins those of the team."""
        return self._get_all(ApiKey, "/api-keys", 1000, of="team" if team else "me")

    def revoke_api_key(self: ApiCaller, key_id: str) -> ApiKey:
        return self._send(ApiKey, "DELETE", f"/api-keys/{quote_segment(key_id)}", None)

    def create_service_account(
        self: ApiCaller,
        name: str,
        role: Role | str = Role.viewer,
        scopes: Iterable[Scope | str] = (Scope.read, Scope.forecast),
    ) -> CreatedServiceAccount:
        """Create an account for a machine; `client_secret` is shown this once."""
        body = validate(NewServiceAccount, name=name, role=role, scopes=frozenset(scopes))
        return self._send(CreatedServiceAccount, "POST", "/clients", body.model_dump_json())

    def service_accounts(self: ApiCaller) -> list[ServiceAccount]:
        return self._get_all(ServiceAccount, "/clients", 1000)

    def change_service_account(
        self: ApiCaller, client_id: str, change: ServiceAccountChange
    ) -> ServiceAccount:
        body = change.model_dump_json(exclude_none=True)
        return self._send(ServiceAccount, "PATCH", f"/clients/{quote_segment(client_id)}", body)

    def renew_client_secret(self: ApiCaller, client_id: str) -> CreatedServiceAccount:
        """Create a new secret; the one before stops working at once."""
        return self._send(CreatedServiceAccount, "POST", f"/clients/{quote_segment(client_id)}/secret", None)

    def delete_service_account(self: ApiCaller, client_id: str) -> None:
        self._connection.send(Request("DELETE", f"/v1/clients/{quote_segment(client_id)}"))

    def teams(self: ApiCaller) -> list[Team]:
        """List every team; for operators."""
        return self._get_all(Team, "/teams", 1000)

    def create_team(
        self: ApiCaller, name: str, admin_name: str, admin_password: str, quota: Quota | None = None
    ) -> Team:
        """Create a team with its first admin; for operators."""
        body = validate(
            NewTeam,
            name=name,
            admin_name=admin_name,
            admin_password=SecretStr(admin_password),
            quota=quota or Quota(),
        )
        return self._send(Team, "POST", "/teams", dump_with_secrets(body))

    def set_quota(self: ApiCaller, team: str, quota: Quota) -> Team:
        """Set what a team may use; for operators."""
        return self._send(
            Team, "PATCH", f"/teams/{quote_segment(team)}", TeamChange(quota=quota).model_dump_json()
        )

    def usage(self: ApiCaller) -> Usage:
        """Return what the team uses of what it may use."""
        return self._get(Usage, "/usage")

    def usage_of_teams(self: ApiCaller) -> list[Usage]:
        """List what every team uses; for operators."""
        return self._get_all(Usage, "/usage/teams", 1000)

    def policy(self: ApiCaller, model: str) -> Policy:
        """Return who decides what the model's aliases mean."""
        return self._get(ModelPolicy, f"/models/{quote_segment(model)}/policy").policy

    def set_policy(self: ApiCaller, model: str, policy: Policy | str) -> ModelPolicy | Approval:
        """Stricter at once; looser is asked for, and an Approval comes back."""
        body = validate(ModelPolicy, policy=policy).model_dump_json()
        response = self._connection.send(
            Request("PUT", f"/v1/models/{quote_segment(model)}/policy", json=body)
        )
        return _result_or_approval(ModelPolicy, response)

    def calibration(self: ApiCaller, model: str) -> ModelCalibration:
        """Return how scored actuals have moved the intervals of a model's versions."""
        return self._get(ModelCalibration, f"/models/{quote_segment(model)}/calibration")

    def set_calibration(self: ApiCaller, model: str, *, enabled: bool) -> ModelCalibration:
        """Let a model's intervals learn from actuals, or not; what was learned stays."""
        body = CalibrationSwitch(enabled=enabled).model_dump_json()
        return self._send(ModelCalibration, "PUT", f"/models/{quote_segment(model)}/calibration", body)

    def promote(self: ApiCaller, name: str, version: int, alias: str = "champion") -> ModelVersion | Approval:
        """Point an alias at a version; Conflict when the gate says no.

        Under the policy `two_person` it is asked for, and an Approval comes back.
        """
        path = f"/v1/models/{quote_segment(name)}/aliases/{quote_segment(alias)}"
        body = AliasRequest(version=version).model_dump_json()
        return _result_or_approval(
            ModelVersion, self._connection.send(Request("PUT", path, json=body, repeatable=True))
        )

    def delete_dataset(self: ApiCaller, name: str) -> None:
        """Delete a dataset with all its versions, for good; Conflict, naming it, while something needs it."""
        self._connection.send(Request("DELETE", f"/v1/datasets/{quote_segment(name)}", repeatable=True))

    def delete_model(self: ApiCaller, name: str) -> None:
        """Delete a model with all its versions, for good; Conflict, naming it, while something needs it."""
        self._connection.send(Request("DELETE", f"/v1/models/{quote_segment(name)}", repeatable=True))

    def delete_model_version(self: ApiCaller, name: str, version: int) -> None:
        """Delete a version of a model; Conflict, naming it, while something needs it."""
        path = f"/v1/models/{quote_segment(name)}/versions/{version}"
        self._connection.send(Request("DELETE", path, repeatable=True))

    def remove_alias(self: ApiCaller, name: str, alias: str) -> None:
        """Let an alias mean no version any more, as before the model is deleted."""
        path = f"/v1/models/{quote_segment(name)}/aliases/{quote_segment(alias)}"
        self._connection.send(Request("DELETE", path))

    def delete_job(self: ApiCaller, job_id: str) -> None:
        """Delete a job that has ended, with its events, result and files; what it published stays."""
        self._connection.send(Request("DELETE", f"/v1/jobs/{quote_segment(job_id)}", repeatable=True))

    def traffic(self: ApiCaller, model: str) -> Traffic:
        """Return how the requests for the model's name are divided; the champion has the rest."""
        return self._get(Traffic, f"/models/{quote_segment(model)}/traffic")

    def set_traffic(self: ApiCaller, model: str, shares: Mapping[int, int]) -> Traffic | Approval:
        """Give versions their percent of the requests; the champion has the rest.

        Under the policy `two_person` it is asked for, and an Approval comes back.
        """
        each = tuple(validate(Share, version=version, percent=percent) for version, percent in shares.items())
        body = validate(Traffic, shares=each).model_dump_json()
        path = f"/v1/models/{quote_segment(model)}/traffic"
        return _result_or_approval(
            Traffic, self._connection.send(Request("PUT", path, json=body, repeatable=True))
        )

    def approvals(
        self: ApiCaller, *, state: ApprovalState | None = None, limit: int = 1000
    ) -> list[Approval]:
        """List the changes that need a second person, newest first."""
        return self._get_all(Approval, "/approvals", limit, state=state.value if state else None)

    def approve(self: ApiCaller, approval_id: str) -> Approval:
        """Do what somebody else asked for; Forbidden for one's own request."""
        return self._send(Approval, "POST", f"/approvals/{quote_segment(approval_id)}/approve", None)

    def refuse(self: ApiCaller, approval_id: str) -> Approval:
        """Say no, or withdraw one's own request."""
        return self._send(Approval, "POST", f"/approvals/{quote_segment(approval_id)}/refuse", None)

    def audit_events(
        self: ApiCaller,
        *,
        actor: str | None = None,
        action: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[AuditEvent]:
        """List who changed what, or tried to, newest first."""
        filters: dict[str, Any] = {"actor": actor, "action": action, "since": format_query_time(since)}
        return self._get_all(
            AuditEvent, "/audit-events", limit, outcome=outcome.value if outcome else None, **filters
        )

    def verify_audit(self: ApiCaller) -> AuditVerdict:
        """Walk along the whole trail; for operators."""
        return self._get(AuditVerdict, "/audit-events/verdict")


def _result_or_approval(kind: type[T], response: httpx.Response) -> T | Approval:
    model = Approval if response.status_code == 202 else kind
    return model.model_validate_json(response.content, extra="ignore")
