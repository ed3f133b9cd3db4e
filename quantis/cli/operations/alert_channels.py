"""`quantis alerts channels`: ls, webhook, slack, mail, change, on, off, delete."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantis.cli import output
from quantis.cli.account import read_password
from quantis.cli.options import Json, Url, open_client
from quantis.errors import InvalidInput, NotFound, suggest

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.operations.alert_channels import AlertChannel

app = typer.Typer()
Name = Annotated[str, typer.Argument(metavar="NAME", help="Lower case, such as on-call.")]
Reference = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name or id.")]
AddressFile = Annotated[
    Path | None,
    typer.Option(
        "--address-file",
        help="A file with the address, - for stdin; asked when absent, since it may be a secret.",
        show_default=False,
    ),
]
Severity = Annotated[
    str,
    typer.Option("--severity", help="Tell of alerts of this severity and above: info, warning, critical."),
]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="Tell of these events, too, such as job.failed; may be repeated."),
]


@app.callback(invoke_without_command=True)
def channels(context: typer.Context, url: Url = None, as_json: Json = False) -> None:
    """List the channels where no command is given."""
    if context.invoked_subcommand is None:
        list_channels(url, as_json)


@app.command("ls")
def list_channels(url: Url = None, as_json: Json = False) -> None:
    """List the channels; their addresses and secrets are not shown."""
    with open_client(url) as api:
        stored = api.alert_channels()
    if as_json:
        output.print_json_list(stored)
    elif not stored:
        output.report("nobody is told yet; add a channel with `quantis alerts channels webhook NAME`")
    else:
        rows = [
            (c.id, c.name, c.kind, c.target, c.severity, ", ".join(c.events), "" if c.enabled else "off")
            for c in stored
        ]
        output.print_table(("id", "name", "kind", "goes to", "alerts from", "events", ""), rows)


@app.command()
def webhook(
    name: Name,
    address_file: AddressFile = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file", help="A file with the signing secret; made when absent, and shown once."
        ),
    ] = None,
    severity: Severity = "info",
    events: Events = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Add a signed webhook; `quantis.webhooks.verify` checks its signature."""
    secret = read_password(secret_file) if secret_file else secrets.token_hex(32)
    with open_client(url) as api:
        address = _read_address(address_file)
        channel = api.create_webhook(name, address, secret, severity=severity, events=events or ())
    if as_json:
        extra = {} if secret_file else {"secret": secret}
        output.print_json({**channel.model_dump(mode="json"), **extra})
        return
    if not secret_file:
        output.print_fields([("secret", secret)])
        output.report("keep the secret now, it is not shown again; the receiver checks signatures with it")
    _report(channel, as_json)


@app.command()
def slack(
    name: Name,
    address_file: AddressFile = None,
    severity: Severity = "info",
    events: Events = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Add an incoming webhook of Slack, or of what speaks its form."""
    with open_client(url) as api:
        address = _read_address(address_file)
        _report(api.create_slack_channel(name, address, severity=severity, events=events or ()), as_json)


@app.command()
def mail(
    name: Name,
    recipients: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Who gets the mail.")],
    severity: Severity = "info",
    events: Events = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Add recipients of mail."""
    with open_client(url) as api:
        _report(api.create_mail_channel(name, recipients, severity=severity, events=events or ()), as_json)


@app.command()
def change(
    channel: Reference,
    severity: Annotated[
        str | None, typer.Option("--severity", help="Tell of alerts of this severity and above.")
    ] = None,
    events: Events = None,
    no_events: Annotated[bool, typer.Option("--no-events", help="Tell of alerts alone.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Change what a channel is told of; what is not given stays as it is."""
    if severity is None and not events and not no_events:
        raise InvalidInput("nothing to change; give --severity, --event or --no-events")
    with open_client(url) as api:
        stored = find(api, channel)
        kinds = [] if no_events else events or None
        _report(api.change_alert_channel(stored.id, severity=severity, events=kinds), as_json)


@app.command()
def on(channel: Reference, url: Url = None, as_json: Json = False) -> None:
    """Switch a channel on."""
    with open_client(url) as api:
        _report(api.change_alert_channel(find(api, channel).id, enabled=True), as_json)


@app.command()
def off(channel: Reference, url: Url = None, as_json: Json = False) -> None:
    """Switch a channel off; what waits for it is not sent."""
    with open_client(url) as api:
        _report(api.change_alert_channel(find(api, channel).id, enabled=False), as_json)


@app.command()
def delete(channel: Reference, url: Url = None, as_json: Json = False) -> None:
    """Delete a channel; what waits for it is not sent."""
    with open_client(url) as api:
        stored = find(api, channel)
        api.delete_alert_channel(stored.id)
    output.print_deleted(stored.name, as_json)


def find(api: Client, reference: str) -> AlertChannel:
    """Return a channel by its name or id; NotFound with what there is."""
    stored = api.alert_channels()
    for channel in stored:
        if reference in (channel.id, channel.name):
            return channel
    raise NotFound(f"no alert channel {reference!r}; {suggest(reference, [c.name for c in stored])}")


def _read_address(file: Path | None) -> str:
    if file is not None:
        return read_password(file).strip()
    if not sys.stdin.isatty():
        raise InvalidInput("nobody can be asked here for the address; give it with --address-file")
    address: str = typer.prompt("address", hide_input=True, err=True)
    return address.strip()


def _report(channel: AlertChannel, as_json: bool) -> None:
    state = "" if channel.enabled else " (off)"
    output.print_json(channel) if as_json else output.report(
        f"{channel.name}{state}: {channel.kind}, {channel.target}"
    )
