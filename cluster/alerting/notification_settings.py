"""Settings of what leaves the platform to tell people: part of `cluster.settings.Settings`."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class NotificationSettings(BaseModel):
    """Hosts of webhooks, and the server that takes mail; nothing leaves by default."""

    webhook_hosts: str = Field(
        default="",
        description="Hosts, with commas, that webhooks may go to: hooks.slack.com, alerts.internal:8443, 10.1.0.0/16.",
    )
    smtp_host: str | None = Field(
        default=None, description="The server that takes mail; none is sent without."
    )
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_starttls: bool = Field(default=True, description="Encrypt before anything is said.")
    smtp_user: str = ""
    smtp_password: SecretStr | None = None
    smtp_sender: str = Field(default="", description="The address that mail comes from.")
