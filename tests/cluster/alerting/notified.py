"""A channel to a receiver, and notifications whose waits are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import update

from cluster.backend import Backend
from cluster.database.alert_tables import AlertDeliveryRow
from quantis.types.operations.alert_channels import NewWebhook
from tests.cluster.alerting.receiver import Receiver

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "a secret of sixteen"


def webhook(receiver: Receiver, name: str = "pager", path: str = "/hook") -> NewWebhook:
    return NewWebhook(name=name, url=SecretStr(receiver.url + path), secret=SecretStr(SECRET))


def make_due(backend: Backend) -> None:
    """Let the waits of all notifications be over."""
    with backend.database.write() as session:
        session.execute(update(AlertDeliveryRow).values(not_before=datetime.now(UTC) - timedelta(seconds=1)))
