"""Channels by which people are told of alerts, and the notifications on their way."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, StringConstraints

from quantis.types.base import Frozen, Name, RequestBody, Timestamp
from quantis.types.operations.alerts import AlertSeverity

MAX_RECIPIENTS = 20
Address = Annotated[SecretStr, Field(min_length=8, max_length=1000)]
"""A webhook's address. It may carry a token, so it is as secret as a password."""
SigningSecret = Annotated[SecretStr, Field(min_length=16, max_length=200)]
MailAddress = Annotated[
    str,
    StringConstraints(
        max_length=254, pattern=r"^[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$"
    ),
]
Recipients = Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=MAX_RECIPIENTS)]


class PlatformEventKind(StrEnum):
    """An occurrence in jobs, models or data, of which a channel may be told beside alerts."""

    job_succeeded = "job.succeeded"
    job_failed = "job.failed"
    job_stopped = "job.stopped"
    model_promoted = "model.promoted"
    anomaly_found = "anomaly.found"
    drift_found = "drift.found"


class PlatformEvent(Frozen):
    """An event on its way to the channels that take its kind; the same `key` is told to a channel once."""

    kind: PlatformEventKind
    key: str
    at: Timestamp
    subject: Name = Field(description="The model or dataset that it is about.")
    message: str
    detail: dict[str, Any] = {}


PlatformEventKinds = Annotated[tuple[PlatformEventKind, ...], Field(max_length=len(PlatformEventKind))]


class _NewChannel(RequestBody):
    name: Name
    enabled: bool = True
    severity: AlertSeverity = Field(
        default=AlertSeverity.info, description="It is told of alerts of this severity and above."
    )
    events: PlatformEventKinds = Field(
        default=(), description="Kinds of events that it is told of, beside alerts."
    )


class NewWebhook(_NewChannel):
    """JSON by POST, signed with the secret: see `quantis.webhooks`."""

    kind: Literal["webhook"] = "webhook"
    url: Address
    secret: SigningSecret


class NewSlackHook(_NewChannel):
    """A message as Slack's incoming webhooks take it, and what speaks their form."""

    kind: Literal["slack"] = "slack"
    url: Address


class NewMailChannel(_NewChannel):
    kind: Literal["mail"] = "mail"
    recipients: Recipients


NewAlertChannel = Annotated[NewWebhook | NewSlackHook | NewMailChannel, Field(discriminator="kind")]


class AlertChannelChange(RequestBody):
    """A change of a channel; absent fields stay as they are, and those of other kinds are refused."""

    enabled: bool | None = None
    severity: AlertSeverity | None = None
    events: PlatformEventKinds | None = None
    url: Address | None = None
    secret: SigningSecret | None = None
    recipients: Recipients | None = None


class AlertChannel(Frozen):
    """A channel without its secrets: `target` is the host of an address, or the recipients."""

    id: str
    name: str
    kind: Literal["webhook", "slack", "mail"]
    target: str
    enabled: bool
    severity: AlertSeverity = AlertSeverity.info
    events: tuple[PlatformEventKind, ...] = ()
    created_at: Timestamp
    created_by: str


class DeliveryState(StrEnum):
    pending = "pending"
    delivered = "delivered"
    failed = "failed"


class AlertDelivery(Frozen):
    """A notification to one channel. It is sent at least once, and always under the same id."""

    id: str
    channel: str
    channel_name: str
    kind: Literal["webhook", "slack", "mail"]
    subject: str = Field(description="The model or dataset that it is about; empty for a test.")
    state: DeliveryState
    attempts: int
    created_at: Timestamp
    next_attempt_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    response: str = Field(description="The receiver's last answer, or why there was none.")
    payload: dict[str, Any]
