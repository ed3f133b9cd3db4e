"""`quantis audit`: ls, verify."""

from __future__ import annotations

from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client

app = typer.Typer(no_args_is_help=True)


@app.command("ls")
def list_events(
    actor: Annotated[str | None, typer.Option(help="Whose.", show_default=False)] = None,
    action: Annotated[
        str | None, typer.Option(help="A part of method and route, such as aliases.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List who changed what, or tried to, newest first."""
    with open_client(url) as api:
        events = api.audit_events(actor=actor, action=action, limit=limit)
    if as_json:
        output.print_json_list(events)
        return
    rows = [
        (
            event.seq,
            output.format_timestamp(event.at),
            event.actor or "–",
            event.action.partition(" ")[0],
            event.object,
            event.outcome,
        )
        for event in events
    ]
    output.print_table(("#", "at (UTC)", "who", "what", "object", "outcome"), rows, right=("#",))


@app.command()
def verify(url: Url = None, as_json: Json = False) -> None:
    """Walk along the chain of hashes; exit code 1 names the first event that was altered."""
    with open_client(url) as api:
        verdict = api.verify_audit()
    if as_json:
        output.print_json(verdict)
    elif verdict.intact:
        output.report(f"{verdict.events} events, none altered")
        output.print_fields([("head", verdict.head)])
    else:
        output.report(
            f"altered: {verdict.reason}; the {verdict.events} events before it are as they were written"
        )
    if not verdict.intact:
        raise typer.Exit(1)
