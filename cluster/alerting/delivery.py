"""Delivery of notifications: an outbox worked off by one process at a time, each notification at least once.

An attempt is counted, and the time of the next one set, before it is made. A process that is killed at any point has
lost nothing: what was not settled is sent again later, under the same id.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from cluster.alerting.mail import MailServer
from cluster.alerting.messages import slack_json
from cluster.alerting.webhook_hosts import parse_address
from cluster.alerting.webhooks import WebhookClient
from cluster.repositories.leases import Leases
from cluster.repositories.operations.alert_channels import AlertChannels
from cluster.repositories.operations.alert_deliveries import AlertDeliveries
from monitoring import instruments
from quantis.errors import Forbidden, InvalidInput, NotFound, QuantisError
from quantis.types.operations.alert_channels import AlertDelivery, DeliveryState
from quantis.version import __version__
from quantis.webhooks import DELIVERY_HEADER, SIGNATURE_HEADER, sign

LEASE = "alert-delivery"
LEASE_TIME = timedelta(seconds=60)
"""Longer than the slowest attempts that run side by side."""
_AT_ONCE = 8
_TIDY_SECONDS = 3600.0
log = logging.getLogger("quantis.alerts")


class DeliveryLoop:
    def __init__(
        self,
        channels: AlertChannels,
        deliveries: AlertDeliveries,
        leases: Leases,
        *,
        webhooks: WebhookClient,
        mail: MailServer,
    ) -> None:
        self._channels, self._deliveries, self._leases = channels, deliveries, leases
        self._webhooks, self._mail = webhooks, mail
        self._holder = uuid.uuid4().hex
        self._tidied_at = -_TIDY_SECONDS

    def tick(self) -> None:
        """Attempt what is due, at most one notification of each channel; do nothing while another process does."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            return
        if time.monotonic() - self._tidied_at > _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            self._deliveries.forget_old()
        due = self._deliveries.due(limit=_AT_ONCE)
        if due:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda item: self._attempt(*item), due))
        instruments.set_pending_notifications(self._deliveries.pending())

    def close(self) -> None:
        self._leases.release(LEASE, self._holder)

    def _attempt(self, team: str, delivery: AlertDelivery) -> None:
        if not self._deliveries.claim(team, delivery):
            return
        try:
            response = self._send(team, delivery)
        except QuantisError as error:
            final = isinstance(error, NotFound | InvalidInput | Forbidden)
            state = self._deliveries.fail(team, delivery.id, str(error), final=final)
            log.warning("notification %s by %s failed (%s)", delivery.id, delivery.kind, error)
        except Exception:
            state = self._deliveries.fail(team, delivery.id, "the platform could not send it; see its log")
            log.exception("notification %s could not be sent", delivery.id)
        else:
            self._deliveries.settle(team, delivery.id, response)
            state = DeliveryState.delivered
        instruments.count_notification(delivery.kind, state)

    def _send(self, team: str, delivery: AlertDelivery) -> str:
        secrets = self._channels.secrets(team, delivery.channel)
        if delivery.kind == "mail":
            return self._mail.send(secrets["recipients"], delivery.payload)
        content = slack_json(delivery.payload) if delivery.kind == "slack" else delivery.payload
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Quantis/{__version__}",
            DELIVERY_HEADER: delivery.id,
        }
        if delivery.kind == "webhook":
            headers[SIGNATURE_HEADER] = sign(secrets["secret"], body, int(time.time()))
        return self._webhooks.post(secrets["url"], body, headers)


class ChannelTarget:
    """Says what may be shown of a channel, and refuses one that could not be told anything here."""

    def __init__(self, webhooks: WebhookClient, mail: MailServer) -> None:
        self._webhooks, self._mail = webhooks, mail

    def __call__(self, secrets: Mapping[str, Any]) -> str:
        if "recipients" in secrets:
            self._mail.check()
            return ", ".join(secrets["recipients"])
        address = parse_address(secrets["url"])
        self._webhooks.check(address)
        return address.redacted
