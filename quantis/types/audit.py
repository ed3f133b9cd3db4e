"""The audit trail: who did what, to which object, with what outcome."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from quantis.types.base import Frozen, Timestamp


class Outcome(StrEnum):
    done = "done"
    refused = "refused"
    failed = "failed"
    interrupted = "interrupted"


class AuditEvent(Frozen):
    """A mutating call. `hash` covers it and the event before it."""

    seq: int
    id: str
    at: Timestamp
    team: str
    actor_kind: str = Field(description="user, key, client, or nobody.")
    actor_id: str
    actor: str
    action: str = Field(description="Method and route.")
    object: str = Field(description="The path that was called.")
    status: int
    outcome: Outcome
    request_id: str
    address: str
    detail: dict[str, Any] = {}
    previous: str
    hash: str


class AuditVerdict(Frozen):
    """The result of verifying the whole chain."""

    intact: bool
    events: int
    head: str = Field(description="The last good hash; keep it elsewhere, and a shortened chain shows too.")
    first_altered: int | None = Field(
        default=None, description="The seq of the first event that does not fit."
    )
    reason: str = ""
