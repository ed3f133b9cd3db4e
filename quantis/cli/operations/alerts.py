"""`quantis alerts`: alerts and decisions on them, and what was sent of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from quantis.cli import output
from quantis.cli.operations import alert_channels, alert_rules
from quantis.cli.options import Json, Url, open_client, parse_duration
from quantis.errors import TimedOut, Unavailable

if TYPE_CHECKING:
    from quantis.types.operations.alerts import Alert

app = typer.Typer(no_args_is_help=True)
app.add_typer(alert_rules.app, name="rules", help="What opens an alert.")
app.add_typer(alert_channels.app, name="channels", help="Who is told, and how.")
Id = Annotated[str, typer.Argument(metavar="ID", help="The alert, as `quantis alerts ls` shows it.")]
Note = Annotated[str, typer.Option("--note", help="Why; it stays in the alert's history.")]
_WAIT_SECONDS = 0.5


@app.command("ls")
def list_alerts(
    model: Annotated[str | None, typer.Option("--model", help="Of one model.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Of one dataset.")] = None,
    severity: Annotated[str | None, typer.Option("--severity", help="info, warning or critical.")] = None,
    include_resolved: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the alerts, the last opened first."""
    states = None if include_resolved else ("open", "acknowledged", "snoozed")
    with open_client(url) as api:
        alerts = api.alerts(states=states, severity=severity, model=model, dataset=dataset, limit=limit)
    if as_json:
        output.print_json_list(alerts)
    elif not alerts:
        output.report("no alert is open")
    else:
        rows = [
            (a.id, a.state, a.severity, a.group, a.summary, output.format_timestamp(a.opened_at))
            for a in alerts
        ]
        output.print_table(("id", "state", "severity", "about", "what", "opened (UTC)"), rows)


@app.command()
def show(alert: Id, url: Url = None, as_json: Json = False) -> None:
    """Show an alert with its history."""
    with open_client(url) as api:
        stored = api.alert(alert)
    if as_json:
        output.print_json(stored)
        return
    output.print_fields([("alert", stored.summary), ("state", stored.state), ("rule", stored.rule_name)])
    rows = [
        (output.format_timestamp(event.at), event.state, event.actor or "the platform", event.reason)
        for event in stored.history
    ]
    output.print_table(("at (UTC)", "state", "by", "why"), rows)


@app.command("ack")
def acknowledge(alert: Id, note: Note = "", url: Url = None, as_json: Json = False) -> None:
    """Say that you see to an alert."""
    with open_client(url) as api:
        _report(api.acknowledge_alert(alert, note), as_json)


@app.command()
def snooze(
    alert: Id,
    duration: Annotated[str, typer.Option("--for", help="How long, such as 30min, 2h or 1d.")] = "1h",
    note: Note = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Say nothing of an alert for a while."""
    with open_client(url) as api:
        _report(api.snooze_alert(alert, parse_duration(duration), note), as_json)


@app.command()
def resolve(alert: Id, note: Note = "", url: Url = None, as_json: Json = False) -> None:
    """Resolve an alert; another one opens only after its condition has held no more."""
    with open_client(url) as api:
        _report(api.resolve_alert(alert, note), as_json)


@app.command("test")
def try_channel(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name or id.")],
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer.")
    ] = 30.0,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send a notification without alerts to a channel, and wait for what becomes of it."""
    with open_client(url) as api:
        delivery = api.test_alert_channel(alert_channels.find(api, channel).id)
        deadline = time.monotonic() + timeout
        while delivery.ended_at is None and not delivery.response:
            if time.monotonic() >= deadline:
                raise TimedOut(
                    f"notification {delivery.id} is on its way after {timeout:g} s; look at it with "
                    "`quantis alerts deliveries`"
                )
            time.sleep(_WAIT_SECONDS)
            delivery = api.alert_delivery(delivery.id)
    if as_json:
        output.print_json(delivery)
    if delivery.state != "delivered":
        raise Unavailable(f"channel {delivery.channel_name!r} could not be told: {delivery.response}")
    if not as_json:
        output.report(f"channel {delivery.channel_name!r} was told: {delivery.response}")


@app.command()
def deliveries(
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List what was sent, newest first."""
    with open_client(url) as api:
        sent = api.alert_deliveries(state=state, limit=limit)
    if as_json:
        output.print_json_list(sent)
        return
    rows = [
        (
            d.id,
            d.state,
            d.channel_name,
            d.subject,
            d.attempts,
            d.response,
            output.format_timestamp(d.created_at),
        )
        for d in sent
    ]
    output.print_table(("id", "state", "channel", "about", "attempts", "answer", "made (UTC)"), rows)


@app.command()
def replay(
    delivery: Annotated[str, typer.Argument(metavar="ID", help="As `quantis alerts deliveries` shows it.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send a notification again, under its own id."""
    with open_client(url) as api:
        sent = api.replay_alert_delivery(delivery)
    output.print_json(sent) if as_json else output.report(f"{sent.id} is sent to {sent.channel_name} again")


def _report(alert: Alert, as_json: bool) -> None:
    output.print_json(alert) if as_json else output.report(f"{alert.state}: {alert.summary}")
