"""Notifications of alerts: what was sent to which channel, what became of it, and sending it again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quantis.types.base import Id, Page
from quantis.types.operations.alert_channels import AlertDelivery, DeliveryState
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/alert-deliveries", tags=["alerts"], route_class=StrictRoute)


@router.get("")
def alert_deliveries(
    principal: CurrentUser,
    services: AppServices,
    channel: Id | None = None,
    state: DeliveryState | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[AlertDelivery]:
    """List the notifications, newest first."""
    return services.alert_deliveries.page(
        principal.team, channel=channel, state=state, cursor=cursor, limit=limit
    )


@router.get("/{delivery_id}")
def alert_delivery(delivery_id: Id, principal: CurrentUser, services: AppServices) -> AlertDelivery:
    return services.alert_deliveries.get(principal.team, delivery_id)


@router.post("/{delivery_id}/replay", status_code=202)
def replay_alert_delivery(delivery_id: Id, principal: CurrentUser, services: AppServices) -> AlertDelivery:
    """Send a notification again, under its own id."""
    return services.alert_deliveries.replay(principal.team, delivery_id)
