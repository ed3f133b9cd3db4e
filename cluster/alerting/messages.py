"""Notifications in words: for mail, and as the JSON that Slack's incoming webhooks take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST = 20
"""Alerts that one message lists; Slack takes 50 blocks."""
_LONGEST = 2500
"""Characters of a block; Slack takes 3000."""


def title(payload: Mapping[str, Any]) -> str:
    """Return the subject line: `Quantis: demand: 2 open, 1 resolved`, or an event's kind."""
    if "event" in payload:
        return f"Quantis: {payload['subject']}: {payload['type']}"
    if not payload["alerts"]:
        return "Quantis: a test of this channel"
    states = [alert["state"] for alert in payload["alerts"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"Quantis: {payload['subject']}: {counts}"


def lines(payload: Mapping[str, Any]) -> list[str]:
    """Return a line for each alert: state, severity, summary, and who decided why."""
    alerts = payload["alerts"]
    if "event" in payload:
        return [payload["event"]["message"]]
    if not alerts:
        return ["This channel works: alerts of the team will come here."]
    listed = [_line(alert) for alert in alerts[:_MOST]]
    return [*listed, f"... and {len(alerts) - _MOST} more"] if len(alerts) > _MOST else listed


def _line(alert: Mapping[str, Any]) -> str:
    actor = f" by {alert['actor']}" if alert["actor"] else ""
    return f"{alert['state']}{actor} ({alert['severity']}): {alert['summary']}. {alert['reason']}".rstrip()


def mail_text(payload: Mapping[str, Any], public_url: str | None) -> str:
    link = f"\n{public_url.rstrip('/')}\n" if public_url else ""
    return "\n".join(lines(payload)) + f"\n{link}\nNotification {payload['id']} of team {payload['team']}\n"


def slack_json(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return `text` for what lists messages and `blocks` for what shows them; markup in names is escaped."""
    heading = _escape(title(payload))
    body = _escape("\n".join(lines(payload)))[:_LONGEST]
    context = _escape(f"{payload['id']} | team {payload['team']}")
    return {
        "text": heading,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{heading}*\n{body}"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": context}]},
        ],
    }


def _escape(text: str) -> str:
    """Escape the three characters that Slack's markup begins with, so that no name makes a link or calls everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
