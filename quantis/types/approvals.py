"""Who decides what a model's aliases mean: the gate alone, or two people."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from quantis.types.base import Frozen, Moment, Number, Sent


class Policy(StrEnum):
    gate = "gate"
    two_person = "two_person"


class ModelPolicy(Sent):
    policy: Policy


class AliasChange(Frozen):
    """Let an alias mean another version."""

    kind: Literal["alias"] = "alias"
    alias: str
    version: Number
    instead_of: int | None = Field(default=None, description="What the alias meant when it was asked for.")


class PolicyChange(Frozen):
    kind: Literal["policy"] = "policy"
    policy: Policy


Change = Annotated[AliasChange | PolicyChange, Field(discriminator="kind")]


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
    requested_at: Moment
    requested_by: str
    decided_at: Moment | None = None
    decided_by: str | None = None
