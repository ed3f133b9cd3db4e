"""Channels of alerts, by which people are told."""

from __future__ import annotations

from fastapi import APIRouter

from quantis.types.base import Id, Page
from quantis.types.operations.alert_channels import (
    AlertChannel,
    AlertChannelChange,
    AlertDelivery,
    NewAlertChannel,
)
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/alert-channels", tags=["alerts"], route_class=StrictRoute)


@router.get("")
def alert_channels(principal: CurrentUser, services: AppServices) -> Page[AlertChannel]:
    return Page(items=services.alert_channels.all(principal.team))


@router.post("", status_code=201)
def create_alert_channel(
    new: NewAlertChannel, principal: CurrentUser, services: AppServices, call: Audited
) -> AlertChannel:
    """Add a channel; webhooks go to hosts that an operator allowed. Addresses and secrets are never shown again."""
    channel = services.alert_channels.create(principal.team, principal.user_name, new)
    call.detail = {"name": channel.name, "kind": channel.kind, "target": channel.target}
    return channel


@router.get("/{channel_id}")
def alert_channel(channel_id: Id, principal: CurrentUser, services: AppServices) -> AlertChannel:
    return services.alert_channels.get(principal.team, channel_id)


@router.patch("/{channel_id}")
def change_alert_channel(
    channel_id: Id, change: AlertChannelChange, principal: CurrentUser, services: AppServices, call: Audited
) -> AlertChannel:
    """Change a channel, or switch it off; then what waits for it is not sent."""
    call.detail = {"changed": sorted(change.model_fields_set)}
    return services.alert_channels.change(principal.team, channel_id, change)


@router.delete("/{channel_id}", status_code=204)
def delete_alert_channel(channel_id: Id, principal: CurrentUser, services: AppServices) -> None:
    services.alert_channels.delete(principal.team, channel_id)


@router.post("/{channel_id}/test", status_code=202)
def test_alert_channel(channel_id: Id, principal: CurrentUser, services: AppServices) -> AlertDelivery:
    """Send a notification without alerts; it says by `GET /v1/alert-deliveries/{id}` what became of it."""
    delivery_id = services.alert_channels.test(principal.team, channel_id)
    return services.alert_deliveries.get(principal.team, delivery_id)
