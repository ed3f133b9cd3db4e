"""Promotion of models: changes of aliases, traffic and policy.

They take effect at once under the policy `gate`, and need a second person under `two_person`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.repositories.approvals import Approvals
from quantis.errors import Conflict, NotFound, QuantisError
from quantis.types.approvals import (
    AliasChange,
    Approval,
    ModelPolicy,
    Policy,
    PolicyChange,
    TrafficChange,
)
from quantis.types.registry import CHAMPION, HeadToHead, ModelVersion, Traffic

if TYPE_CHECKING:
    from models.registry.mlflow_registry import Registry  # brings MLflow, which takes seconds


def find_head_to_head(version: ModelVersion, reference: ModelVersion) -> HeadToHead | None:
    """Return the comparison of two versions that one of their gates holds; None where they were never compared."""
    for each in (version, reference):
        row = each.gate.get("head_to_head")
        if row and {row["challenger"], row["incumbent"]} == {version.version, reference.version}:
            return HeadToHead.model_validate(row)
    return None


class Promotion:
    """Changes of one team's models. The gate holds under either policy."""

    def __init__(self, registry: Registry, approvals: Approvals, default: Policy) -> None:
        self._registry, self._approvals, self._default = registry, approvals, default
        self._team = registry.team

    def policy(self, model: str) -> Policy:
        return self._approvals.policy(self._team, model) or self._default

    def request_alias(
        self, user: str, model: str, version: int, alias: str = CHAMPION
    ) -> ModelVersion | Approval:
        """Point an alias at a version, or ask for approval; Conflict when the gate refuses."""
        target = self._registry.check_promotion(model, version, alias)
        current = self._current_version(model, alias)
        row = find_head_to_head(target, self._registry.get(model, current)) if current else None
        if self.policy(model) == Policy.gate:
            promoted = self._registry.promote(model, version, alias)
            return promoted.model_copy(update={"head_to_head": row})
        if alias in target.aliases:
            return target
        change = AliasChange(alias=alias, version=version, instead_of=current, head_to_head=row)
        return self._approvals.request(self._team, model, user, change)

    def request_traffic(self, user: str, model: str, traffic: Traffic) -> Traffic | Approval:
        """Divide the requests for the model's name, or ask for approval; Conflict when the gate refuses."""
        self._registry.check_traffic(model, traffic)
        if self.policy(model) == Policy.gate:
            return self._registry.set_traffic(model, traffic)
        now = self._registry.traffic(model)
        if traffic == now:
            return now
        change = TrafficChange(traffic=traffic, instead_of=now)
        return self._approvals.request(self._team, model, user, change)

    def withdraw_share(self, model: str, version: int) -> None:
        """Take a version's share of the requests away, at once under either policy: the champion has the rest."""
        shares = self._registry.traffic(model).shares
        left = tuple(share for share in shares if share.version != version)
        if left != shares:
            self._registry.set_traffic(model, Traffic(shares=left))

    def request_policy(self, user: str, model: str, policy: Policy) -> ModelPolicy | Approval:
        """Make a policy stricter at once; looser only with approval."""
        self._registry.versions(model)
        if policy == self.policy(model) or policy == Policy.two_person:
            self._approvals.set_policy(self._team, model, policy)
            return ModelPolicy(policy=policy)
        return self._approvals.request(self._team, model, user, PolicyChange(policy=policy))

    def approve(self, user: str, approval_id: str) -> Approval:
        """Approve somebody else's request and apply it; it stays pending when it cannot be applied."""
        approval = self._approvals.decide(self._team, approval_id, user, approve=True)
        try:
            self._apply(approval)
        except QuantisError:
            self._approvals.reopen(self._team, approval_id)
            raise
        return approval

    def refuse(self, user: str, approval_id: str) -> Approval:
        return self._approvals.decide(self._team, approval_id, user, approve=False)

    def _apply(self, approval: Approval) -> None:
        change = approval.change
        if isinstance(change, PolicyChange):
            self._approvals.set_policy(self._team, approval.model, change.policy)
            return
        if isinstance(change, TrafficChange):
            self._apply_traffic(approval.model, change)
            return
        if self._current_version(approval.model, change.alias) != change.instead_of:
            raise Conflict(
                f"{approval.model}@{change.alias} means another version than when this was asked for; "
                "refuse it and ask again"
            )
        self._registry.promote(approval.model, change.version, change.alias)

    def _apply_traffic(self, model: str, change: TrafficChange) -> None:
        if self._registry.traffic(model) != change.instead_of:
            raise Conflict(
                f"the traffic of {model} is divided otherwise than when this was asked for; "
                "refuse it and ask again"
            )
        self._registry.set_traffic(model, change.traffic)

    def _current_version(self, model: str, alias: str) -> int | None:
        try:
            return self._registry.resolve(f"{model}@{alias}").version
        except NotFound:
            return None
