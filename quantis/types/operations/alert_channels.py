"""Channels by which people are told of alerts, and the notifications on their way."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, StringConstraints

from quantis.types.base import Frozen, Name, RequestBody, Timestamp

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


class NewWebhook(RequestBody):
    """JSON by POST, signed with the secret: see `quantis.webhooks`."""

    kind: Literal["webhook"] = "webhook"
    name: Name
    url: Address
    secret: SigningSecret
    enabled: bool = True


class NewSlackHook(RequestBody):
    """A message as Slack's incoming webhooks take it, and what speaks their form."""

    kind: Literal["slack"] = "slack"
    name: Name
    url: Address
    enabled: bool = True


class NewMailChannel(RequestBody):
    kind: Literal["mail"] = "mail"
    name: Name
    recipients: Recipients
    enabled: bool = True


NewAlertChannel = Annotated[NewWebhook | NewSlackHook | NewMailChannel, Field(discriminator="kind")]


class AlertChannelChange(RequestBody):
    """A change of a channel; absent fields stay as they are, and those of other kinds are refused."""

    enabled: bool | None = None
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
