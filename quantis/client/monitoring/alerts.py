"""Alerts from the client: rules, alerts and decisions on them, channels, and what was sent to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from quantis.client.bodies import dump_with_secrets, quote_segment
from quantis.client.connection import Request
from quantis.client.problems import validate
from quantis.client.protocol import ApiCaller
from quantis.types.operations.alert_channels import (
    AlertChannel,
    AlertChannelChange,
    AlertDelivery,
    DeliveryState,
    NewMailChannel,
    NewSlackHook,
    NewWebhook,
    PlatformEventKind,
)
from quantis.types.operations.alerts import (
    Alert,
    AlertNote,
    AlertRule,
    AlertRuleChange,
    AlertSeverity,
    AlertState,
    AlertWithHistory,
    NewAlertRule,
    SnoozeRequest,
)


class AlertsMixin:
    """Mixed into the client."""

    def alert_rules(self: ApiCaller) -> list[AlertRule]:
        """List the rules: the defaults that come with every model, then the team's own."""
        return self._get_all(AlertRule, "/alert-rules", 1000)

    def alert_rule(self: ApiCaller, rule_id: str) -> AlertRule:
        return self._get(AlertRule, f"/alert-rules/{quote_segment(rule_id)}")

    def create_alert_rule(self: ApiCaller, rule: NewAlertRule) -> AlertRule:
        return self._send(AlertRule, "POST", "/alert-rules", rule.model_dump_json(exclude_none=True))

    def change_alert_rule(self: ApiCaller, rule_id: str, change: AlertRuleChange) -> AlertRule:
        """Change a rule, or a default by its id; `AlertRuleChange(enabled=False)` switches it off."""
        body = change.model_dump_json(exclude_none=True)
        return self._send(AlertRule, "PATCH", f"/alert-rules/{quote_segment(rule_id)}", body)

    def delete_alert_rule(self: ApiCaller, rule_id: str) -> None:
        """Delete a rule; a default that was changed becomes what it was."""
        self._connection.send(Request("DELETE", f"/v1/alert-rules/{quote_segment(rule_id)}"))

    def alerts(
        self: ApiCaller,
        *,
        states: Sequence[AlertState | str] | None = None,
        severity: AlertSeverity | str | None = None,
        model: str | None = None,
        dataset: str | None = None,
        rule: str | None = None,
        limit: int = 1000,
    ) -> list[Alert]:
        """List alerts, the last opened first."""
        filters: dict[str, Any] = {
            "state": [str(AlertState(state)) for state in states] if states else None,
            "severity": str(AlertSeverity(severity)) if severity else None,
            "model": model,
            "dataset": dataset,
            "rule": rule,
        }
        return self._get_all(Alert, "/alerts", limit, **filters)

    def alert(self: ApiCaller, alert_id: str) -> AlertWithHistory:
        """Return an alert with every change of its state."""
        return self._get(AlertWithHistory, f"/alerts/{quote_segment(alert_id)}")

    def acknowledge_alert(self: ApiCaller, alert_id: str, note: str = "") -> Alert:
        """Say that somebody sees to an alert."""
        body = validate(AlertNote, note=note).model_dump_json()
        return self._send(Alert, "POST", f"/alerts/{quote_segment(alert_id)}/acknowledge", body)

    def snooze_alert(
        self: ApiCaller, alert_id: str, duration: timedelta = timedelta(hours=1), note: str = ""
    ) -> Alert:
        """Say nothing of an alert for a while."""
        body = validate(SnoozeRequest, duration=duration, note=note).model_dump_json()
        return self._send(Alert, "POST", f"/alerts/{quote_segment(alert_id)}/snooze", body)

    def resolve_alert(self: ApiCaller, alert_id: str, note: str = "") -> Alert:
        """Resolve an alert by hand; another one opens only after its condition has held no more."""
        body = validate(AlertNote, note=note).model_dump_json()
        return self._send(Alert, "POST", f"/alerts/{quote_segment(alert_id)}/resolve", body)

    def alert_channels(self: ApiCaller) -> list[AlertChannel]:
        return self._get_all(AlertChannel, "/alert-channels", 1000)

    def alert_channel(self: ApiCaller, channel_id: str) -> AlertChannel:
        return self._get(AlertChannel, f"/alert-channels/{quote_segment(channel_id)}")

    def create_webhook(
        self: ApiCaller,
        name: str,
        url: str,
        secret: str,
        *,
        severity: AlertSeverity | str = AlertSeverity.info,
        events: Sequence[PlatformEventKind | str] = (),
    ) -> AlertChannel:
        """Add a webhook; `quantis.webhooks.verify` checks what it sends with the same secret.

        It is told of alerts of a severity and above, and of the events named, such as job.failed or model.promoted.
        """
        sealed = {"url": SecretStr(url), "secret": SecretStr(secret)}
        new = validate(NewWebhook, kind="webhook", name=name, **sealed, **_subscription(severity, events))
        return self._send(AlertChannel, "POST", "/alert-channels", dump_with_secrets(new))

    def create_slack_channel(
        self: ApiCaller,
        name: str,
        url: str,
        *,
        severity: AlertSeverity | str = AlertSeverity.info,
        events: Sequence[PlatformEventKind | str] = (),
    ) -> AlertChannel:
        """Add an incoming webhook of Slack, or of what speaks its form."""
        subscription = _subscription(severity, events)
        new = validate(NewSlackHook, kind="slack", name=name, url=SecretStr(url), **subscription)
        return self._send(AlertChannel, "POST", "/alert-channels", dump_with_secrets(new))

    def create_mail_channel(
        self: ApiCaller,
        name: str,
        recipients: Sequence[str],
        *,
        severity: AlertSeverity | str = AlertSeverity.info,
        events: Sequence[PlatformEventKind | str] = (),
    ) -> AlertChannel:
        subscription = _subscription(severity, events)
        new = validate(NewMailChannel, kind="mail", name=name, recipients=tuple(recipients), **subscription)
        return self._send(AlertChannel, "POST", "/alert-channels", new.model_dump_json(exclude_unset=True))

    def change_alert_channel(
        self: ApiCaller,
        channel_id: str,
        *,
        enabled: bool | None = None,
        severity: AlertSeverity | str | None = None,
        events: Sequence[PlatformEventKind | str] | None = None,
        url: str | None = None,
        secret: str | None = None,
        recipients: Sequence[str] | None = None,
    ) -> AlertChannel:
        """Change what is given; a channel that is switched off is told nothing, also not what waits for it."""
        values: dict[str, Any] = {
            "enabled": enabled,
            "severity": severity,
            "events": tuple(events) if events is not None else None,
            "url": SecretStr(url) if url is not None else None,
            "secret": SecretStr(secret) if secret is not None else None,
            "recipients": tuple(recipients) if recipients is not None else None,
        }
        change = validate(AlertChannelChange, **{k: v for k, v in values.items() if v is not None})
        path = f"/alert-channels/{quote_segment(channel_id)}"
        return self._send(AlertChannel, "PATCH", path, dump_with_secrets(change))

    def delete_alert_channel(self: ApiCaller, channel_id: str) -> None:
        self._connection.send(Request("DELETE", f"/v1/alert-channels/{quote_segment(channel_id)}"))

    def test_alert_channel(self: ApiCaller, channel_id: str) -> AlertDelivery:
        """Send a notification without alerts; `alert_delivery` of its id says what became of it."""
        path = f"/alert-channels/{quote_segment(channel_id)}/test"
        return self._send(AlertDelivery, "POST", path, None)

    def alert_deliveries(
        self: ApiCaller,
        *,
        channel: str | None = None,
        state: DeliveryState | str | None = None,
        limit: int = 1000,
    ) -> list[AlertDelivery]:
        """List notifications, newest first."""
        chosen = str(DeliveryState(state)) if state else None
        return self._get_all(AlertDelivery, "/alert-deliveries", limit, channel=channel, state=chosen)

    def alert_delivery(self: ApiCaller, delivery_id: str) -> AlertDelivery:
        return self._get(AlertDelivery, f"/alert-deliveries/{quote_segment(delivery_id)}")

    def replay_alert_delivery(self: ApiCaller, delivery_id: str) -> AlertDelivery:
        """Send a notification again, under its own id."""
        path = f"/alert-deliveries/{quote_segment(delivery_id)}/replay"
        return self._send(AlertDelivery, "POST", path, None)


def _subscription(severity: AlertSeverity | str, events: Sequence[PlatformEventKind | str]) -> dict[str, Any]:
    """Return the fields that say what a channel takes; those that are as by default are left out."""
    subscription: dict[str, Any] = {"events": tuple(events)} if events else {}
    return subscription if severity == AlertSeverity.info else {"severity": severity, **subscription}
