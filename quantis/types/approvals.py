"""Approvals: changes of a model's aliases and traffic, decided by the gate alone or by two people."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from quantis.types.base import Frozen, Number, RequestBody, Timestamp, is_none
from quantis.types.registry import HeadToHead, Traffic


class Policy(StrEnum):
    gate = "gate"
    two_person = "two_person"


class ModelPolicy(RequestBody):
    policy: Policy


class AliasChange(Frozen):
    """Let an alias mean another version."""

    kind: Literal["alias"] = "alias"
    alias: str
    version: Number
    instead_of: int | None = Field(default=None, description="What the alias meant when it was asked for.")
    head_to_head: HeadToHead | None = Field(
        default=None,
        exclude_if=is_none,
        description="Of the two versions, where one was compared with the other.",
    )


class PolicyChange(Frozen):
    kind: Literal["policy"] = "policy"
    policy: Policy


class TrafficChange(Frozen):
    """Divide the requests for the model's name anew."""

    kind: Literal["traffic"] = "traffic"
    traffic: Traffic
    instead_of: Traffic = Field(description="How they were divided when it was asked for.")


Change = Annotated[AliasChange | PolicyChange | TrafficChange, Field(discriminator="kind")]


class ApprovalState(StrEnum):
    pending = "pending"
    approved = "approved"
    refused = "refused"
    withdrawn = "withdrawn"


class Approval(Frozen):
    """A change that one person asked for and another one decides."""

    id: str
    model: str
    change: Change
    state: ApprovalState
    requested_at: Timestamp
    requested_by: str
    decided_at: Timestamp | None = None
    decided_by: str | None = None
